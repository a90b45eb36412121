//! What the targets run: the checks of the seeded tests.
#![allow(missing_docs, dead_code)]

#[path = "../checks/mod.rs"]
pub mod checks;
#[path = "../supply.rs"]
mod supply;
