//! The agent's environment: discovery by multicast in network namespaces that the test creates, syslog, and
//! telemetry. Mixed with the reference where the difference would show.
//!
//! A test that needs root or a missing program is skipped with a message, unless `COTTAR_INTEROP=require`.
#[cfg(feature = "mdns")]
mod cable;
#[cfg(feature = "mdns")]
mod discovery;
#[cfg(feature = "syslog")]
mod syslog;
#[cfg(feature = "telemetry")]
mod telemetry;
