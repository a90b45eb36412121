//! Indirect pings on behalf of other nodes (gossip spec 4.5).

use std::net::SocketAddr;

use super::Swim;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::time::Instant;
use crate::wire::{Ack, IndirectPing, Message, Nack, Ping};

/// Limit for the relayed pings in progress.
const RELAYS_MAX: usize = 1_024;

/// A ping on behalf of another node.
#[derive(Debug)]
struct Relay {
    requester: SocketAddr,
    requester_sequence: u32,
    nack: bool,
    deadline: Instant,
}

/// All relayed pings, by the sequence number of this node's ping.
#[derive(Debug, Default)]
pub(super) struct Relays {
    by_sequence: OrderedMap<u32, Relay>,
    deadlines: OrderedSet<(Instant, u32)>,
}

impl Relays {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn insert(&mut self, sequence: u32, relay: Relay) {
        self.deadlines.insert((relay.deadline, sequence));
        self.by_sequence.insert(sequence, relay);
    }

    fn remove(&mut self, sequence: u32) -> Option<Relay> {
        let relay = self.by_sequence.remove(&sequence)?;
        self.deadlines.remove(&(relay.deadline, sequence));
        Some(relay)
    }
}

impl Swim {
    pub(super) fn handle_indirect_ping(
        &mut self,
        from: SocketAddr,
        request: &IndirectPing,
        now: Instant,
    ) {
        let mut target = request.target;
        if target.port() == 0 {
            target.set_port(self.local().addr.port());
        }
        let known = self.is_member_at(Some(&request.node), target);
        if self.relays.by_sequence.len() >= RELAYS_MAX || !(known || self.strangers.take(now)) {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Too many pings on behalf of others: refusing one from {from}");
            return;
        }
        let name = request.source_node.as_ref();
        let Some(requester) = self.answer_address(request.source, name, from, now) else {
            return;
        };
        let sequence = self.next_sequence();
        self.relays.insert(
            sequence,
            Relay {
                requester,
                requester_sequence: request.seq_no,
                nack: request.nack,
                deadline: now + self.config.probe_timeout,
            },
        );
        let local = self.local();
        let ping = Message::Ping(Ping {
            seq_no: sequence,
            node: Some(request.node.clone()),
            source: Some(local.addr),
            source_node: Some(local.name.clone()),
            extension: Vec::new(),
        });
        let id = self.table.find(&request.node);
        self.send_with_piggyback(target, &ping, id, now);
    }

    /// Forwards the ack of a relayed ping; returns false for any other ack.
    pub(super) fn relay_ack(&mut self, sequence: u32, now: Instant) -> bool {
        let Some(relay) = self.relays.remove(sequence) else {
            return false;
        };
        let ack = Message::Ack(Ack {
            seq_no: relay.requester_sequence,
            payload: None,
        });
        let target = self.table.find_at(None, relay.requester);
        self.send_with_piggyback(relay.requester, &ack, target, now);
        true
    }

    /// Sends nacks for targets that did not answer, to the requesters that want them.
    pub(super) fn expire_relays(&mut self, now: Instant) {
        while let Some(&(deadline, sequence)) = self.relays.deadlines.first() {
            if deadline > now {
                break;
            }
            let Some(relay) = self.relays.remove(sequence) else {
                break;
            };
            if relay.nack {
                let nack = Message::Nack(Nack {
                    seq_no: relay.requester_sequence,
                });
                let target = self.table.find_at(None, relay.requester);
                self.send_with_piggyback(relay.requester, &nack, target, now);
            }
        }
    }
}
