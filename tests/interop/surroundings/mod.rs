//! The agent and what is around it: other nodes found by multicast in network namespaces of the test's
//! own, the system's log, and telemetry. Mixed with the reference where that is visible.
//!
//! What needs root or a missing program is skipped with a line that says so, unless
//! `COTTAR_INTEROP=require`.
// Each of the files needs a part of the harness, and a build may have any of them.
#![cfg_attr(
    not(all(feature = "mdns", feature = "syslog", feature = "telemetry")),
    allow(dead_code)
)]

#[cfg(feature = "mdns")]
mod discovery;
#[cfg(any(feature = "mdns", feature = "syslog", feature = "telemetry"))]
mod harness;
#[cfg(feature = "syslog")]
mod syslog;
#[cfg(feature = "telemetry")]
mod telemetry;
