//! The order of slots: the part of a table that is independent of its types.

use std::cmp::Ordering;

/// Maximum slots per chunk, which bounds the slots that an insertion moves.
pub(super) const CHUNK_MAX: usize = 128;
/// Chunks with fewer slots are merged with a neighbour, if the result is not too large.
pub(super) const CHUNK_SMALL: usize = CHUNK_MAX / 4;
/// Maximum slots in a merged chunk, so that room for insertions remains.
const JOINED_MAX: usize = CHUNK_MAX / 2;
/// Number of free slots that never triggers compaction.
const FREE_MIN: usize = 64;

/// Index into the owner's entries.
pub type Slot = u32;

/// Slots, in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// No chunk is empty.
    chunks: Vec<Vec<Slot>>,
    /// Slots without an entry.
    free: Vec<Slot>,
}

/// Position of a slot in the order, or where to insert it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u32,
    at: u32,
}

impl Place {
    fn new(chunk: usize, at: usize) -> Self {
        // There are at most as many chunks as slots.
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            chunk: narrow(chunk),
            at: narrow(at),
        }
    }

    fn chunk(self) -> usize {
        self.chunk as usize
    }

    fn at(self) -> usize {
        self.at as usize
    }
}

/// Result of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// The slot with that key, if any.
    pub(super) slot: Option<Slot>,
}

/// Converts an index to a slot. Memory runs out before the type does.
fn slot_number(slots: usize) -> Slot {
    Slot::try_from(slots).unwrap_or(Slot::MAX)
}

impl Order {
    pub(super) const fn new() -> Self {
        Order {
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Sorts the slots `0..slots` by `compare`; equal ones keep the order of their numbers.
    #[inline(never)]
    pub(super) fn sorted(slots: usize, compare: &dyn Fn(Slot, Slot) -> Ordering) -> Vec<Slot> {
        let mut order = Order::new();
        for slots in 0..slots {
            let next = slot_number(slots);
            let found = order.search(&|slot| compare(slot, next).then(Ordering::Less));
            order.insert(found.place, slots);
        }
        order.into_slots()
    }

    /// Returns the number of slots with an entry, out of `slots`.
    pub(super) fn used(&self, slots: usize) -> usize {
        slots.saturating_sub(self.free.len())
    }

    /// Searches for a key. `compare` compares a slot's key with it.
    #[inline(never)]
    pub(super) fn search(&self, compare: &dyn Fn(Slot) -> Ordering) -> Found {
        let starts_before = |chunk: &Vec<Slot>| match chunk.first() {
            Some(&first) => compare(first) != Ordering::Greater,
            None => true,
        };
        // The last chunk that does not start after the key.
        let chunk = self.chunks.partition_point(starts_before).saturating_sub(1);
        let slots = self.chunks.get(chunk).map_or(&[][..], Vec::as_slice);
        let (at, slot) = match slots.binary_search_by(|&slot| compare(slot)) {
            Ok(at) => (at, slots.get(at).copied()),
            Err(at) => (at, None),
        };
        Found {
            place: Place::new(chunk, at),
            slot,
        }
    }

    /// Allocates a slot and inserts it at `place`: a free slot if there is one, otherwise the new slot number
    /// `slots`.
    #[inline(never)]
    pub(super) fn insert(&mut self, place: Place, slots: usize) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| slot_number(slots));
        let is_last = place.chunk() + 1 == self.chunks.len();
        match self.chunks.get_mut(place.chunk()) {
            Some(chunk) if chunk.len() < CHUNK_MAX => chunk.insert(place.at(), slot),
            // Insertions in ascending order leave full chunks.
            Some(chunk) if is_last && place.at() == chunk.len() => self.chunks.push(vec![slot]),
            Some(_) => self.split(place, slot),
            None => {
                self.chunks.reserve_exact(1);
                self.chunks.push(vec![slot]);
            }
        }
        slot
    }

    /// Splits a full chunk to insert a slot.
    #[cold]
    fn split(&mut self, place: Place, slot: Slot) {
        let Some(chunk) = self.chunks.get_mut(place.chunk()) else {
            return;
        };
        let mut upper = chunk.split_off(CHUNK_MAX / 2);
        match place.at().checked_sub(chunk.len()) {
            Some(at) if at > 0 => upper.insert(at, slot),
            _ => chunk.insert(place.at(), slot),
        }
        self.chunks.insert(place.chunk() + 1, upper);
    }

    /// Removes the slot at `place` and frees it.
    #[inline(never)]
    pub(super) fn remove(&mut self, place: Place) -> Option<Slot> {
        let chunk = self.chunks.get_mut(place.chunk())?;
        if place.at() >= chunk.len() {
            return None;
        }
        let slot = chunk.remove(place.at());
        if chunk.len() < CHUNK_SMALL {
            self.tidy(place.chunk());
        }
        self.free.push(slot);
        Some(slot)
    }

    /// Removes a chunk if it is empty, or merges a small one with a neighbour.
    #[cold]
    fn tidy(&mut self, index: usize) {
        if self.chunks.get(index).is_some_and(Vec::is_empty) {
            self.chunks.remove(index);
            return;
        }
        for left in [Some(index), index.checked_sub(1)].into_iter().flatten() {
            if let Some([chunk, next]) = self.chunks.get_mut(left..left + 2) {
                if chunk.len() + next.len() <= JOINED_MAX {
                    chunk.append(next);
                    self.chunks.remove(left + 1);
                    return;
                }
            }
        }
    }

    /// Removes the first slot.
    pub(super) fn pop_first(&mut self) -> Option<Slot> {
        self.remove(Place::new(0, 0))
    }

    /// Removes and frees the slots for which `is_kept` returns false; calls it in order.
    #[inline(never)]
    pub(super) fn retain(&mut self, is_kept: &mut dyn FnMut(Slot) -> bool) {
        let mut chunks: Vec<Vec<Slot>> = Vec::with_capacity(self.chunks.len());
        for mut chunk in std::mem::take(&mut self.chunks) {
            chunk.retain(|&slot| {
                let kept = is_kept(slot);
                if !kept {
                    self.free.push(slot);
                }
                kept
            });
            match chunks.last_mut() {
                Some(last) if last.len() + chunk.len() <= JOINED_MAX => last.append(&mut chunk),
                _ if chunk.is_empty() => {}
                _ => chunks.push(chunk),
            }
        }
        self.chunks = chunks;
    }

    /// Whether so few of `slots` have an entry that the owner should compact them.
    #[inline(never)]
    pub(super) fn is_sparse(&self, slots: usize) -> bool {
        self.free.len() > FREE_MIN.max(self.used(slots).saturating_mul(3))
    }

    /// Renumbers the slots to `0..n` without gaps; calls `swap` for each slot that changes places with a free
    /// one. Returns `n`.
    #[cold]
    #[inline(never)]
    pub(super) fn compact(&mut self, slots: usize, swap: &mut dyn FnMut(Slot, Slot)) -> usize {
        let used = self.used(slots);
        let mut free = std::mem::take(&mut self.free);
        free.retain(|&slot| (slot as usize) < used);
        for slot in self.chunks.iter_mut().flatten() {
            if *slot as usize >= used {
                if let Some(free) = free.pop() {
                    swap(free, *slot);
                    *slot = free;
                }
            }
        }
        used
    }

    /// Returns all slots in order, for an owner that takes its entries out.
    #[inline(never)]
    pub(super) fn into_slots(self) -> Vec<Slot> {
        self.chunks.concat()
    }

    /// Returns the first slot.
    pub(super) fn first(&self) -> Option<Slot> {
        self.chunks.first()?.first().copied()
    }

    /// Returns the last slot.
    pub(super) fn last(&self) -> Option<Slot> {
        self.chunks.last()?.last().copied()
    }

    /// Iterates over all slots.
    pub(super) fn slots(&self) -> Slots<'_> {
        self.slots_from(Place::new(0, 0))
    }

    /// Iterates over all slots from `place` on.
    #[inline(never)]
    pub(super) fn slots_from(&self, place: Place) -> Slots<'_> {
        let mut chunks = self.chunks.get(place.chunk()..).unwrap_or_default().iter();
        let first = chunks.next().and_then(|chunk| chunk.get(place.at()..));
        Slots {
            chunk: first.unwrap_or_default().iter(),
            chunks,
        }
    }

    /// Panics if the order of `slots` slots is inconsistent.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, slots: usize) {
        let lens: Vec<usize> = self.chunks.iter().map(Vec::len).collect();
        assert!(lens.iter().all(|len| (1..=CHUNK_MAX).contains(len)));
        let is_small = |len: &usize| *len < CHUNK_SMALL;
        assert!(!lens.windows(2).any(|pair| pair.iter().all(is_small)));
        let mut all: Vec<Slot> = self.slots().chain(self.free.iter().copied()).collect();
        all.sort_unstable();
        assert!(all.into_iter().map(|slot| slot as usize).eq(0..slots));
    }
}

/// Iterator over slots in order.
#[derive(Clone, Debug)]
pub(super) struct Slots<'a> {
    chunk: std::slice::Iter<'a, Slot>,
    chunks: std::slice::Iter<'a, Vec<Slot>>,
}

impl Iterator for Slots<'_> {
    type Item = Slot;

    #[inline(never)]
    fn next(&mut self) -> Option<Slot> {
        loop {
            if let Some(&slot) = self.chunk.next() {
                return Some(slot);
            }
            self.chunk = self.chunks.next()?.iter();
        }
    }
}
