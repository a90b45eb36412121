//! Sorting with the order of the map.

use std::cmp::Ordering;

use super::order::Order;

/// Sorts by `compare`; stable.
pub fn sort_by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let slots = Order::sorted(items.len(), &|a, b| match (
        items.get(a as usize),
        items.get(b as usize),
    ) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    let mut unsorted: Vec<Option<T>> = std::mem::take(items).into_iter().map(Some).collect();
    for slot in slots {
        items.extend(unsorted.get_mut(slot as usize).and_then(Option::take));
    }
}
