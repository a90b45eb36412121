//! Events that were put aside: the handlers that are left for them are paused or missing.

use super::{HandlerQueue, MAX_AGE, Slot, Waiting};
use crate::handler::Described;
use crate::handler::moment::Moment;
use crate::serf::Event;
use crate::time::Duration;

/// Bytes of events that wait for handlers that are paused or missing, at most; the oldest give way.
const PARKED_BYTES_MAX: usize = 16 << 20;

impl HandlerQueue {
    /// Puts an event aside until the handlers that are left for it can be run.
    pub(super) fn park(&mut self, waiting: Waiting) {
        self.parked_bytes += waiting.cost;
        self.parked.push_back(waiting);
        while self.parked_bytes > PARKED_BYTES_MAX {
            let Some(oldest) = self.parked.pop_front() else {
                break;
            };
            self.parked_bytes -= oldest.cost;
            self.counters.dropped_user_events += u64::from(matches!(oldest.event, Event::User(_)));
            log::warn!(
                target: "agent",
                "Too many events wait for handlers that are paused or missing: dropped '{}' ({})",
                Described(&oldest.event),
                oldest.id
            );
            self.finish(oldest.number);
        }
    }

    /// Handlers came or go on: what was put aside is looked at again, before all else.
    pub(super) fn unpark(&mut self) {
        self.parked_bytes = 0;
        while let Some(mut waiting) = self.parked.pop_back() {
            waiting.wanted = true;
            self.bytes = self.bytes.saturating_add(waiting.cost);
            self.waiting.push_front(Slot::Event(waiting));
        }
    }

    pub(super) fn is_expired(&self, waiting: &Waiting, at: Moment) -> bool {
        let age = Duration::from_micros(at.unix_micros.saturating_sub(waiting.taken_micros));
        waiting.number.is_some() && age > MAX_AGE
    }

    pub(super) fn expire(&mut self, waiting: &Waiting) {
        self.counters.expired += 1;
        log::warn!(
            target: "agent",
            "Dropping '{}' ({}): it has waited for more than {MAX_AGE:?}",
            Described(&waiting.event),
            waiting.id
        );
        self.finish(waiting.number);
    }

    pub(super) fn expire_parked(&mut self, at: Moment) {
        while let Some(oldest) = self.parked.pop_front() {
            if !self.is_expired(&oldest, at) {
                self.parked.push_front(oldest);
                return;
            }
            self.parked_bytes -= oldest.cost;
            self.expire(&oldest);
        }
    }

    /// Old events that only wait for a handler that is missing or paused keep a journal from shrinking:
    /// they are recorded anew. To be called now and then.
    pub fn carry(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let Some(below) = journal.carried_below() else {
            return;
        };
        let old = |w: &&mut Waiting| w.number.is_some_and(|number| number < below);
        let carried: Vec<&mut Waiting> = self.parked.iter_mut().filter(old).collect();
        if carried.is_empty() || carried.len() < journal.waiting_below(below) {
            return;
        }
        for waiting in carried {
            let (Event::User(event), Some(old)) = (&waiting.event, waiting.number) else {
                continue;
            };
            let done = waiting
                .progress
                .as_ref()
                .map(|p| p.done.clone())
                .unwrap_or_default();
            let left = waiting
                .recorded
                .iter()
                .copied()
                .filter(|key| !done.contains(key));
            let Some(new) = journal.take(event, waiting.taken_micros, false, left.collect()) else {
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
