//! The agent: sockets, processes, files around the core.

pub mod acceptor;
pub mod addr;
pub mod child;
pub mod clients;
pub mod clock;
pub mod config;
pub mod log;
pub mod net;
pub mod rpc;
pub mod signals;
pub mod sys;
pub mod words;

use std::process::ExitCode;

use crate::cli::Flags;

/// Runs the agent until it ends.
pub fn run(_flags: &Flags) -> ExitCode {
    eprintln!("not built yet");
    ExitCode::FAILURE
}
