//! Queries received by this node, until their deadline: how to respond, and the answers kept for repeated
//! queries.

use std::net::SocketAddr;

use super::rate_limit;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::events::Source;
use crate::serf::{LamportTime, Serf};
use crate::swim::TokenBucket;
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::serf::{
    QueryMessage, QueryResponseMessage, RESPONSE_FLAG_ACK, RESPONSE_FLAG_PENDING, SerfMessage,
    query_flag,
};

/// Limit for the queries remembered until their deadline; one more drops the oldest, which can no longer be
/// answered.
const RECEIVED_MAX: usize = 4096;
/// Limit for the bytes of kept answers; beyond it, those of the oldest queries are dropped.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Limit for the repetitions of one query that are answered: the eight that an originator sends, plus copies
/// made by the network.
const REPEATS_MAX: u8 = 16;
/// Bytes per token of the rate limit on repeated acks and answers.
const RATE_UNIT_BYTES: usize = 1024;

/// Identifies a query.
pub(in crate::serf) type QueryKey = (LamportTime, u32);

/// How to send replies to a query.
#[derive(Clone, Debug)]
pub(in crate::serf) struct Route {
    /// The query is from this node: replies are delivered locally.
    pub(in crate::serf) own: bool,
    /// Address that replies are sent to.
    pub(in crate::serf) addr: SocketAddr,
    /// Name of the originator.
    pub(in crate::serf) name: Option<NodeName>,
    /// Number of copies of each reply that are relayed through other nodes.
    pub(in crate::serf) relay_factor: u8,
}

/// A query that was received.
#[derive(Clone, Debug)]
pub(in crate::serf) struct ReceivedQuery {
    pub(in crate::serf) route: Route,
    pub(in crate::serf) deadline: Instant,
    /// Handlers can no longer answer, or never could.
    pub(in crate::serf) answered: bool,
    /// A handler runs or will run for it.
    pub(in crate::serf) pending: bool,
    /// The encoded answer.
    pub(in crate::serf) answer: Option<Vec<u8>>,
    /// Number of repetitions that were answered.
    pub(in crate::serf) repeats: u8,
}

/// Received queries whose deadline has not passed, by time and id.
#[derive(Debug)]
pub(in crate::serf) struct ReceivedQueries {
    by_key: OrderedMap<QueryKey, ReceivedQuery>,
    by_deadline: OrderedSet<(Instant, QueryKey)>,
    bytes: usize,
    rate: TokenBucket,
}

impl Default for ReceivedQueries {
    fn default() -> Self {
        ReceivedQueries {
            by_key: OrderedMap::new(),
            by_deadline: OrderedSet::new(),
            bytes: 0,
            rate: rate_limit::repeated_answers(),
        }
    }
}

impl ReceivedQueries {
    /// Returns the time of the next expiry.
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        // An answer at the deadline itself still counts.
        let due = |(deadline, _): &(Instant, QueryKey)| {
            Instant::from_nanos(deadline.as_nanos().saturating_add(1))
        };
        self.by_deadline.first().map(due)
    }

    pub(in crate::serf) fn put(&mut self, key: QueryKey, query: ReceivedQuery) {
        self.remove(key);
        self.by_deadline.insert((query.deadline, key));
        self.by_key.insert(key, query);
        if self.by_key.len() > RECEIVED_MAX {
            if let Some((oldest, _)) = self.by_key.first_key_value() {
                self.remove(*oldest);
            }
        }
    }

    pub(in crate::serf) fn get_mut(&mut self, key: QueryKey) -> Option<&mut ReceivedQuery> {
        self.by_key.get_mut(&key)
    }

    /// Keeps an answer until the deadline of its query.
    fn keep(&mut self, key: QueryKey, encoded: &[u8]) {
        let Some(query) = self.by_key.get_mut(&key) else {
            return;
        };
        if query.answer.is_some() || encoded.len() > KEPT_BYTES_MAX {
            return;
        }
        query.answer = Some(encoded.to_vec());
        self.bytes += encoded.len();
        while self.bytes > KEPT_BYTES_MAX {
            let mut kept = self.by_key.iter();
            let oldest = kept.find(|(at, query)| query.answer.is_some() && **at != key);
            let Some(oldest) = oldest.map(|(at, _)| *at) else {
                return;
            };
            let query = self.by_key.get_mut(&oldest);
            let answer = query.and_then(|query| query.answer.take());
            self.bytes -= answer.map_or(0, |answer| answer.len());
        }
    }

    fn remove(&mut self, key: QueryKey) {
        if let Some(query) = self.by_key.remove(&key) {
            self.by_deadline.remove(&(query.deadline, key));
            self.bytes -= query.answer.map_or(0, |answer| answer.len());
        }
    }

    /// Drops the queries whose deadline has passed.
    pub(in crate::serf) fn forget_due(&mut self, now: Instant) {
        while let Some((deadline, key)) = self.by_deadline.first().copied() {
            if deadline >= now {
                return;
            }
            self.remove(key);
        }
    }

    pub(in crate::serf) fn check_invariants(&self) {
        assert_eq!(self.by_key.len(), self.by_deadline.len());
        assert!(self.by_key.len() <= RECEIVED_MAX);
        let answers = self
            .by_key
            .values()
            .filter_map(|query| query.answer.as_ref());
        assert_eq!(self.bytes, answers.map(Vec::len).sum::<usize>());
        assert!(self.bytes <= KEPT_BYTES_MAX);
    }
}

impl Serf {
    /// Keeps an answer in case the originator repeats the query.
    pub(in crate::serf) fn keep_answer(&mut self, message: &QueryResponseMessage, encoded: &[u8]) {
        if message.flags & RESPONSE_FLAG_ACK == 0 {
            self.received_queries
                .keep((message.ltime, message.id), encoded);
        }
    }

    /// Notes that no handler will answer a delivered query any more.
    pub(in crate::serf) fn handle_query_handled(&mut self, ltime: LamportTime, id: u32) {
        if let Some(query) = self.received_queries.get_mut((ltime, id)) {
            query.pending = false;
        }
    }

    /// Returns the flags of an ack.
    pub(in crate::serf) const fn ack_flags(pending: bool) -> u32 {
        if pending {
            RESPONSE_FLAG_ACK | RESPONSE_FLAG_PENDING
        } else {
            RESPONSE_FLAG_ACK
        }
    }

    /// Handles a repeated query. If the originator sent it directly and only to this node, the ack and the
    /// answer may have been lost: both are sent again, without relays. No handler runs again.
    ///
    /// Only a member that asks from its own address gets them, so that nobody can direct them at a third
    /// party.
    pub(in crate::serf) fn answer_again(
        &mut self,
        message: &QueryMessage,
        source: Source,
        now: Instant,
    ) {
        let direct = source == Source::Gossip(Some(message.addr));
        if message.flags & query_flag::NO_BROADCAST == 0 || !direct {
            return;
        }
        let asker = message.source_node.as_ref();
        let member = asker.and_then(|name| self.members.member(name.as_bytes()));
        if member.is_none_or(|member| member.addr != message.addr) {
            return;
        }
        let key = (message.ltime, message.id);
        let Some(query) = self.received_queries.by_key.get_mut(&key) else {
            return;
        };
        let same = query.route.addr == message.addr && query.route.name.as_ref() == asker;
        if query.route.own || !same || now > query.deadline || query.repeats >= REPEATS_MAX {
            return;
        }
        let answer = query.answer.clone();
        let units = answer.as_ref().map_or(0, Vec::len) / RATE_UNIT_BYTES + 1;
        if !self.received_queries.rate.take_many(units, now) {
            self.refuse("repetition of a query beyond the rate limit");
            return;
        }
        query.repeats += 1;
        let pending = query.pending && !query.answered;
        let (ltime, id) = key;
        if message.flags & query_flag::ACK != 0 {
            // The ack also announces an answer that is sent with it, in case that one is lost.
            let flags = Serf::ack_flags(pending || answer.is_some());
            let ack = self.response(ltime, id, flags, None);
            let encoded = SerfMessage::QueryResponse(ack).encode();
            self.swim.send_user_message(message.addr, &encoded);
        }
        if let Some(encoded) = answer {
            self.swim.send_user_message(message.addr, &encoded);
        }
        self.counters.repeats_answered += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn received(deadline: u64) -> ReceivedQuery {
        ReceivedQuery {
            route: Route {
                own: false,
                addr: "10.0.0.1:7946".parse().unwrap(),
                name: None,
                relay_factor: 0,
            },
            deadline: Instant::from_millis(deadline),
            answered: false,
            pending: false,
            answer: None,
            repeats: 0,
        }
    }

    fn key(n: usize) -> QueryKey {
        (LamportTime(n as u64), 1)
    }

    #[test]
    fn answers_are_kept_until_the_deadline_and_within_a_bound() {
        let mut all = ReceivedQueries::default();
        let answer = vec![b'x'; KEPT_BYTES_MAX / 4];
        for n in 0..6 {
            all.put(key(n), received(100 + n as u64));
            all.keep(key(n), &answer);
            // A second answer to the same query is ignored.
            all.keep(key(n), b"other");
            all.check_invariants();
        }
        let has = |all: &mut ReceivedQueries, n| all.get_mut(key(n)).unwrap().answer.is_some();
        let kept: Vec<bool> = (0..6).map(|n| has(&mut all, n)).collect();
        assert_eq!(kept, [false, false, true, true, true, true]);
        all.keep(key(99), &answer);
        assert_eq!(all.deadline().unwrap(), Instant::from_nanos(100_000_001));
        all.forget_due(Instant::from_millis(103));
        assert_eq!(all.by_key.len(), 3);
        all.check_invariants();
        all.forget_due(Instant::from_millis(200));
        assert_eq!((all.bytes, all.deadline()), (0, None));
        all.check_invariants();
    }

    #[test]
    fn a_flood_of_queries_costs_the_oldest() {
        let mut all = ReceivedQueries::default();
        for n in 0..RECEIVED_MAX + 10 {
            all.put(key(n), received(100));
        }
        all.check_invariants();
        assert!(all.get_mut(key(9)).is_none() && all.get_mut(key(10)).is_some());
    }
}
