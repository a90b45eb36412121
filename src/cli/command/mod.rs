//! A command and its line.

pub mod flags;
