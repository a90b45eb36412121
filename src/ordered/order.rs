//! The order of slots: the part of a map that does not depend on its types.

use std::cmp::Ordering;

/// Slots in one chunk: what an insertion has to move at most.
pub(super) const CHUNK_MAX: usize = 128;
/// Chunks with fewer are joined with a neighbour, if there is room.
pub(super) const CHUNK_SMALL: usize = CHUNK_MAX / 4;
/// Two neighbours are joined only if that leaves room to insert.
const JOINED_MAX: usize = CHUNK_MAX / 2;
/// Free slots that are always tolerated.
const FREE_MIN: usize = 64;

/// A place in the owner's entries.
pub(super) type Slot = u32;

/// Slots, in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// None of them is empty.
    chunks: Vec<Vec<Slot>>,
    /// Slots without an entry.
    free: Vec<Slot>,
}

/// Where a slot is in the order, or would have to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u32,
    at: u32,
}

impl Place {
    fn new(chunk: usize, at: usize) -> Self {
        // There are no more chunks than slots.
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

/// What a search ends with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// If there is one with that key.
    pub(super) slot: Option<Slot>,
}

/// The slot behind so many others. There is no memory for more entries than it can count.
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

    /// So many slots in the order that `compare` gives them; those that are equal in that of their
    /// numbers.
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

    /// How many of so many slots have an entry.
    pub(super) fn used(&self, slots: usize) -> usize {
        slots.saturating_sub(self.free.len())
    }

    /// Finds a key by what `compare` says of the keys of slots: how they compare with it.
    #[inline(never)]
    pub(super) fn search(&self, compare: &dyn Fn(Slot) -> Ordering) -> Found {
        let starts_before = |chunk: &Vec<Slot>| match chunk.first() {
            Some(&first) => compare(first) != Ordering::Greater,
            None => true,
        };
        // The last one that does not start behind the key.
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

    /// A slot for a new entry, put in at `place`: one that is free, else the next of the `slots` that
    /// there are already.
    #[inline(never)]
    pub(super) fn insert(&mut self, place: Place, slots: usize) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| slot_number(slots));
        let is_last = place.chunk() + 1 == self.chunks.len();
        match self.chunks.get_mut(place.chunk()) {
            Some(chunk) if chunk.len() < CHUNK_MAX => chunk.insert(place.at(), slot),
            // What comes in ascending order leaves full chunks behind.
            Some(chunk) if is_last && place.at() == chunk.len() => self.chunks.push(vec![slot]),
            Some(_) => self.split(place, slot),
            None => {
                self.chunks.reserve_exact(1);
                self.chunks.push(vec![slot]);
            }
        }
        slot
    }

    /// Puts a slot into a full chunk.
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

    /// Takes out what is at `place`; its slot is free then.
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

    /// Drops a chunk that is empty, or joins a small one with a neighbour.
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

    /// Takes out the first.
    pub(super) fn pop_first(&mut self) -> Option<Slot> {
        self.remove(Place::new(0, 0))
    }

    /// Takes out, and makes free, what is not to be kept. Asks in order.
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

    /// Whether so few of so many slots have an entry that the owner should renumber them.
    #[inline(never)]
    pub(super) fn is_sparse(&self, slots: usize) -> bool {
        self.free.len() > FREE_MIN.max(self.used(slots).saturating_mul(3))
    }

    /// Numbers the slots from 0 without a gap; those that get another number are swapped with a free
    /// one. Returns how many there are.
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

    /// All slots, for an owner that takes its entries out.
    #[inline(never)]
    pub(super) fn into_slots(self) -> Vec<Slot> {
        self.chunks.concat()
    }

    /// The first in the order.
    pub(super) fn first(&self) -> Option<Slot> {
        self.chunks.first()?.first().copied()
    }

    /// The last in the order.
    pub(super) fn last(&self) -> Option<Slot> {
        self.chunks.last()?.last().copied()
    }

    /// All of them.
    pub(super) fn slots(&self) -> Slots<'_> {
        self.slots_from(Place::new(0, 0))
    }

    /// All from `place` on.
    #[inline(never)]
    pub(super) fn slots_from(&self, place: Place) -> Slots<'_> {
        let mut chunks = self.chunks.get(place.chunk()..).unwrap_or_default().iter();
        let first = chunks.next().and_then(|chunk| chunk.get(place.at()..));
        Slots {
            chunk: first.unwrap_or_default().iter(),
            chunks,
        }
    }

    /// Panics if something is wrong with the order of so many slots.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, slots: usize) {
        let lens: Vec<usize> = self.chunks.iter().map(Vec::len).collect();
        assert!(lens.iter().all(|len| (1..=CHUNK_MAX).contains(len)));
        let is_small = |len: &usize| *len < CHUNK_SMALL;
        assert!(!lens.windows(2).any(|pair| pair.iter().all(is_small)));
        let mut all: Vec<Slot> = self.slots().chain(self.free.iter().copied()).collect();
        all.sort_unstable();
        assert!(all.into_iter().map(|slot| slot as usize).eq(0..slots));
        assert!(!self.is_sparse(slots));
    }
}

/// Slots in their order.
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
