//! User events and the journal: the core reports each event when it accepts it, possibly long before the
//! coalescer hands it over, and takes back the events in the journal of an earlier run.

use super::user::Verdict;
use crate::serf::{Output, Serf, UserEvent};
use crate::time::Instant;

impl Serf {
    /// Reports a new event, which will be handed over or coalesced away.
    pub(in crate::serf) fn note_taken(&mut self, event: &UserEvent) {
        if self.config.journal {
            self.outputs.push_back(Output::Accepted(event.clone()));
        }
    }

    /// Marks an event of an earlier run as seen. `is_coalescing`: it was still in the coalescer and returns
    /// there.
    pub(in crate::serf) fn take_back(
        &mut self,
        event: UserEvent,
        is_coalescing: bool,
        now: Instant,
    ) {
        if !self.event_clock.witness(event.ltime, now) {
            self.refuse("journalled user event with an implausible time");
            return;
        }
        let payload = Some(event.payload.as_slice());
        let (clock, ltime) = (self.event_clock, event.ltime);
        let verdict = self
            .events
            .put(clock, ltime, &event.name, payload, event.coalesce);
        if is_coalescing {
            self.deliver_taken(event, now);
        } else {
            // Journalled before a leave or a crash and never handed over. Record it, or other members would
            // send it again after the journal has processed it.
            if verdict == Verdict::New {
                self.record_event(&event);
            }
            // It runs from the journal, so later events need not wait for it.
            let wait = self.gap_wait();
            self.event_order.skip(event.ltime, wait, now);
        }
    }
}
