//! Tracks who still needs an event in the journal: the row, and lanes with a copy.

use crate::handler::journal::HandlerKey;
use crate::ordered::{OrderedMap, OrderedSet};

/// What to record when a lane has finished with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing; it was recorded before.
    Nothing,
    /// This handler has finished.
    Done,
    /// All handlers have finished.
    Finished,
}

#[derive(Debug, Default)]
pub(super) struct Shares {
    lanes: OrderedMap<(u64, HandlerKey), ()>,
    /// Events that only lanes still need.
    row_through: OrderedSet<u64>,
}

impl Shares {
    /// Takes note that a lane has a copy.
    pub(super) fn take(&mut self, number: u64, key: HandlerKey) {
        self.lanes.insert((number, key), ());
    }

    /// Takes note that a lane has finished with an event; returns what to record.
    pub(super) fn give(&mut self, number: u64, key: HandlerKey) -> Step {
        if self.lanes.remove(&(number, key)).is_none() {
            return Step::Nothing;
        }
        match !self.is_shared(number) && self.row_through.remove(&number) {
            true => Step::Finished,
            false => Step::Done,
        }
    }

    /// Moves the event from a lane back to the row.
    pub(super) fn release(&mut self, number: u64, key: HandlerKey) {
        self.lanes.remove(&(number, key));
        self.row_through.remove(&number);
    }

    /// Takes note that the row has finished with an event. Returns whether no lane has a copy.
    pub(super) fn row_is_through(&mut self, number: u64) -> bool {
        let is_shared = self.is_shared(number);
        if is_shared {
            self.row_through.insert(number);
        }
        !is_shared
    }

    /// Returns whether some lane has a copy.
    pub(super) fn is_shared(&self, number: u64) -> bool {
        let mut from = self.lanes.range_from(&(number, 0));
        from.next().is_some_and(|((other, _), ())| *other == number)
    }

    pub(super) fn clear(&mut self) {
        *self = Shares::default();
    }
}
