//! The command line as its users see it: what goes to stdout, what to stderr, and the exit status
//! (agent spec 3).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agents;
mod exits;
mod json;
mod lines;
mod mock;
mod output;
#[allow(dead_code)]
#[path = "../live/ports.rs"]
mod ports;
mod recorded;
#[path = "../data/rpc_vectors.rs"]
mod rpc_vectors;
mod run;
#[path = "../live/running.rs"]
mod running;
mod scripts;
mod waiting;
