//! The command line as its users see it: what goes to stdout, what to stderr, and the exit status
//! (agent spec 3).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod clients;
mod command_lines;
mod events;
mod exits;
mod handler_check;
mod handler_list;
mod handler_test;
mod json;
#[path = "../live/mod.rs"]
mod live;
mod mock;
mod output;
mod recorded;
#[path = "../data/rpc_vectors.rs"]
mod rpc_vectors;
mod run;
mod samples;
mod scripts;
mod surplus_arguments;
mod waiting;
