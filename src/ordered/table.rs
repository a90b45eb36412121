//! A table of entries that contain their keys.

use std::cmp::Ordering;
use std::fmt;

pub use super::order::Slot;
use super::order::{Found, Order, Slots};

/// Table that iterates in the order of its entries; see the module's documentation.
///
/// The entries contain their keys: the caller compares them, always in the same way. The slot of an
/// entry is valid until the entry is removed or the table is compacted.
#[derive(Clone)]
pub struct OrderedTable<T> {
    order: Order,
    /// Indexed by slot; free slots hold `None`.
    entries: Vec<Option<T>>,
}

impl<T> OrderedTable<T> {
    /// Creates an empty table.
    pub const fn new() -> Self {
        OrderedTable {
            order: Order::new(),
            entries: Vec::new(),
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.order.used(self.entries.len())
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of slots, used and free.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entry of a slot.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// Returns the entry of a slot, for changes that keep its place in the order.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// Returns the first entry.
    pub fn first(&self) -> Option<&T> {
        self.get(self.order.first()?)
    }

    /// Returns the last entry.
    pub fn last(&self) -> Option<&T> {
        self.get(self.order.last()?)
    }

    /// Returns the slot of the entry for which `compare` returns equal. `compare` compares an entry with the
    /// one that is searched.
    pub fn find(&self, compare: impl Fn(&T) -> Ordering) -> Option<Slot> {
        self.search(compare).slot
    }

    pub(super) fn search(&self, compare: impl Fn(&T) -> Ordering) -> Found {
        self.order.search(&|slot| match self.get(slot) {
            Some(entry) => compare(entry),
            None => Ordering::Less,
        })
    }

    /// Inserts an entry, or replaces the one for which `compare` returns equal; returns its slot and the
    /// entry that it replaces.
    pub fn insert(&mut self, entry: T, compare: impl Fn(&T, &T) -> Ordering) -> (Slot, Option<T>) {
        let found = self.search(|present| compare(present, &entry));
        let slot = self.slot_of(found);
        (slot, self.room(slot).replace(entry))
    }

    /// Returns the slot that was found; allocates an empty one, to be filled at once, if there was none.
    #[inline(never)]
    pub(super) fn slot_of(&mut self, found: Found) -> Slot {
        let Found { place, slot } = found;
        if let Some(slot) = slot {
            return slot;
        }
        let slots = self.entries.len();
        let slot = self.order.insert(place, slots);
        if slot as usize == slots {
            if slots == self.entries.capacity() {
                // Grows by an eighth only, because the largest tables have an entry per member.
                self.entries.reserve_exact((slots / 8).max(4));
            }
            self.entries.push(None);
        }
        slot
    }

    /// Returns the entry of a slot that was just found or allocated.
    pub(super) fn room(&mut self, slot: Slot) -> &mut Option<T> {
        &mut self.entries[slot as usize]
    }

    /// Removes and returns the entry for which `compare` returns equal.
    pub fn remove(&mut self, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        self.remove_found(self.search(compare))
    }

    /// Removes and returns the entry that was found, if any.
    pub(super) fn remove_found(&mut self, found: Found) -> Option<T> {
        found.slot?;
        let slot = self.order.remove(found.place)?;
        self.take(slot)
    }

    /// Removes and returns the first entry.
    pub fn pop_first(&mut self) -> Option<T> {
        let slot = self.order.pop_first()?;
        self.take(slot)
    }

    /// Takes the entry of a slot that was freed.
    fn take(&mut self, slot: Slot) -> Option<T> {
        self.entries.get_mut(slot as usize)?.take()
    }

    /// Keeps only the entries for which `is_kept` returns true; calls it in order.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&mut T) -> bool) {
        let entries = &mut self.entries;
        self.order.retain(&mut |slot| {
            let Some(entry) = entries.get_mut(slot as usize) else {
                return false;
            };
            let kept = entry.as_mut().is_some_and(&mut is_kept);
            if !kept {
                *entry = None;
            }
            kept
        });
    }

    /// Releases memory once most slots are free. Entries change their slots.
    pub fn compact(&mut self) {
        if self.order.is_sparse(self.entries.len()) {
            self.renumber();
        }
    }

    #[cold]
    #[inline(never)]
    fn renumber(&mut self) {
        let slots = self.entries.len();
        let mut swap = |a, b| self.entries.swap(a as usize, b as usize);
        let used = self.order.compact(slots, &mut swap);
        self.entries.truncate(used);
        self.entries.shrink_to_fit();
    }

    /// Iterates over all entries in order.
    pub fn iter(&self) -> TableIter<'_, T> {
        TableIter {
            slots: self.order.slots(),
            entries: &self.entries,
        }
    }

    /// Iterates in order over all entries from the first for which `compare` does not return less.
    pub fn range_from(&self, compare: impl Fn(&T) -> Ordering) -> TableIter<'_, T> {
        self.iter_from(self.search(compare))
    }

    /// Iterates in order over all entries from the place that was found.
    pub(super) fn iter_from(&self, found: Found) -> TableIter<'_, T> {
        TableIter {
            slots: self.order.slots_from(found.place),
            entries: &self.entries,
        }
    }

    /// Iterates over all entries by slot, which is faster than in order.
    pub fn in_any_order(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// Calls `visit` for all entries in order, for changes that keep their places.
    pub fn for_each_mut(&mut self, mut visit: impl FnMut(&mut T)) {
        for slot in self.order.slots() {
            if let Some(Some(entry)) = self.entries.get_mut(slot as usize) {
                visit(entry);
            }
        }
    }

    /// Returns the number of entries that fit the allocated memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Whether few enough slots are free.
    #[cfg(test)]
    pub(super) fn is_tight(&self) -> bool {
        !self.order.is_sparse(self.entries.len())
    }

    /// Panics if order and entries are inconsistent.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.order.check_invariants(self.entries.len());
        let used = self.in_any_order().count();
        assert_eq!((used, used), (self.len(), self.iter().count()));
    }
}

impl<T> Default for OrderedTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OrderedTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over entries in order.
#[derive(Debug)]
pub struct TableIter<'a, T> {
    slots: Slots<'a>,
    entries: &'a [Option<T>],
}

impl<'a, T> Iterator for TableIter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.entries.get(self.slots.next()? as usize)?.as_ref()
    }
}

/// Owning iterator over entries in order.
#[derive(Debug)]
pub struct IntoTableIter<T> {
    slots: std::vec::IntoIter<Slot>,
    entries: Vec<Option<T>>,
}

impl<T> Iterator for IntoTableIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.entries.get_mut(self.slots.next()? as usize)?.take()
    }
}

impl<T> IntoIterator for OrderedTable<T> {
    type Item = T;
    type IntoIter = IntoTableIter<T>;

    fn into_iter(self) -> IntoTableIter<T> {
        IntoTableIter {
            slots: self.order.into_slots().into_iter(),
            entries: self.entries,
        }
    }
}
