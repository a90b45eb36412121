//! The agent and what is around it: other nodes found by multicast in network namespaces of the test's
//! own, the system's log, and telemetry. Mixed with the reference where that is visible.
//!
//! What needs root or a missing program is skipped with a line that says so, unless
//! `COTTAR_INTEROP=require`.
#[cfg(feature = "mdns")]
mod cable;
#[cfg(feature = "mdns")]
mod discovery;
#[cfg(feature = "syslog")]
mod syslog;
#[cfg(feature = "telemetry")]
mod telemetry;
