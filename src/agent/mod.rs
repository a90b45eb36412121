//! The agent: sockets, processes and files around the core, driven by one loop.
//!
//! `start` builds an [`Agent`] from settings; `turn` is its loop. Everything else is a part that the
//! loop drives by readiness, signals and deadlines, and that never waits by itself. Parts that a build
//! leaves out have stand-ins in `without`, so that the loop is the same in all builds.

mod acceptor;
pub mod addr;
pub mod child;
mod clients;
pub mod config;
#[cfg_attr(not(feature = "mdns"), path = "without/discovery.rs")]
mod discovery;
pub mod features;
pub mod files;
pub mod join;
mod joining;
mod journalling;
mod life;
pub mod log;
pub mod lookup;
#[cfg(feature = "mdns")]
pub mod mdns;
#[cfg(feature = "telemetry")]
pub mod metrics;
mod net;
pub mod notify;
pub mod process;
mod reload;
pub mod resolver;
pub mod rpc;
mod saving;
pub mod settings;
mod start;
#[cfg_attr(not(feature = "syslog"), path = "without/syslog.rs")]
pub mod syslog;
#[cfg_attr(not(feature = "telemetry"), path = "without/telemetry.rs")]
mod telemetry;
mod turn;

pub use start::run;
pub use turn::Agent;
