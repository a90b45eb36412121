//! Parked events: their remaining handlers are paused or missing.

use super::{HandlerQueue, MAX_AGE, Waiting};
use crate::handler::Described;
use crate::handler::moment::Moment;
use crate::serf::Event;

/// Memory limit for parked events; the oldest are dropped first.
const PARKED_BYTES_MAX: usize = 16 << 20;
/// Minimum interval between scans of the parked events for expired ones.
const LOOK_INTERVAL_MICROS: u64 = 1_000_000;

impl HandlerQueue {
    /// Parks an event until its remaining handlers can run.
    pub(super) fn park(&mut self, mut waiting: Waiting, expires_micros: u64) {
        let met_id = &mut waiting.progress_mut().met_id;
        if *met_id == 0 {
            *met_id = self.handlers.last_id();
        }
        self.parked_expiry_micros = self.parked_expiry_micros.min(expires_micros);
        self.parked.push_back(waiting);
        while self.parked.bytes() > PARKED_BYTES_MAX {
            let Some(oldest) = self.parked.pop_front() else {
                break;
            };
            self.counters.dropped_user_events += u64::from(matches!(oldest.event, Event::User(_)));
            log::warn!(
                target: "agent",
                "Too many events wait for paused or missing handlers: dropped '{}' ({})",
                Described(&oldest.event),
                oldest.id
            );
            self.finish(oldest.number);
        }
    }

    /// Moves all parked events back to the head of the FIFO, after a handler was added or resumed.
    pub(super) fn unpark(&mut self) {
        self.parked_expiry_micros = u64::MAX;
        for mut waiting in self.parked.take().rev() {
            waiting.wanted = true;
            self.fifo.push_front(waiting);
        }
    }

    /// Notes that an event is too old for the handler with that number.
    pub(super) fn expire(&mut self, waiting: &Waiting, id: u64) {
        self.counters.expired += 1;
        log::warn!(
            target: "agent",
            "Dropping '{}' ({}) for handler '{}': waited longer than max_age",
            Described(&waiting.event),
            waiting.id,
            self.handlers.name_of(id).escape_debug()
        );
    }

    pub(super) fn expire_missing(&mut self, waiting: &Waiting) {
        self.counters.expired += 1;
        log::warn!(
            target: "agent",
            "Dropping '{}' ({}) for a missing handler: waited longer than {MAX_AGE:?}",
            Described(&waiting.event),
            waiting.id
        );
    }

    /// Processes parked events again when one of them may have expired.
    pub(super) fn look_at_parked(&mut self, at: Moment) {
        if at.unix_micros > self.parked_expiry_micros {
            self.unpark();
            // Limits the rate of scans, since a scan does not remove events that wait for other handlers.
            self.parked_expiry_micros = at.unix_micros + LOOK_INTERVAL_MICROS;
        }
    }

    /// Records old parked events again, because otherwise they keep segments of the journal in use. To be
    /// called periodically.
    pub fn carry(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let Some(below) = journal.carried_below() else {
            return;
        };
        let holders = &self.holders;
        let old = |w: &&mut Waiting| {
            let old = |number: &u64| *number < below && !holders.is_in_lane(*number);
            w.number.filter(old).is_some()
        };
        let carried: Vec<&mut Waiting> = self.parked.events_mut().filter(old).collect();
        if carried.is_empty() || carried.len() < journal.waiting_below(below) {
            return;
        }
        for waiting in carried {
            let Some(old) = waiting.number else {
                continue;
            };
            let done = waiting.progress().done.clone();
            let left = waiting
                .recorded
                .iter()
                .copied()
                .filter(|key| !done.contains(key));
            let taken = waiting.taken_micros;
            let Some(new) = journal.take(&waiting.event, taken, false, left.collect()) else {
                return;
            };
            for key in done {
                journal.done(new, key);
            }
            journal.finished(old);
            waiting.number = Some(new);
        }
    }
}
