//! Hands user events and queries over to the handler queue and RPC streams, in the order of Lamport times
//! unless they are coalesced.

use super::Ready;
use crate::serf::{Event, Output, Query, Serf, UserEvent};
use crate::time::{Duration, Instant};

/// Time in which an immediate broadcast reaches all nodes of a local network: a few hops of some milliseconds
/// each.
const HOP_TIME: Duration = Duration::from_millis(50);
/// Bytes counted for a waiting event in addition to its name and payload.
const EVENT_OVERHEAD_BYTES: usize = 128;

impl Serf {
    /// Queues a new user event that is not coalesced; it is handed over after all earlier ones, those that
    /// follow in the same turn of the loop included.
    pub(in crate::serf) fn deliver_in_order(&mut self, event: UserEvent, now: Instant) {
        let bytes = event.name.len() + event.payload.len() + EVENT_OVERHEAD_BYTES;
        let wait = self.gap_wait();
        self.event_order.offer(event.ltime, event, bytes, wait, now);
    }

    /// Returns how long an event or a query waits for a missing earlier one.
    ///
    /// The gossip interval is included for two reasons: nodes of the reference send only at ticks, and an
    /// immediate broadcast of this program goes to a few random nodes, while the others get it at the
    /// sender's next tick. With [`HOP_TIME`] alone, 342 of 25,000 events are out of order (50 nodes, 50
    /// events per second, no loss); with the interval added, 9 are.
    pub(in crate::serf) fn gap_wait(&self) -> Duration {
        HOP_TIME + self.config.swim.gossip_interval
    }

    /// Hands over the events and queries that do not have to wait for an earlier one any longer.
    pub(in crate::serf) fn hand_over_ready(&mut self, now: Instant) {
        let events = self.event_order.take_ready(now);
        self.hand_over_events(events);
        let queries = self.query_order.take_ready(now);
        self.hand_over_queries(queries);
    }

    /// Hands over events and queries before their turn ends if too many wait.
    pub(in crate::serf) fn hand_over_excess(&mut self) {
        let events = self.event_order.take_excess();
        self.hand_over_events(events);
        let queries = self.query_order.take_excess();
        self.hand_over_queries(queries);
    }

    /// Hands over all events and queries that wait for earlier ones.
    pub(in crate::serf) fn flush_ordered(&mut self) {
        self.flush_ordered_events();
        let queries = self.query_order.take_all();
        self.hand_over_queries(queries);
    }

    /// Hands over all events that wait for earlier ones.
    pub(in crate::serf) fn flush_ordered_events(&mut self) {
        let ready = self.event_order.take_all();
        self.hand_over_events(ready);
    }

    fn hand_over_events(&mut self, ready: Ready<UserEvent>) {
        self.counters.events_out_of_order += ready.out_of_order;
        self.hand_over_each("user events", ready, Self::hand_over_event);
    }

    fn hand_over_queries(&mut self, ready: Ready<Query>) {
        self.counters.queries_out_of_order += ready.out_of_order;
        self.hand_over_each("queries", ready, Self::hand_over_query);
    }

    /// Hands over the ready items one by one.
    fn hand_over_each<T>(&mut self, what: &str, ready: Ready<T>, hand_over: fn(&mut Self, T)) {
        self.note_pushed_out(what, ready.pushed_out);
        for item in ready.items {
            hand_over(self, item);
        }
    }

    /// Counts items handed over early because too many waited; logs a warning whenever the count has doubled.
    fn note_pushed_out(&mut self, what: &str, count: u64) {
        if count == 0 {
            return;
        }
        let before = self.counters.order_pushed_out;
        self.counters.order_pushed_out = before.saturating_add(count);
        if before.checked_ilog2() != self.counters.order_pushed_out.checked_ilog2() {
            log::warn!(
                target: "serf",
                "Too many {what} wait for earlier ones that are missing: {count} handed over at \
                 once, possibly out of order ({} so far)",
                self.counters.order_pushed_out
            );
        }
    }

    /// Hands a user event over to handlers and RPC streams and records it in the snapshot.
    ///
    /// All user events pass through this function, in the order of hand-over. Recording them here, and not
    /// when they are accepted, means that a crash loses no event that still waits in the core: it is not
    /// recorded, so other members may deliver it again.
    ///
    /// Hands over nothing after the leave is recorded: the event could not be recorded and would be handed
    /// over again after a restart from the snapshot.
    pub(in crate::serf) fn hand_over_event(&mut self, event: UserEvent) {
        if self.has_recorded_leave() {
            return;
        }
        self.record_event(&event);
        self.outputs.push_back(Output::Event(Event::User(event)));
    }
}
