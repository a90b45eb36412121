//! Pipes, locks, and what a descriptor is ready for.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, mem};

use libc::c_int;

use super::check;
use crate::time::Duration;

/// A pipe, read end first; neither end survives an exec.
///
/// # Errors
/// If the process or the system has no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for the two descriptors that the call writes.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the call succeeded, so both are open and nobody else knows them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Makes reads and writes on this end of a pipe return at once; the other end is not affected.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(end: BorrowedFd<'_>) -> io::Result<()> {
    // A pipe of ours has no other status flags that would have to be read and kept.
    // SAFETY: the descriptor is open while it is borrowed; the argument is an integer.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })
}

/// Undoes [`set_nonblocking`].
///
/// # Errors
/// Those of fcntl(2).
pub fn set_blocking(end: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed; the argument is an integer.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, 0) })
}

/// How many descriptors the process may have (RLIMIT_NOFILE).
pub fn descriptors_max() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable for the whole call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if result == 0 {
        limit.rlim_cur
    } else {
        u64::MAX
    }
}

/// The number that a new descriptor would get. `any` is some open one.
///
/// # Errors
/// If there are no more.
pub fn next_descriptor(any: BorrowedFd<'_>) -> io::Result<u64> {
    let copy = any.try_clone_to_owned()?;
    Ok(u64::try_from(copy.as_raw_fd()).unwrap_or(u64::MAX))
}

/// Who has a lock that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// This process.
    Ours,
    /// Another process; 0 or less if it has no number in this PID namespace.
    By(i32),
}

/// Locks a whole file for this process alone, without waiting.
///
/// # Errors
/// If the file system has no locks.
pub fn lock_whole(file: BorrowedFd<'_>) -> io::Result<Locked> {
    // SAFETY: all zeroes is a valid flock: from the start of the file to its end.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open while it is borrowed, and `lock` is a flock.
    let result = check(unsafe { libc::fcntl(fd, libc::F_SETLK, &raw const lock) });
    match result.as_ref().err().and_then(io::Error::raw_os_error) {
        Some(libc::EACCES | libc::EAGAIN) => {}
        _ => return result.map(|()| Locked::Ours),
    }
    // SAFETY: as above; the call writes to `lock`.
    check(unsafe { libc::fcntl(fd, libc::F_GETLK, &raw mut lock) })?;
    if lock.l_type == libc::F_UNLCK as libc::c_short {
        // It was given up in between: the next start has it.
        return Ok(Locked::By(0));
    }
    Ok(Locked::By(lock.l_pid))
}

/// Whether a write to the descriptor would not block within `timeout_ms` milliseconds. An error or a
/// hang-up counts as ready: the write then says so.
pub fn is_writable(fd: BorrowedFd<'_>, timeout_ms: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `poll` is one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, timeout_ms) > 0 }
}

/// Waits until the one can be read, nobody reads the other any more, or the time is over; tells whether
/// nobody does.
pub fn is_unread_before(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    time: Option<Duration>,
) -> bool {
    // Rounded up, or the last fraction of a millisecond would be waited for by asking again.
    let millis = time.map_or(-1, |time| {
        time.as_millis()
            .saturating_add(1)
            .try_into()
            .unwrap_or(i32::MAX)
    });

    let poll = |fd: BorrowedFd<'_>, events| libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // What went wrong is told of unasked.
    let mut both = [poll(source, libc::POLLIN), poll(sink, 0)];
    // SAFETY: `both` are two valid pollfds.
    while unsafe { libc::poll(both.as_mut_ptr(), 2, millis) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
    both[1].revents & (libc::POLLERR | libc::POLLHUP) != 0
}
