//! A map, a set and a table that keep their entries in order, designed to generate little machine code per
//! type.
//!
//! The program has dozens of small tables of different types, and the standard library's trees compile to
//! several kilobytes of code for each. Here everything that concerns order is compiled once: `order::Order`
//! is a two-level list of slots, sorted by keys that its owner compares for it. Per type only a vector of
//! entries remains, indexed by slot.
//!
//! [`sort_by`] sorts with the same code, which saves another copy of the standard library's sort.
//!
//! The methods of the map and the set have the names and the behaviour of the standard library's ordered
//! collections, except that inserting an equal key also replaces the key. The table is for entries that
//! contain their keys, or that are referred to by slot.

#![forbid(unsafe_code)]

mod map;
mod order;
mod set;
mod sort;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use map::{IntoIter, Iter, OrderedMap};
pub use set::{OrderedSet, SetIter};
pub use sort::sort_by;
pub use table::{OrderedTable, Slot, TableIter};
