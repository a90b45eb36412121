//! The agent: sockets, processes and files around the core, driven by one loop.
//!
//! `run` has the [`Agent`] and its event loop. All other modules are parts that the loop drives by readiness,
//! signals and deadlines, and that never block. Parts that a build leaves out have stand-ins in folders named
//! `absent`, so that the loop is the same in all builds.

#![forbid(unsafe_code)]

pub mod config;
pub mod files;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod net;
pub mod observe;
pub mod process;
pub mod rpc;
mod run;

pub use run::{Agent, run};
