//! Child processes, process groups, and what children inherit.

use std::{fs, io, mem, ptr};

use libc::c_int;

use super::check;

/// Sends a signal to a process group; does nothing if the group no longer exists.
///
/// The leader must not have been reaped: only until then is its number certain not to be reused.
pub fn kill_group(leader: u32, signal: i32) {
    // kill(2) takes 0 for our own group and -1 for all processes.
    if let Some(leader) = i32::try_from(leader).ok().filter(|&pid| pid > 1) {
        // SAFETY: takes and returns integers.
        unsafe { libc::kill(-leader, signal) };
    }
}

/// Returns whether a process group with that leader exists; the leader itself may have ended.
pub fn group_exists(leader: u32) -> bool {
    let Some(leader) = i32::try_from(leader).ok().filter(|&pid| pid > 1) else {
        return false;
    };
    // SAFETY: takes and returns integers; signal 0 only checks for existence.
    let result = check(unsafe { libc::kill(-leader, 0) });
    result.map_or_else(|why| why.raw_os_error() == Some(libc::EPERM), |()| true)
}

/// Returns whether a child has ended, without reaping it.
pub fn has_ended(pid: u32) -> bool {
    // An error means that the child no longer exists.
    !matches!(peek(libc::P_PID, pid, libc::WEXITED), Ok(None))
}

/// Returns whether a child is stopped by a signal and not yet continued.
pub fn is_stopped(pid: u32) -> bool {
    matches!(peek(libc::P_PID, pid, libc::WSTOPPED), Ok(Some(_)))
}

/// Returns the id of a child with this kind of state change, without reaping it; `None` if there is none.
fn peek(kind: libc::idtype_t, id: u32, change: c_int) -> io::Result<Option<u32>> {
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = change | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable for the whole call.
    check(unsafe { libc::waitid(kind, id, &mut info, options) })?;
    // SAFETY: waitid fills in the child's fields, or leaves the zeroes.
    let pid = unsafe { info.si_pid() };
    Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0))
}

/// Returns whether this process adopts orphans: as process 1 of its namespace, or as a subreaper.
pub fn adopts_orphans() -> bool {
    let mut subreaper: c_int = 0;
    // SAFETY: the call writes one integer, for which there is room.
    let result = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &mut subreaper) };
    std::process::id() == 1 || result == 0 && subreaper != 0
}

/// Returns an ended child without reaping it; the same one on every call until it is reaped.
pub fn any_ended_child() -> Option<u32> {
    peek(libc::P_ALL, 0, libc::WEXITED).ok().flatten()
}

/// Reaps a child that has ended and discards its status.
pub fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|&pid| pid > 0) {
        // SAFETY: takes integers and a null pointer, which means that the status is not wanted.
        unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG) };
    }
}

/// Prepares this process for starting children; must be called once at the start. Makes all inherited file
/// descriptors except stdin, stdout and stderr close-on-exec, unblocks all signals, stops ignoring signals,
/// and then ignores TTIN and TTOU.
///
/// If those two were not ignored, they would stop a handler that uses the agent's terminal, where it is a
/// background process, and so block the queue. With them ignored, reading fails with EIO and changing modes
/// works.
pub fn isolate_children() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: the set is initialised before it is used; only this thread's mask is changed.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
    unignore_signals();
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: installs no handler function.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Called by number, because musl has no wrapper. Kernels before 5.11 do not support it.
    // SAFETY: takes three integers and changes only the close-on-exec flag.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    if done != 0 {
        close_on_exec_one_by_one();
    }
}

/// Installs an empty handler for each signal that was inherited as ignored. It still has no effect here, but
/// exec resets caught signals to their default, unlike ignored ones. A shell starts its background jobs with
/// INT and QUIT ignored.
fn unignore_signals() {
    /// The last of the real-time signals: 64, and more on MIPS.
    const SIGNAL_MAX: c_int = 127;
    extern "C" fn nothing(_signal: c_int) {}
    for signal in 1..=SIGNAL_MAX {
        // The standard library ignores PIPE itself and resets it in children.
        if signal == libc::SIGPIPE {
            continue;
        }
        // SAFETY: all zeroes is a valid sigaction: the default action, no flags, an empty mask.
        let (mut now, mut caught): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
        // SAFETY: with a null pointer, the call only reads the current action. It fails for signals that are
        // not available to programs.
        let read = unsafe { libc::sigaction(signal, ptr::null(), &mut now) };
        if read == 0 && now.sa_sigaction == libc::SIG_IGN {
            caught.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
            caught.sa_flags = libc::SA_RESTART;
            // SAFETY: the handler touches nothing, so it may run at any moment.
            unsafe { libc::sigaction(signal, &caught, ptr::null_mut()) };
        }
    }
}

fn close_on_exec_one_by_one() {
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    for fd in open.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        if fd > 2 {
            // SAFETY: sets a flag; a file descriptor that is no longer open gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Terminates this process by SIGALRM after `seconds`; 0 cancels that.
pub fn end_after(seconds: u32) {
    // SAFETY: takes and returns integers.
    unsafe { libc::alarm(seconds) };
}
