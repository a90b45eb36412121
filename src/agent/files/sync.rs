//! Syncs files in a short-lived child of our own binary, so that the loop does not wait for a disk.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, ExitStatus, Stdio};

use crate::os::own_child::OwnChild;
use crate::os::sys;

/// `argv[0]` of the child that syncs a file.
pub const ARGV0: &str = "cottar: sync";

/// Main function of the child: syncs stdin and exits with 0, or with the number of the error.
pub fn child_main() -> ExitCode {
    use std::os::fd::AsFd;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let Err(why) = stdin.and_then(|fd| File::from(fd).sync_all()) else {
        return ExitCode::SUCCESS;
    };
    let number = why.raw_os_error().unwrap_or(libc::EIO);
    u8::try_from(number).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Starts a child that syncs a file.
///
/// # Errors
/// If it cannot be started: the caller must sync the file itself.
pub(super) fn spawn(file: &File) -> io::Result<OwnChild> {
    if cfg!(test) {
        // In tests, our own binary is the test program.
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

/// Converts the child's exit status to the result of the sync.
pub(super) fn outcome(status: ExitStatus) -> io::Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::Error::other(
            "the process that syncs to the disk was killed",
        )),
    }
}
