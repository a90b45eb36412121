//! Input that tests make themselves: gossip, packets, states.

use super::harness::{Net, addr};
use crate::serf::*;
use crate::wire::serf::{QueryMessage, SerfMessage};

/// Makes a query from an address without a node, to be modified by the test.
pub(super) fn query_by_hand(name: &str, ltime: u64) -> QueryMessage {
    QueryMessage {
        ltime: LamportTime(ltime),
        id: 1,
        addr: addr(99),
        source_node: None,
        filters: None,
        flags: 0,
        relay_factor: 0,
        timeout_nanos: 1_000_000_000,
        name: name.into(),
        payload: None,
    }
}

/// Makes a packet of several messages: the compound type, their number, the length of each, and they.
fn compound(messages: &[SerfMessage]) -> Vec<u8> {
    let messages = messages.iter().map(SerfMessage::encode);
    let messages: Vec<_> = messages.map(|bytes| [&[8], &bytes[..]].concat()).collect();
    let mut packet = vec![7, u8::try_from(messages.len()).unwrap()];
    for message in &messages {
        packet.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    }
    packet.extend(messages.concat());
    packet
}

impl Net {
    /// Merges an empty state into a node, after which it no longer holds events back as a newcomer.
    pub(super) fn introduce(&mut self, n: u16) {
        let state = crate::wire::serf::SerfPushPull::default().encode();
        let now = self.now;
        self.host(n)
            .serf
            .handle_user_state(&state, None, false, now);
        self.input(n, Input::Timeout);
    }

    /// Delivers a message to a node as if it had been gossiped.
    pub(super) fn gossip_to(&mut self, n: u16, message: &SerfMessage) {
        self.gossip_bytes_to(n, &message.encode());
    }

    pub(super) fn gossip_bytes_to(&mut self, n: u16, message: &[u8]) {
        self.packet_to(n, &[&[8], message].concat());
    }

    /// Sends several messages in one packet.
    pub(super) fn gossip_together_to(&mut self, n: u16, messages: &[SerfMessage]) {
        self.packet_to(n, &compound(messages));
    }

    /// Sends several packets, which the node reads in one turn of its loop.
    pub(super) fn gossip_in_one_turn_to(&mut self, n: u16, packets: &[&[SerfMessage]]) {
        let (now, from) = (self.now, addr(99));
        for messages in packets {
            let bytes = &compound(messages);
            let input = Input::Datagram { from, bytes };
            self.host(n).serf.handle_input(input, now);
        }
        self.drain(addr(n));
    }
    fn packet_to(&mut self, n: u16, bytes: &[u8]) {
        let (now, from) = (self.now, addr(99));
        let input = Input::Datagram { from, bytes };
        self.host(n).serf.handle_input(input, now);
        self.drain(addr(n));
    }
}
