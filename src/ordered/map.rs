//! An ordered map.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

use super::order::{Found, Order, Slot, Slots};

/// Map that iterates in key order; see the module's documentation.
#[derive(Clone)]
pub struct OrderedMap<K, V> {
    order: Order,
    /// Indexed by slot; free slots hold `None`.
    entries: Vec<Option<(K, V)>>,
}

impl<K, V> OrderedMap<K, V> {
    /// Creates an empty map.
    pub const fn new() -> Self {
        OrderedMap {
            order: Order::new(),
            entries: Vec::new(),
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.order.used(self.entries.len())
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn at(&self, slot: Slot) -> Option<(&K, &V)> {
        let (key, value) = self.entries.get(slot as usize)?.as_ref()?;
        Some((key, value))
    }

    /// Returns the entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.at(self.order.first()?)
    }

    /// Returns the entry with the largest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.at(self.order.last()?)
    }

    /// Removes and returns the entry with the smallest key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let slot = self.order.pop_first()?;
        self.take(slot)
    }

    /// Takes the entry of a slot that was freed.
    fn take(&mut self, slot: Slot) -> Option<(K, V)> {
        let entry = self.entries.get_mut(slot as usize)?.take();
        self.tidy();
        entry
    }

    /// Releases memory once most slots are free.
    fn tidy(&mut self) {
        if self.order.is_sparse(self.entries.len()) {
            self.compact();
        }
    }

    #[cold]
    #[inline(never)]
    fn compact(&mut self) {
        let slots = self.entries.len();
        let mut swap = |a, b| self.entries.swap(a as usize, b as usize);
        let used = self.order.compact(slots, &mut swap);
        self.entries.truncate(used);
        self.entries.shrink_to_fit();
    }

    /// Keeps only the entries for which `is_kept` returns true; calls it in key order.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &mut V) -> bool) {
        let entries = &mut self.entries;
        self.order.retain(&mut |slot| {
            let Some(entry) = entries.get_mut(slot as usize) else {
                return false;
            };
            let kept = match entry {
                Some((key, value)) => is_kept(key, value),
                None => false,
            };
            if !kept {
                *entry = None;
            }
            kept
        });
        self.tidy();
    }

    /// Iterates over all entries in key order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            slots: self.order.slots(),
            entries: &self.entries,
        }
    }

    /// Iterates over all keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Iterates over all values in key order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Calls `visit` for all entries in key order, with mutable values.
    pub fn for_each_mut(&mut self, mut visit: impl FnMut(&K, &mut V)) {
        for slot in self.order.slots() {
            if let Some(Some((key, value))) = self.entries.get_mut(slot as usize) {
                visit(key, value);
            }
        }
    }

    /// Consumes the map; iterates over all values in key order.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.into_iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    #[inline(never)]
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Found
    where
        K: Borrow<Q>,
    {
        self.order
            .search(&|slot| match self.entries.get(slot as usize) {
                Some(Some((present, _))) => present.borrow().cmp(key),
                _ => Ordering::Less,
            })
    }

    /// Returns the slot of a key; allocates an empty one for a new key.
    #[inline(never)]
    fn slot(&mut self, key: &K) -> usize {
        let Found { place, slot } = self.find(key);
        if let Some(slot) = slot {
            return slot as usize;
        }
        let slots = self.entries.len();
        let slot = self.order.insert(place, slots) as usize;
        if slot == slots {
            if slots == self.entries.capacity() {
                // Grows by a quarter only, because the largest maps have an entry per member.
                self.entries.reserve_exact((slots / 4).max(4));
            }
            self.entries.push(None);
        }
        slot
    }

    /// Inserts a value; returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let slot = self.slot(&key);
        let (_, replaced) = self.entries.get_mut(slot)?.replace((key, value))?;
        Some(replaced)
    }

    /// Returns the value of a key; inserts `value()` if the key is new.
    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let slot = self.slot(&key);
        // The slot was just allocated, so the index is valid.
        let entry = &mut self.entries[slot];
        &mut entry.get_or_insert_with(|| (key, value())).1
    }

    /// Whether the map contains a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).slot.is_some()
    }

    /// Returns the value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.at(self.find(key).slot?)?;
        Some(value)
    }

    /// Returns the value of a key, mutable.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let slot = self.find(key).slot?;
        let (_, value) = self.entries.get_mut(slot as usize)?.as_mut()?;
        Some(value)
    }

    /// Removes a key; returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.remove_entry(key)?;
        Some(value)
    }

    fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let Found { place, slot } = self.find(key);
        slot?;
        let slot = self.order.remove(place)?;
        self.take(slot)
    }

    /// Iterates in order over all entries whose key is at least `from`.
    pub fn range_from(&self, from: &K) -> Iter<'_, K, V> {
        Iter {
            slots: self.order.slots_from(self.find(from).place),
            entries: &self.entries,
        }
    }

    /// Returns the number of entries that fit the allocated memory.
    #[cfg(test)]
    pub(super) fn entries_capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Panics if order and entries are inconsistent.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.order.check_invariants(self.entries.len());
        let used = self.entries.iter().flatten().count();
        assert_eq!((used, used), (self.len(), self.iter().count()));
        let keys: Vec<&K> = self.keys().collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for OrderedMap<K, V> {}

impl<K: Ord, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for OrderedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// Iterator over entries in key order.
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    slots: Slots<'a>,
    entries: &'a [Option<(K, V)>],
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.entries.get(self.slots.next()? as usize)?.as_ref()?;
        Some((key, value))
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Owning iterator over entries in key order.
#[derive(Debug)]
pub struct IntoIter<K, V> {
    slots: std::vec::IntoIter<Slot>,
    entries: Vec<Option<(K, V)>>,
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.get_mut(self.slots.next()? as usize)?.take()
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> Self::IntoIter {
        IntoIter {
            slots: self.order.into_slots().into_iter(),
            entries: self.entries,
        }
    }
}
