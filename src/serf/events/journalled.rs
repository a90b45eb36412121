//! User events and the journal: the core tells of each event as soon as it takes it in, long before the
//! coalescer hands it over, and takes back what a journal from an earlier life holds.

use super::user::Verdict;
use crate::serf::{Output, Serf, UserEvent};
use crate::time::Instant;

impl Serf {
    /// An event is new and will be handed over, or coalesced away.
    pub(in crate::serf) fn note_taken(&mut self, event: &UserEvent) {
        if self.config.journal {
            self.outputs.push_back(Output::Taken(event.clone()));
        }
    }

    /// Remembers an event of an earlier life as seen; `is_coalescing`: it had not left the coalescer,
    /// and goes there again.
    pub(in crate::serf) fn take_back(
        &mut self,
        event: UserEvent,
        is_coalescing: bool,
        now: Instant,
    ) {
        if !self.event_clock.witness(event.ltime) {
            self.refuse("journalled user event with an absurd time");
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
            // Journalled before a leave or a crash, and not handed over any more: the snapshot does not
            // have it, and would let others send it again once the journal is done with it.
            if verdict == Verdict::New {
                self.record_event(&event);
            }
            // It runs from the journal: later ones need not wait for it.
            let patience = self.gap_patience();
            self.event_order.skip(event.ltime, patience, now);
            self.hand_over_ready_events(now);
        }
    }
}
