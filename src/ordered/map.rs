//! An ordered map.

use std::borrow::Borrow;
use std::fmt;

use super::order::Found;
use super::table::{IntoTableIter, OrderedTable, TableIter};

/// Map that iterates in key order; see the module's documentation.
#[derive(Clone)]
pub struct OrderedMap<K, V>(OrderedTable<(K, V)>);

impl<K, V> OrderedMap<K, V> {
    /// Creates an empty map.
    pub const fn new() -> Self {
        OrderedMap(OrderedTable::new())
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns the entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.0.first().map(by_parts)
    }

    /// Returns the entry with the largest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.0.last().map(by_parts)
    }

    /// Removes and returns the entry with the smallest key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let entry = self.0.pop_first();
        self.0.compact();
        entry
    }

    /// Keeps only the entries for which `is_kept` returns true; calls it in key order.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(|(key, value)| is_kept(key, value));
        self.0.compact();
    }

    /// Iterates over all entries in key order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
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
        self.0.for_each_mut(|(key, value)| visit(key, value));
    }

    /// Consumes the map; iterates over all values in key order.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.into_iter().map(|(_, value)| value)
    }
}

fn by_parts<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

impl<K: Ord, V> OrderedMap<K, V> {
    #[inline(never)]
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Found
    where
        K: Borrow<Q>,
    {
        self.0.search(|(present, _)| present.borrow().cmp(key))
    }

    /// Inserts a value; returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let slot = self.0.slot_of(self.find(&key));
        let (_, replaced) = self.0.room(slot).replace((key, value))?;
        Some(replaced)
    }

    /// Returns the value of a key; inserts `value()` if the key is new.
    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let slot = self.0.slot_of(self.find(&key));
        &mut self.0.room(slot).get_or_insert_with(|| (key, value())).1
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
        let (_, value) = self.get_key_value(key)?;
        Some(value)
    }

    /// Returns the entry of a key.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.0.get(self.find(key).slot?).map(by_parts)
    }

    /// Returns the value of a key, mutable.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let slot = self.find(key).slot?;
        let (_, value) = self.0.get_mut(slot)?;
        Some(value)
    }

    /// Removes a key; returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.0.remove_found(self.find(key));
        self.0.compact();
        Some(removed?.1)
    }

    /// Iterates in order over all entries whose key is at least `from`.
    pub fn range_from(&self, from: &K) -> Iter<'_, K, V> {
        Iter(self.0.iter_from(self.find(from)))
    }

    /// Returns the number of entries that fit the allocated memory.
    #[cfg(test)]
    pub(super) fn entries_capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Panics if order and entries are inconsistent.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.0.check_invariants();
        assert!(self.0.is_tight());
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
pub struct Iter<'a, K, V>(TableIter<'a, (K, V)>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(by_parts)
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
pub struct IntoIter<K, V>(IntoTableIter<(K, V)>);

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> Self::IntoIter {
        IntoIter(self.0.into_iter())
    }
}
