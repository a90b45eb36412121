//! Pipes, file locks, and readiness of file descriptors.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, mem};

use libc::c_int;

use super::check;
use crate::time::Duration;

/// Creates a pipe; returns the read end first. Both ends are close-on-exec.
///
/// # Errors
/// If the process or the system has no file descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for the two descriptors that the call writes.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the call succeeded, so both are open and have no other owner.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Makes one end of a pipe non-blocking; the other end is not affected.
///
/// # Errors
/// If fcntl(2) fails.
pub fn set_nonblocking(end: BorrowedFd<'_>) -> io::Result<()> {
    // Our pipes have no other status flags that would have to be preserved.
    // SAFETY: the descriptor is open while it is borrowed; the argument is an integer.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })
}

/// Makes one end of a pipe blocking again.
///
/// # Errors
/// If fcntl(2) fails.
pub fn set_blocking(end: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed; the argument is an integer.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, 0) })
}

/// Returns how many file descriptors the process may have (RLIMIT_NOFILE).
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

/// Returns the number that the next new file descriptor would get. `any` may be any open one.
///
/// # Errors
/// If no file descriptor is left.
pub fn next_descriptor(any: BorrowedFd<'_>) -> io::Result<u64> {
    let copy = any.try_clone_to_owned()?;
    Ok(u64::try_from(copy.as_raw_fd()).unwrap_or(u64::MAX))
}

/// Owner of a lock after an attempt to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// This process.
    Ours,
    /// Another process; 0 or less if the lock was just released or the process is outside of this PID
    /// namespace.
    By(i32),
}

/// Takes an exclusive lock on a whole file without waiting.
///
/// # Errors
/// If the file system does not support locks.
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
        // Released in the meantime; the next start will get it.
        return Ok(Locked::By(0));
    }
    Ok(Locked::By(lock.l_pid))
}

/// Returns whether a write will not block, now or within `timeout_ms` milliseconds. Errors and hang-ups count
/// as writable: the write then reports them.
pub fn is_writable(fd: BorrowedFd<'_>, timeout_ms: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `poll` is one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, timeout_ms) > 0 }
}

/// Waits until `source` is readable, the readers of `sink` are gone, or the time has passed (`None`: no
/// limit). Returns whether the readers of `sink` are gone.
pub fn is_unread_before(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    time: Option<Duration>,
) -> bool {
    // Rounded up; otherwise the last fraction of a millisecond would be spent in a busy loop.
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
    // An empty event mask still reports errors and hang-ups.
    let mut both = [poll(source, libc::POLLIN), poll(sink, 0)];
    // SAFETY: `both` are two valid pollfds.
    while unsafe { libc::poll(both.as_mut_ptr(), 2, millis) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
    both[1].revents & (libc::POLLERR | libc::POLLHUP) != 0
}
