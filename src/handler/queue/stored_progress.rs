//! Progress of events that are only on disk.

use super::Progress;
use crate::handler::journal::{HandlerKey, Numbers};
use crate::ordered::OrderedMap;

/// Events that a handler's lane has taken and that have no other progress: one bit per event.
#[derive(Debug)]
struct Taken {
    key: HandlerKey,
    /// See [`Progress::newest_id`].
    newest_id: u64,
    numbers: Numbers,
}

#[derive(Debug, Default)]
pub(super) struct StoredProgress {
    by_number: OrderedMap<u64, Box<Progress>>,
    taken: Vec<Taken>,
}

impl StoredProgress {
    /// Stores the progress of an event that leaves memory.
    pub(super) fn insert(&mut self, number: u64, progress: Box<Progress>) {
        let is_noted = progress.is_only_taken()
            && progress.taken.iter().all(|key| {
                let is_it = |t: &Taken| t.key == *key && t.newest_id == progress.newest_id;
                let at = self.taken.iter().position(is_it).unwrap_or_else(|| {
                    self.taken.push(Taken {
                        key: *key,
                        newest_id: progress.newest_id,
                        numbers: Numbers::default(),
                    });
                    self.taken.len() - 1
                });
                let taken = self.taken.get_mut(at);
                taken.is_some_and(|taken| taken.numbers.insert(number))
            });
        if !is_noted {
            self.by_number.insert(number, progress);
        }
    }

    /// Removes and returns the progress of an event that is read back.
    pub(super) fn remove(&mut self, number: u64) -> Option<Box<Progress>> {
        let mut progress = self.by_number.remove(&number);
        for taken in &mut self.taken {
            if taken.numbers.remove(number) {
                let progress = progress.get_or_insert_default();
                progress.taken.push(taken.key);
                progress.newest_id = progress.newest_id.max(taken.newest_id);
            }
        }
        self.taken.retain(|taken| taken.numbers.len() > 0);
        progress
    }

    /// Returns whether a run for the event had begun when the agent ended.
    pub(super) fn was_begun(&self, number: u64) -> bool {
        let progress = self.by_number.get(&number);
        progress.is_some_and(|progress| progress.begun.is_some())
    }

    /// Excludes handlers with numbers above `newest_id` from all events that a handler's lane has taken.
    pub(super) fn close(&mut self, key: HandlerKey, newest_id: u64) {
        let stored_progress = &mut self.by_number;
        stored_progress.for_each_mut(|_, progress| progress.close(key, newest_id));
        for taken in self.taken.iter_mut().filter(|taken| taken.key == key) {
            taken.newest_id = newest_id;
        }
    }

    /// Notes that a handler's lane no longer has an event. Returns whether the event is only on disk.
    pub(super) fn release(&mut self, number: u64, key: HandlerKey) -> bool {
        for taken in self.taken.iter_mut().filter(|taken| taken.key == key) {
            if taken.numbers.remove(number) {
                let progress = self.by_number.get_or_insert_with(number, Box::default);
                progress.newest_id = taken.newest_id;
            }
        }
        let Some(progress) = self.by_number.get_mut(&number) else {
            return false;
        };
        progress.taken.retain(|other| *other != key);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}
