//! Outputs of the membership layer, and broadcasts through it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::events::Source;
use super::gossip::{EVENTS, INTENTS, QUERIES};
use super::{Output, Serf};
use crate::swim::{self, Audience, BroadcastId, Priority};
use crate::time::Instant;
use crate::wire::serf::SerfMessage;

impl Serf {
    /// Handles the outputs of the membership layer and their consequences until there are none.
    pub(super) fn handle_swim_outputs(&mut self, now: Instant) {
        while let Some(output) = self.swim.poll_output() {
            match output {
                swim::Output::Transmit(transmit) => {
                    self.outputs.push_back(Output::Transmit(transmit));
                }
                swim::Output::Joined(node) => self.handle_joined(&node, now),
                swim::Output::Updated(node) => self.handle_updated(&node, now),
                swim::Output::Gone(node) => self.handle_gone(&node, now),
                swim::Output::UserMessage { bytes, from } => {
                    self.handle_user_message(bytes, from, now);
                }
                swim::Output::UserStateWanted { stream, .. } => {
                    let state = self.user_state();
                    self.swim.send_push_pull(stream, &state, now);
                }
                swim::Output::UserState {
                    bytes,
                    initiated,
                    asked,
                    ..
                } => self.handle_user_state(&bytes, initiated, asked, now),
                swim::Output::JoinEnded { join, result } => {
                    if let Some(result) = self.user_states.hold_back(join, result) {
                        self.handle_join_ended(join, result, now);
                    }
                }
                swim::Output::Acked {
                    node,
                    rtt,
                    payload,
                    extra,
                } => self.handle_acked(&node, rtt, payload.as_deref(), extra, now),
                swim::Output::Pinged {
                    node,
                    addr,
                    extension,
                } => self.handle_ping_extension(&node, addr, &extension, now),
                swim::Output::ExchangeEnded => self.handle_exchange_ended(now),
                swim::Output::Conflict {
                    existing,
                    other,
                    encounter,
                } => self.handle_conflict(&existing, other, encounter, now),
                swim::Output::BroadcastFinished(id) => self.handle_broadcast_finished(id, now),
                swim::Output::LeaveEnded { in_time } => self.handle_leave_ended(in_time, now),
                swim::Output::MetaUpdated { in_time } => self.handle_meta_updated(in_time, now),
            }
        }
    }

    /// Handles a message of the Serf layer. `from`: source of its datagram; `None` for relayed messages and
    /// streams.
    pub(super) fn handle_user_message(
        &mut self,
        bytes: Vec<u8>,
        from: Option<SocketAddr>,
        now: Instant,
    ) {
        let message = match SerfMessage::decode(&bytes) {
            Ok(message) => message,
            Err(error) => {
                match from {
                    Some(from) => {
                        log::debug!(target: "serf", "Dropping a message from {from}: {error:?}");
                    }
                    None => log::debug!(target: "serf", "Dropping a message: {error:?}"),
                }
                self.counters.dropped_malformed += 1;
                return;
            }
        };
        let (spread, queue) = match message {
            SerfMessage::Leave(intent) => (self.handle_leave_intent(&intent, now), INTENTS),
            SerfMessage::Join(intent) => {
                let is_new = self.handle_join_intent(&intent, now);
                if is_new {
                    self.challenge_refuted(&intent.node);
                }
                (is_new, INTENTS)
            }
            SerfMessage::UserEvent(event) => (
                self.handle_user_event(event, Source::Gossip(from), now),
                EVENTS,
            ),
            SerfMessage::Query(query) => {
                (self.handle_query(query, Source::Gossip(from), now), QUERIES)
            }
            SerfMessage::QueryResponse(response) => {
                return self.handle_query_response(response, now);
            }
            SerfMessage::Relay(relay) => return self.handle_relay(relay, now),
        };
        if spread && !self.broadcast(queue, bytes.into(), None, now) {
            log::debug!(target: "serf", "Not forwarding a message: too large for a gossip packet");
        }
    }

    /// Queues a message for gossip. Returns false if it is too large for a gossip packet.
    pub(super) fn broadcast(
        &mut self,
        priority: Priority,
        message: Arc<[u8]>,
        id: Option<BroadcastId>,
        now: Instant,
    ) -> bool {
        if !self.fits_gossip(message.len()) {
            return false;
        }
        let audience = match priority {
            // Nodes that joined later need to know about leaves, too.
            INTENTS => Audience::All,
            // Events and queries from before a node's join are not meant for it. It gets the events through
            // its join's push/pull. A query by a cottar node is repeated to each member.
            QUERIES | EVENTS => Audience::Present,
        };
        self.swim.broadcast(priority, audience, message, id, now);
        self.bound_queue(priority);
        true
    }

    /// Whether a message of `bytes` bytes fits a gossip packet.
    pub(super) fn fits_gossip(&mut self, bytes: usize) -> bool {
        // Each message costs two more bytes of length and the type byte.
        let budget = self.swim.envelope_mut().packet_budget_bytes();
        bytes.saturating_add(3) <= budget
    }
}
