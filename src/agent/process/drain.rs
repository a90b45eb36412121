//! Drains the output of handlers that outlive the agent: a child process of our own reads and discards it, so
//! that SIGPIPE does not end them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use crate::os::own_child::OwnChild;
use crate::os::sys;

/// `argv[0]` of the child that drains a pipe.
pub const ARGV0: &str = "cottar: drain";

/// Main function of the child: reads stdin to its end.
pub fn child_main() -> ExitCode {
    match io::copy(&mut io::stdin().lock(), &mut io::sink()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Hands a pipe over to a child that reads it to its end.
///
/// # Errors
/// If the child cannot be started. The pipe is closed then.
pub fn leave_to_child(pipe: OwnedFd) -> io::Result<()> {
    sys::set_blocking(pipe.as_fd())?;
    let mut command = sys::own_program(ARGV0)?;
    command
        .env_clear()
        .current_dir("/")
        .stdin(pipe)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    OwnChild::spawn(&mut command).map(drop)
}
