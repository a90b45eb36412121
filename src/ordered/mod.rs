//! A map and a set that keep their keys in order, made to cost little machine code for each type they
//! are used with.
//!
//! The program has dozens of small tables of different types, and the standard library's trees compile
//! to several kilobytes of code for each. Here all that has to do with order is compiled once:
//! `order::Order` is a two-level list of slots, sorted by the keys that it asks its owner to compare.
//! What is left for each type is a vector of entries, in which the slots are places.
//!
//! [`sort_by`] sorts by the same means, instead of one more copy of the standard library's sort.
//!
//! The methods are named, and behave, as those of the standard library's ordered collections, but that
//! a key that is inserted again takes the place of its equal.

#![forbid(unsafe_code)]

mod map;
mod order;
mod set;
mod sort;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use map::{IntoIter, Iter, OrderedMap};
pub use set::{OrderedSet, SetIter};
pub use sort::sort_by;
