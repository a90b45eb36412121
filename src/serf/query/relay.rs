//! Replies that are also sent through other nodes (gossip spec 5.8.5), and the limits that prevent abuse of
//! this node as an open relay (8.6, 8.7).

use std::net::SocketAddr;

use super::kept::Route;
use crate::serf::{MemberStatus, Serf};
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::serf::{RelayMessage, SerfMessage, message_type};

/// Membership protocol that a relay must support (gossip spec 5.1).
const RELAY_PROTOCOL: u8 = 5;

/// Whether two addresses are equal, with IPv4-mapped addresses as IPv4.
pub(super) fn same_addr(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port()
}

impl Serf {
    /// Forwards a reply to the originator of its query.
    pub(in crate::serf) fn handle_relay(&mut self, relay: RelayMessage, now: Instant) {
        let RelayMessage {
            destination,
            destination_name,
            message,
        } = relay;
        if message.first() != Some(&message_type::QUERY_RESPONSE) {
            self.refuse("relay of a message that is not a query response");
        } else if !self.relays_in.take(now) {
            self.refuse("relay beyond the rate limit");
        } else if !self.is_member_addr(destination, destination_name.as_ref()) {
            self.refuse("relay to an address that is not a member's");
        } else if same_addr(destination, self.swim.local().addr) {
            // The originator itself may be chosen as a relay. The sender of the reply is unknown: the
            // datagram came from the relay.
            self.handle_user_message(message, None, now);
        } else {
            self.swim.send_user_message(destination, &message);
        }
    }

    /// Sends copies of a reply through as many other nodes as the originator requests.
    pub(super) fn relay_response(&mut self, route: &Route, encoded: Vec<u8>) {
        let wanted = usize::from(route.relay_factor);
        if wanted == 0 || self.members.len() <= wanted {
            return;
        }
        let relay = RelayMessage {
            destination: route.addr,
            destination_name: route.name.clone(),
            message: encoded,
        };
        let encoded = SerfMessage::Relay(relay).encode();
        let limit = self.config.query_response_size_limit_bytes;
        if encoded.len() > limit {
            log::warn!(target: "serf", "relayed response exceeds limit of {limit} bytes");
            return;
        }
        let local = self.local_name();
        let may_relay = self
            .members
            .iter()
            .map(|record| &record.member)
            .filter(|m| {
                m.status == MemberStatus::Alive
                    && m.versions.protocol_max >= RELAY_PROTOCOL
                    && m.name != *local
            });
        let mut relays: Vec<SocketAddr> = may_relay.map(|member| member.addr).collect();
        for _ in 0..wanted {
            if relays.is_empty() {
                return;
            }
            let pick = self.rng.below(relays.len());
            let to = relays.swap_remove(pick);
            self.swim.send_user_message(to, &encoded);
        }
    }

    /// Whether a reply may be sent to an address: always to members, rate-limited to others.
    pub(super) fn may_answer_to(
        &mut self,
        addr: SocketAddr,
        name: Option<&NodeName>,
        now: Instant,
    ) -> bool {
        self.is_member_addr(addr, name) || self.strangers.take(now)
    }

    fn is_member_addr(&self, addr: SocketAddr, name: Option<&NodeName>) -> bool {
        let named = name.and_then(|name| self.members.member(name.as_bytes()));
        named.is_some_and(|member| same_addr(member.addr, addr))
            || self.members().any(|member| same_addr(member.addr, addr))
    }
}
