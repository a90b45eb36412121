//! The checks of the seeded tests, for the targets.
#![allow(missing_docs, dead_code)]

#[path = "../checks/mod.rs"]
pub mod checks;
#[path = "../supply.rs"]
mod supply;
