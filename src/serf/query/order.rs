//! Hands queries over to handlers in the order of their Lamport times, like user events. Acks are sent on
//! arrival; only the hand-over waits.

use crate::serf::events::Source;
use crate::serf::{Event, LamportTime, Output, Query, Serf};
use crate::time::Instant;

/// Bytes counted for a waiting query in addition to its name and payload.
const QUERY_OVERHEAD_BYTES: usize = 192;
/// Divisor: a query waits at most an eighth of its remaining time, since its handler needs the rest.
const PART_OF_TIMEOUT: u32 = 8;

impl Serf {
    /// Queues a new query for handlers. Queries by this node are handed over at once, because a local client
    /// waits for the answer, and so are those that leave no time to wait.
    pub(in crate::serf) fn deliver_query(&mut self, query: Query, source: Source, now: Instant) {
        let left = query.deadline.since(now) / PART_OF_TIMEOUT;
        if source == Source::Own || left.is_zero() {
            self.skip_query(query.ltime, now);
            self.hand_over_query(query);
            return;
        }
        let bytes = query.name.len() + query.payload.len() + QUERY_OVERHEAD_BYTES;
        let wait = self.gap_wait().min(left);
        self.query_order.offer(query.ltime, query, bytes, wait, now);
    }

    /// Marks the time of a query that no local handler sees, so that later ones do not wait for it.
    pub(in crate::serf) fn skip_query(&mut self, ltime: LamportTime, now: Instant) {
        let wait = self.gap_wait();
        self.query_order.skip(ltime, wait, now);
    }

    pub(in crate::serf) fn hand_over_query(&mut self, query: Query) {
        self.outputs.push_back(Output::Event(Event::Query(query)));
    }
}
