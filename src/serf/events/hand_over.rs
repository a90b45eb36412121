//! The way of a user event out of the core: in the order of Lamport times to the handler queue and
//! to the RPC streams, unless it is coalesced.

use super::Ready;
use crate::serf::{Event, Output, Serf, UserEvent};
use crate::time::{Duration, Instant};

/// Time in which what a node sends at once reaches all nodes of a local network: a few hops of some
/// milliseconds each.
const HOP_PATIENCE: Duration = Duration::from_millis(50);
/// What an event that waits costs beside its name and payload, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 128;

impl Serf {
    /// A new user event that is not coalesced: it goes when all earlier ones have gone.
    pub(in crate::serf) fn deliver_in_order(&mut self, event: UserEvent, now: Instant) {
        let bytes = event.name.len() + event.payload.len() + EVENT_OVERHEAD_BYTES;
        let patience = self.gap_patience();
        self.event_order
            .offer(event.ltime, event, bytes, patience, now);
        self.hand_over_ready_events(now);
    }

    /// How long an event or a query waits for an earlier one that is missing.
    ///
    /// Not only nodes that gossip at ticks alone make it wait for the next tick: news of this program
    /// go to a few nodes at once, and chance passes some over, to which they come at the sender's
    /// next tick. With [`HOP_PATIENCE`] alone, 342 of 25,000 events are out of order (50 nodes, 50
    /// events a second, no loss); with an interval more it is 9.
    pub(in crate::serf) fn gap_patience(&self) -> Duration {
        HOP_PATIENCE + self.config.swim.gossip_interval
    }

    /// Hands over the events for which no earlier one is missing, or not to be waited for any more.
    pub(in crate::serf) fn hand_over_ready_events(&mut self, now: Instant) {
        let ready = self.event_order.take_ready(now);
        self.hand_over_events(ready);
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

    /// Hands over what is ready, one by one.
    pub(in crate::serf) fn hand_over_each<T>(
        &mut self,
        what: &str,
        ready: Ready<T>,
        hand_over: fn(&mut Self, T),
    ) {
        self.note_pushed_out(what, ready.pushed_out);
        for item in ready.items {
            hand_over(self, item);
        }
    }

    /// Counts what had to go before what it waited for, and says so whenever the count has doubled.
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
                 once, maybe out of order ({} so far)",
                self.counters.order_pushed_out
            );
        }
    }

    /// Hands a user event over to handlers and RPC streams, and records it in the snapshot.
    ///
    /// Every user event that is handed over passes through this function, in the order of the
    /// hand-over. Recording here, and not when the event is taken in, means that a crash loses no
    /// event that still waits in the core: it is not recorded, so other members may deliver it again.
    ///
    /// Once the leave is recorded, nothing is handed over: it could not be recorded, and would be handed
    /// over again after a restart that goes on from the snapshot.
    pub(in crate::serf) fn hand_over_event(&mut self, event: UserEvent) {
        if self.has_recorded_leave() {
            return;
        }
        self.record_event(&event);
        self.outputs.push_back(Output::Event(Event::User(event)));
    }
}
