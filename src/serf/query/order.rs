//! Queries go to handlers in the order of their Lamport times, as user events do. They are acked when
//! they arrive; only the hand-over waits.

use crate::serf::events::{Ready, Source};
use crate::serf::{Event, LamportTime, Output, Query, Serf};
use crate::time::Instant;

/// What a query that waits costs beside its name and payload, in bytes.
const QUERY_OVERHEAD_BYTES: usize = 192;
/// A query waits this part of its time to live at most: its handler needs the rest.
const PART_OF_TIMEOUT: u32 = 8;

impl Serf {
    /// A new query for handlers. This node's own are handed over at once, because their asker waits
    /// for the answer, and so are those that leave no time to wait.
    pub(in crate::serf) fn deliver_query(&mut self, query: Query, source: Source, now: Instant) {
        let left = query.deadline.since(now) / PART_OF_TIMEOUT;
        if source == Source::Own || left.is_zero() {
            self.skip_query(query.ltime, now);
            self.hand_over_query(query);
            return;
        }
        let bytes = query.name.len() + query.payload.len() + QUERY_OVERHEAD_BYTES;
        let patience = self.gap_patience().min(left);
        self.query_order
            .offer(query.ltime, query, bytes, patience, now);
        self.hand_over_ready_queries(now);
    }

    /// A query that no handler sees here: later ones need not wait for it.
    pub(in crate::serf) fn skip_query(&mut self, ltime: LamportTime, now: Instant) {
        let patience = self.gap_patience();
        self.query_order.skip(ltime, patience, now);
        self.hand_over_ready_queries(now);
    }

    /// Hands over the queries for which no earlier one is missing, or not to be waited for any more.
    pub(in crate::serf) fn hand_over_ready_queries(&mut self, now: Instant) {
        let ready = self.query_order.take_ready(now);
        self.hand_over_queries(ready);
    }

    /// Hands over all queries that wait for earlier ones.
    pub(in crate::serf) fn flush_ordered_queries(&mut self) {
        let ready = self.query_order.take_all();
        self.hand_over_queries(ready);
    }

    fn hand_over_queries(&mut self, ready: Ready<Query>) {
        self.counters.queries_out_of_order += ready.out_of_order;
        self.hand_over_each("queries", ready, Self::hand_over_query);
    }

    fn hand_over_query(&mut self, query: Query) {
        self.outputs.push_back(Output::Event(Event::Query(query)));
    }
}
