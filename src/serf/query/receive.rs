//! Queries on the receiving side, from other nodes and from this one: accept, ack, answer (gossip spec 5.8.3,
//! 5.8.4). Sending queries is in [`super::ask`].

use std::fmt;

use super::filters;
use super::kept::{ReceivedQuery, Route};
use crate::ordered::OrderedMap;
use crate::serf::config::RESPONSE_BYTES_MAX;
use crate::serf::events::Source;
use crate::serf::events::user::Verdict;
use crate::serf::gossip::Sample;
use crate::serf::lamport::Clock;
use crate::serf::limits::BUFFER_SLOTS;
use crate::serf::{LamportTime, Query, Serf};
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;
use crate::wire::serf::{QueryMessage, QueryResponseMessage, SerfMessage, query_flag};

/// Prefix of internal queries' names; handlers do not get these.
pub const INTERNAL_PREFIX: &[u8] = b"_serf_";
/// Longest timeout accepted from a query (gossip spec 8.7).
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Limit for the ids remembered per time; further queries are refused (gossip spec 8.7).
const SLOT_IDS_MAX: usize = 1024;

/// A query that was seen.
#[derive(Debug)]
struct Known {
    id: u32,
    /// It was rebroadcast, or must not be.
    passed_on: bool,
}

/// The queries of the last 512 times, by time and id.
#[derive(Debug, Default)]
pub(in crate::serf) struct QueryRing {
    slots: OrderedMap<LamportTime, Vec<Known>>,
    /// Queries of earlier times are ignored.
    minimum: LamportTime,
}

impl QueryRing {
    /// Ignores all times below `minimum` from now on.
    pub(in crate::serf) fn raise_minimum(&mut self, minimum: LamportTime) {
        self.minimum = self.minimum.max(minimum);
    }

    /// Classifies a query whose time was witnessed, and remembers it if it is new.
    fn put(&mut self, clock: Clock, ltime: LamportTime, id: u32) -> Verdict {
        let is_forgotten = |ltime| clock.is_forgotten(ltime, BUFFER_SLOTS);
        while let Some((oldest, _)) = self.slots.first_key_value() {
            if !is_forgotten(*oldest) {
                break;
            }
            self.slots.pop_first();
        }
        if ltime < self.minimum || is_forgotten(ltime) {
            return Verdict::Old;
        }
        let ids = self.slots.get_or_insert_with(ltime, Vec::new);
        if ids.iter().any(|known| known.id == id) {
            return Verdict::Seen;
        }
        if ids.len() >= SLOT_IDS_MAX {
            return Verdict::Full;
        }
        let passed_on = false;
        ids.push(Known { id, passed_on });
        Verdict::New
    }

    /// Whether to rebroadcast a known query now. `spread`: this copy may be rebroadcast.
    ///
    /// Needed because the originator may have sent the query directly before gossip delivered it.
    fn pass_on(&mut self, ltime: LamportTime, id: u32, spread: bool) -> bool {
        let ids = self.slots.get_mut(&ltime);
        let known = ids.and_then(|ids| ids.iter_mut().find(|known| known.id == id));
        spread && known.is_some_and(|known| !std::mem::replace(&mut known.passed_on, true))
    }
}

/// Limits the timeout in a query to 0 to [`TIMEOUT_MAX`].
fn clamp_timeout(nanos: i64) -> Duration {
    let nanos = u64::try_from(nanos).unwrap_or(0);
    Duration::from_nanos(nanos).min(TIMEOUT_MAX)
}

/// Encodes a reply within `limit` and [`RESPONSE_BYTES_MAX`].
///
/// # Errors
/// Returns the reference's error text if the reply is larger.
pub fn encode_response(reply: &QueryResponseMessage, limit: usize) -> Result<Vec<u8>, String> {
    let limit = limit.min(RESPONSE_BYTES_MAX);
    let encoded = SerfMessage::QueryResponse(reply.clone()).encode();
    if encoded.len() > limit {
        return Err(format!("response exceeds limit of {limit} bytes"));
    }
    Ok(encoded)
}

impl Serf {
    /// Processes a query; returns whether to rebroadcast it.
    pub(in crate::serf) fn handle_query(
        &mut self,
        message: QueryMessage,
        source: Source,
        now: Instant,
    ) -> bool {
        let QueryMessage { ltime, id, .. } = message;
        let spread = message.flags & query_flag::NO_BROADCAST == 0;
        if !self.query_clock.witness(ltime, now) {
            self.refuse("query with an implausible time");
            return false;
        }
        match self.queries.put(self.query_clock, ltime, id) {
            Verdict::New => {}
            Verdict::Seen => {
                self.answer_again(&message, source, now);
                return self.queries.pass_on(ltime, id, spread);
            }
            Verdict::Old | Verdict::Ignored => {
                let name = Escaped(&message.name);
                log::debug!(target: "serf", "Ignoring old query {name} at {ltime}");
                return false;
            }
            Verdict::Full => {
                self.refuse("more queries with one Lamport time than allowed");
                return false;
            }
        }
        self.samples.push(Sample::Query(message.name.clone()));
        let for_us = message.filters.as_ref().is_none_or(|filters| {
            let asker: &dyn fmt::Display = match &message.source_node {
                Some(name) => name,
                None => &message.addr,
            };
            let name = self.local_name().as_bytes();
            filters::all_match(filters, name, &self.config.tags, asker)
        });
        if for_us {
            self.accept_query(message, source, now);
        } else {
            self.skip_query(ltime, now);
        }
        self.queries.pass_on(ltime, id, spread)
    }

    fn accept_query(&mut self, message: QueryMessage, source: Source, now: Instant) {
        self.record_query(message.ltime);
        let route = Route {
            own: source == Source::Own,
            addr: message.addr,
            name: message.source_node.clone(),
            relay_factor: message.relay_factor,
        };
        let QueryMessage { ltime, id, .. } = message;
        let deadline = now + clamp_timeout(message.timeout_nanos);
        let internal = message.name.starts_with(INTERNAL_PREFIX);
        let pending = !internal && self.query_handlers.wants(&message.name);
        let query = ReceivedQuery {
            route: route.clone(),
            deadline,
            answered: internal,
            pending,
            answer: None,
            repeats: 0,
        };
        self.received_queries.put((ltime, id), query);
        if message.flags & query_flag::ACK != 0 {
            let ack = self.response(ltime, id, Serf::ack_flags(pending), None);
            let encoded = SerfMessage::QueryResponse(ack.clone()).encode();
            self.send_response(&route, ack, encoded, now);
        }
        if internal {
            self.handle_internal_query(&message, &route, deadline, now);
            self.skip_query(ltime, now);
            return;
        }
        let query = Query {
            ltime,
            id,
            name: message.name,
            payload: message.payload.unwrap_or_default(),
            source_node: message.source_node,
            deadline,
        };
        self.deliver_query(query, source, now);
    }

    /// Sends the answer to a query that was delivered to handlers.
    ///
    /// # Errors
    /// Returns the reference's error text, and sends nothing, if the answer is too large, too late, or not
    /// the first.
    pub(in crate::serf) fn respond(
        &mut self,
        ltime: LamportTime,
        id: u32,
        payload: Vec<u8>,
        now: Instant,
    ) -> Result<(), String> {
        let failed = |why: &str| Err(format!("failed to respond to key query: {why}"));
        let reply = self.response(ltime, id, 0, Some(payload));
        let encoded = match self.encode_response(&reply) {
            Ok(encoded) => encoded,
            Err(why) => return failed(&why),
        };
        let Some(query) = self.received_queries.get_mut((ltime, id)) else {
            return failed("response is past the deadline");
        };
        if query.answered {
            return failed("response already sent");
        }
        if now > query.deadline {
            return failed("response is past the deadline");
        }
        query.answered = true;
        let route = query.route.clone();
        self.send_response(&route, reply, encoded, now);
        Ok(())
    }

    /// Makes a reply or an ack of this node.
    pub(in crate::serf) fn response(
        &self,
        ltime: LamportTime,
        id: u32,
        flags: u32,
        payload: Option<Vec<u8>>,
    ) -> QueryResponseMessage {
        let from = self.local_name().clone();
        QueryResponseMessage {
            ltime,
            id,
            from,
            flags,
            payload,
        }
    }

    /// Encodes a reply within the configured limit.
    ///
    /// # Errors
    /// Returns the reference's error text if the reply is larger.
    pub(in crate::serf) fn encode_response(
        &self,
        reply: &QueryResponseMessage,
    ) -> Result<Vec<u8>, String> {
        encode_response(reply, self.config.query_response_size_limit_bytes)
    }

    /// Sends a reply or an ack to the originator, and through relays if it requests them.
    pub(super) fn send_response(
        &mut self,
        route: &Route,
        message: QueryResponseMessage,
        encoded: Vec<u8>,
        now: Instant,
    ) {
        if route.own {
            self.handle_query_response(message, now);
            return;
        }
        self.keep_answer(&message, &encoded);
        // Sends neither directly nor through relays.
        if self.swim.refuse_receiver(route.addr) {
            return;
        }
        if self.may_answer_to(route.addr, route.name.as_ref(), now) {
            self.swim.send_user_message(route.addr, &encoded);
            self.relay_response(route, encoded);
        } else {
            self.refuse("query with replies to unknown nodes, too often");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_id_make_a_query() {
        let mut ring = QueryRing::default();
        let clock = Clock::at(1001);
        let mut put = |ltime, id| ring.put(clock, LamportTime(ltime), id);
        assert_eq!(put(488, 1), Verdict::Old);
        assert_eq!(put(489, 1), Verdict::New);
        assert_eq!(put(489, 1), Verdict::Seen);
        assert_eq!(put(489, 2), Verdict::New);
        assert_eq!(put(490, 1), Verdict::New);
        for id in 0..SLOT_IDS_MAX as u32 {
            assert_eq!(put(500, id), Verdict::New);
        }
        assert_eq!(put(500, u32::MAX), Verdict::Full);
        let clock = Clock::at(5001);
        assert_eq!(ring.put(clock, LamportTime(5000), 1), Verdict::New);
        assert_eq!(ring.slots.len(), 1);
    }

    #[test]
    fn claimed_timeouts_are_clamped() {
        for (nanos, expected) in [
            (i64::MIN, Duration::ZERO),
            (-1, Duration::ZERO),
            (0, Duration::ZERO),
            (3_200_000_000, Duration::from_millis(3200)),
            (i64::MAX, TIMEOUT_MAX),
        ] {
            assert_eq!(clamp_timeout(nanos), expected);
        }
    }
}
