//! The command line as its users see it: what goes to stdout, what to stderr, and the exit status
//! (agent spec 3).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agents;
mod clients;
mod events;
mod exits;
mod handler_check;
mod handler_tool;
mod json;
mod lines;
#[path = "../live/mod.rs"]
mod live;
mod mock;
mod output;
mod recorded;
#[path = "../data/rpc_vectors.rs"]
mod rpc_vectors;
mod run;
mod scripts;
mod waiting;
