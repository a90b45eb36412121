//! Waiting for a disk in a short-lived child of our own binary: the loop goes on meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, ExitStatus, Stdio};

use crate::os::own_child::OwnChild;
use crate::os::sys;

/// The name under which the agent starts its own binary to wait for the disk.
pub const ARGV0: &str = "cottar: sync";

/// Makes what stdin is open on last, and ends with the number of the error if there is one. For
/// [`ARGV0`].
pub fn child_main() -> ExitCode {
    use std::os::fd::AsFd;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let Err(why) = stdin.and_then(|fd| File::from(fd).sync_all()) else {
        return ExitCode::SUCCESS;
    };
    let number = why.raw_os_error().unwrap_or(libc::EIO);
    u8::try_from(number).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Starts the child for a file.
///
/// # Errors
/// It cannot be started: the caller has to wait for the disk itself.
pub(super) fn spawn(file: &File) -> io::Result<OwnChild> {
    if cfg!(test) {
        // Our own binary would be the tests.
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut command = sys::own_program(ARGV0)?;
    command
        .stdin(file.try_clone()?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    OwnChild::spawn(&mut command)
}

/// What the child's end says.
pub(super) fn outcome(status: ExitStatus) -> io::Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::Error::other(
            "the process that syncs to the disk was killed",
        )),
    }
}
