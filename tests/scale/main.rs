//! Versions and sizes: protocol numbers, long names, IPv6, many agents, and every limit with one byte
//! more; mixed with the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, unused_imports)]
#[path = "../interop/harness/mod.rs"]
mod harness;
mod limits;
mod many;
mod versions;
