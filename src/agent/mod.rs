//! The agent: sockets, processes and files around the core, driven by one loop.
//!
//! `run` has the [`Agent`] and its event loop. All other modules are parts that the loop drives by readiness,
//! signals and deadlines, and that never block.
//!
//! | module | content |
//! |---|---|
//! | [`observe`] | log, console, syslog, metrics, notifications to the service manager |
//! | [`files`] | tags, keyring, snapshot and journal on disk, their locks and syncing |
//! | `mdns` | discovery of other nodes by multicast DNS |
//! | [`net`] | sockets of the gossip port, parsing and choice of addresses, name lookups, join addresses |
//! | [`process`] | handlers as child processes, name lookups in child processes, orphans |
//! | [`config`] | the table of keys, files and flags, their checks, directories of handlers |
//! | [`rpc`] | RPC sockets, sessions, execution of requests, replies, permissions |
//! | `run` | start, event loop, signals, joins, reload, metric names, shutdown |
//!
//! Parts that a build leaves out have stand-ins in folders named `absent`, so that the loop is the same in all
//! builds.

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
