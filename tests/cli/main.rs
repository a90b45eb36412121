//! The command line as its users see it: what goes to stdout, what to stderr, and the exit status
//! (agent spec 3).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agents;
mod exits;
mod json;
mod lines;
mod mock;
mod output;
mod recorded;
mod run;
mod scripts;
mod waiting;
