//! FIFO of events, with the memory they take.

use std::collections::VecDeque;

use super::Waiting;
use crate::handler::journal::Stored;

/// Number of slots that an empty FIFO keeps allocated.
pub(super) const IDLE_CAPACITY: usize = 64;

/// An item of the FIFO.
#[derive(Debug)]
pub(super) enum Slot {
    Event(Waiting),
    /// A range of user events that are only on disk.
    Stored(Stored),
}

impl Slot {
    fn event(&self) -> Option<&Waiting> {
        match self {
            Slot::Event(waiting) => Some(waiting),
            Slot::Stored(_) => None,
        }
    }

    pub(super) fn event_mut(&mut self) -> Option<&mut Waiting> {
        match self {
            Slot::Event(waiting) => Some(waiting),
            Slot::Stored(_) => None,
        }
    }

    fn into_event(self) -> Option<Waiting> {
        match self {
            Slot::Event(waiting) => Some(waiting),
            Slot::Stored(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Fifo {
    slots: VecDeque<Slot>,
    bytes: usize,
}

impl Fifo {
    /// Returns the approximate memory that the events take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether no event waits, in memory or on disk.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the events in memory.
    pub(super) fn events(&self) -> impl Iterator<Item = &Waiting> {
        self.slots.iter().filter_map(Slot::event)
    }

    /// Returns the events in memory. After a change of their cost, [`Self::retain`] must be called.
    pub(super) fn events_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Waiting> {
        self.slots.iter_mut().filter_map(Slot::event_mut)
    }

    /// Returns the first event if it is in memory.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.slots.front().and_then(Slot::event)
    }

    /// Returns the first item if it is on disk.
    pub(super) fn first_stored(&mut self) -> Option<&mut Stored> {
        match self.slots.front_mut() {
            Some(Slot::Stored(stored)) => Some(stored),
            _ => None,
        }
    }

    pub(super) fn push_back(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.cost);
        self.slots.push_back(Slot::Event(waiting));
    }

    pub(super) fn push_front(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.cost);
        self.slots.push_front(Slot::Event(waiting));
    }

    pub(super) fn push_stored(&mut self, stored: Stored) {
        self.slots.push_back(Slot::Stored(stored));
    }

    /// Removes the first event if it is in memory.
    pub(super) fn pop_front(&mut self) -> Option<Waiting> {
        self.first()?;
        let waiting = self.slots.pop_front().and_then(Slot::into_event)?;
        self.bytes = self.bytes.saturating_sub(waiting.cost);
        Some(waiting)
    }

    pub(super) fn pop_stored(&mut self) {
        if self.first_stored().is_some() {
            self.slots.pop_front();
        }
    }

    /// Removes the events for which `is_kept` returns false; ranges on disk stay. Recomputes the memory
    /// taken.
    pub(super) fn retain(&mut self, is_kept: &mut dyn FnMut(&mut Waiting) -> bool) {
        let mut bytes: usize = 0;
        self.slots.retain_mut(|slot| {
            let Slot::Event(waiting) = slot else {
                return true;
            };
            let is_kept = is_kept(waiting);
            if is_kept {
                bytes = bytes.saturating_add(waiting.cost);
            }
            is_kept
        });
        self.bytes = bytes;
    }

    /// Removes everything and returns the events in memory.
    pub(super) fn take(&mut self) -> impl DoubleEndedIterator<Item = Waiting> + use<> {
        let slots = std::mem::take(self).slots.into_iter();
        slots.filter_map(Slot::into_event)
    }

    /// Lends out all slots; [`Self::bytes`] is unchanged until [`Self::give_back`].
    pub(super) fn lend(&mut self) -> VecDeque<Slot> {
        std::mem::take(&mut self.slots)
    }

    pub(super) fn give_back(&mut self, slots: VecDeque<Slot>) {
        self.slots = slots;
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn shrink(&mut self) {
        if self.slots.capacity() > IDLE_CAPACITY {
            self.slots.shrink_to(IDLE_CAPACITY);
        }
    }

    /// Passes events from the back to `store`, and replaces those for which it returns a range, until at most
    /// `bytes_max` is used.
    pub(super) fn spill(
        &mut self,
        bytes_max: usize,
        store: &mut dyn FnMut(&mut Waiting) -> Option<Stored>,
    ) {
        let mut tail: Vec<Slot> = Vec::new();
        while self.bytes > bytes_max {
            let stored = match self.slots.pop_back() {
                None => break,
                Some(Slot::Stored(stored)) => stored,
                Some(Slot::Event(mut waiting)) => match store(&mut waiting) {
                    Some(stored) => {
                        self.bytes = self.bytes.saturating_sub(waiting.cost);
                        stored
                    }
                    None => {
                        tail.push(Slot::Event(waiting));
                        continue;
                    }
                },
            };
            match tail.last_mut() {
                Some(Slot::Stored(later)) => later.add_all(&stored),
                _ => tail.push(Slot::Stored(stored)),
            }
        }
        // Merges the first range with a range just before it.
        if let (Some(Slot::Stored(_)), Some(Slot::Stored(before))) =
            (tail.last(), self.slots.back_mut())
        {
            if let Some(Slot::Stored(first)) = tail.pop() {
                before.add_all(&first);
            }
        }
        self.slots.extend(tail.into_iter().rev());
    }
}
