//! Tracks where an event of the journal still waits: in the FIFO, and in lanes with a copy.

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
pub(super) struct Holders {
    lanes: OrderedMap<(u64, HandlerKey), ()>,
    /// Events that only lanes still need.
    finished_in_fifo: OrderedSet<u64>,
}

impl Holders {
    /// Notes that a lane has a copy.
    pub(super) fn add_lane(&mut self, number: u64, key: HandlerKey) {
        self.lanes.insert((number, key), ());
    }

    /// Notes that a lane has finished with an event; returns what to record.
    pub(super) fn lane_finished(&mut self, number: u64, key: HandlerKey) -> Step {
        if self.lanes.remove(&(number, key)).is_none() {
            return Step::Nothing;
        }
        match !self.is_in_lane(number) && self.finished_in_fifo.remove(&number) {
            true => Step::Finished,
            false => Step::Done,
        }
    }

    /// Moves the event from a lane back to the FIFO.
    pub(super) fn release(&mut self, number: u64, key: HandlerKey) {
        self.lanes.remove(&(number, key));
        self.finished_in_fifo.remove(&number);
    }

    /// Notes that the FIFO has finished with an event. Returns whether no lane has a copy.
    pub(super) fn fifo_finished(&mut self, number: u64) -> bool {
        let is_in_lane = self.is_in_lane(number);
        if is_in_lane {
            self.finished_in_fifo.insert(number);
        }
        !is_in_lane
    }

    /// Returns whether some lane has a copy.
    pub(super) fn is_in_lane(&self, number: u64) -> bool {
        let mut from = self.lanes.range_from(&(number, 0));
        from.next().is_some_and(|((other, _), ())| *other == number)
    }

    pub(super) fn clear(&mut self) {
        *self = Holders::default();
    }
}
