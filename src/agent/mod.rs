//! The agent: sockets, processes and files around the core, driven by one loop.
//!
//! `start` builds an [`Agent`] from settings; `turn` is its loop. Everything else is a part that the
//! loop drives by readiness, signals and deadlines, and that never waits by itself.

mod acceptor;
pub mod addr;
pub mod child;
mod clients;
mod clock;
pub mod config;
mod discovery;
pub mod files;
pub mod join;
mod joining;
mod life;
pub mod log;
pub mod mdns;
pub mod metrics;
mod net;
pub mod notify;
mod reload;
pub mod resolver;
pub mod rpc;
mod saving;
pub mod settings;
mod signals;
mod start;
pub mod sys;
pub mod syslog;
mod telemetry;
mod turn;
pub mod words;

pub use start::run;
pub use turn::Agent;
