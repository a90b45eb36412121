//! Who is still to be through with an event in the journal: the row, and lanes that have a copy.

use crate::handler::journal::HandlerKey;
use crate::ordered::{OrderedMap, OrderedSet};

/// What is to be recorded when a lane is through with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing; it was recorded before.
    Nothing,
    /// This handler is done.
    Done,
    /// Nobody is left.
    Finished,
}

#[derive(Debug, Default)]
pub(super) struct Shares {
    lanes: OrderedMap<(u64, HandlerKey), ()>,
    /// Events that the row is through with and lanes are not.
    row_through: OrderedSet<u64>,
}

impl Shares {
    /// A lane has a copy.
    pub(super) fn take(&mut self, number: u64, key: HandlerKey) {
        self.lanes.insert((number, key), ());
    }

    /// A lane is through with it.
    pub(super) fn give(&mut self, number: u64, key: HandlerKey) -> Step {
        if self.lanes.remove(&(number, key)).is_none() {
            return Step::Nothing;
        }
        match !self.is_shared(number) && self.row_through.remove(&number) {
            true => Step::Finished,
            false => Step::Done,
        }
    }

    /// The event goes back from a lane into the row.
    pub(super) fn release(&mut self, number: u64, key: HandlerKey) {
        self.lanes.remove(&(number, key));
        self.row_through.remove(&number);
    }

    /// The row is through with it. Tells whether nobody is left.
    pub(super) fn row_is_through(&mut self, number: u64) -> bool {
        let is_shared = self.is_shared(number);
        if is_shared {
            self.row_through.insert(number);
        }
        !is_shared
    }

    /// Whether some lane has a copy.
    pub(super) fn is_shared(&self, number: u64) -> bool {
        let mut from = self.lanes.range_from(&(number, 0));
        from.next().is_some_and(|((other, _), ())| *other == number)
    }

    pub(super) fn clear(&mut self) {
        *self = Shares::default();
    }
}
