//! The agent and what is around it: other nodes found by multicast in network namespaces of the test's
//! own, the system's log, and telemetry. Mixed with the reference where that is visible.
//!
//! What needs root or a missing program is skipped with a line that says so, unless
//! `COTTAR_INTEROP=require`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod discovery;
mod harness;
mod syslog;
mod telemetry;
