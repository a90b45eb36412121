//! System calls that no library here wraps. The only file of the package with `unsafe`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A pipe, read end first; neither end survives an exec.
///
/// # Errors
/// If the process or the system has no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    todo!()
}

/// Makes reads and writes on this end return at once. The other end of a pipe is not affected.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(_fd: BorrowedFd<'_>) -> io::Result<()> {
    todo!()
}

/// Sends a signal to a process group. A group that is gone is no error.
pub fn kill_group(_leader: u32, _signal: i32) {
    todo!()
}

/// Whether a child has ended, without reaping it.
pub fn has_ended(_pid: u32) -> bool {
    todo!()
}

/// To be called once at the start: nothing that the agent inherited but stdin, stdout and stderr
/// reaches its children, and no signal is blocked in them.
pub fn isolate_children() {
    todo!()
}
