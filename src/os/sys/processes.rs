//! Children, process groups, and what children inherit.

use std::{fs, io, mem, ptr};

use libc::c_int;

use super::check;

/// Sends a signal to a process group. A group that is gone is no error.
///
/// The leader must not have been reaped yet: until then its number cannot belong to anybody else.
pub fn kill_group(leader: u32, signal: i32) {
    // 0 and 1 would mean our own group and everybody.
    if let Some(leader) = i32::try_from(leader).ok().filter(|&pid| pid > 1) {
        // SAFETY: takes and returns integers.
        unsafe { libc::kill(-leader, signal) };
    }
}

/// Whether there is a process group with that leader; the leader itself may have ended.
pub fn group_exists(leader: u32) -> bool {
    let Some(leader) = i32::try_from(leader).ok().filter(|&pid| pid > 1) else {
        return false;
    };
    // SAFETY: takes and returns integers; signal 0 is none.
    let result = check(unsafe { libc::kill(-leader, 0) });
    result.map_or_else(|why| why.raw_os_error() == Some(libc::EPERM), |()| true)
}

/// Whether a child has ended, without reaping it.
pub fn has_ended(pid: u32) -> bool {
    // An error means that there is no such child any more.
    !matches!(peek(libc::P_PID, pid, libc::WEXITED), Ok(None))
}

/// Whether a child is stopped: a signal has stopped it, and none has continued it.
pub fn is_stopped(pid: u32) -> bool {
    matches!(peek(libc::P_PID, pid, libc::WSTOPPED), Ok(Some(_)))
}

/// A child with a change of state of this kind, without reaping it. One without: `None`.
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

/// Whether the kernel hands orphans to this process: it is process 1 of its namespace, or a subreaper.
pub fn adopts_orphans() -> bool {
    let mut subreaper: c_int = 0;
    // SAFETY: the call writes one integer, for which there is room.
    let result = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &mut subreaper) };
    std::process::id() == 1 || result == 0 && subreaper != 0
}

/// Some child that has ended and was not reaped, without reaping it: always the same one until it is.
pub fn any_ended_child() -> Option<u32> {
    peek(libc::P_ALL, 0, libc::WEXITED).ok().flatten()
}

/// Reaps a child that has ended. Nobody learns its status.
pub fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|&pid| pid > 0) {
        // SAFETY: takes integers and a null pointer, which means that the status is not wanted.
        unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG) };
    }
}

/// To be called once at the start: nothing that the agent inherited but stdin, stdout and stderr
/// reaches its children, no signal is blocked in them, and none is ignored but TTIN and TTOU.
///
/// Those two would stop a handler that uses the agent's terminal, for it is in the background there, and
/// the queue with it. With them ignored, reading fails with EIO and changing modes works.
pub fn isolate_children() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: an empty set is initialised before it is used; the mask of this thread is set.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
    unignore_signals();
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: sets a disposition that has no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // By number, because musl has no wrapper. Kernels before 5.11 do not know it.
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

/// Catches the signals that this process was started with ignored, with a handler that does nothing: here
/// they still have no effect, and exec resets what is caught, but not what is ignored. A shell starts its
/// background jobs with INT and QUIT ignored.
fn unignore_signals() {
    /// The last of the real-time signals: 64, and more on MIPS.
    const SIGNAL_MAX: c_int = 127;
    extern "C" fn nothing(_signal: c_int) {}
    for signal in 1..=SIGNAL_MAX {
        // The standard library ignores PIPE here and resets it in children by itself.
        if signal == libc::SIGPIPE {
            continue;
        }
        // SAFETY: all zeroes is a valid sigaction: the default action, no flags, an empty mask.
        let (mut now, mut caught): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
        // SAFETY: with a null pointer the call only writes the present action. It refuses numbers that
        // are not for programs.
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
            // SAFETY: sets a flag; a number that is not open any more gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Ends this process by SIGALRM in so many seconds; 0: no more.
pub fn end_after(seconds: u32) {
    // SAFETY: takes and returns integers.
    unsafe { libc::alarm(seconds) };
}
