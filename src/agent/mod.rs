//! The agent: sockets, processes, files around the core.

pub mod rpc;

use std::process::ExitCode;

use crate::cli::Flags;

/// Runs the agent until it ends.
pub fn run(_flags: &Flags) -> ExitCode {
    eprintln!("not built yet");
    ExitCode::FAILURE
}
