//! Old kernels without some system calls: a seccomp filter refuses the calls, and the agent works without
//! them.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use crate::live::{Agent, content, wait_until};

/// System calls that may be missing, with the version of Linux that introduced them, and their callers.
const NEWER: &[libc::c_long] = &[
    libc::SYS_getrandom,       // 3.17: keys, nonces, hash maps
    libc::SYS_copy_file_range, // 4.5: the standard library
    libc::SYS_statx,           // 4.11: the standard library
    libc::SYS_pidfd_open,      // 5.3: the standard library
    libc::SYS_clone3,          // 5.3: glibc
    libc::SYS_openat2,         // 5.6
    libc::SYS_faccessat2,      // 5.8: C libraries
    libc::SYS_close_range,     // 5.9: `isolate_children`
    libc::SYS_epoll_pwait2,    // 5.11
];
/// Socket options that may be missing, from Linux 4.12 and 4.13.
const NEWER_OPTIONS: &[libc::c_int] = &[libc::SO_MEMINFO, libc::SO_PEERGROUPS];

/// Offsets of a call's number and third argument in the filter's input.
const NUMBER: u32 = 0;
const OPTION: u32 = if cfg!(target_endian = "little") {
    32
} else {
    36
};

fn load(offset: u32) -> libc::sock_filter {
    let code = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

/// Skips this number of instructions unless the value matches.
fn unless(value: u32, passes: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    libc::sock_filter {
        code,
        jt: 0,
        jf: passes,
        k: value,
    }
}

fn answer(k: u32) -> libc::sock_filter {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn refuse(error: libc::c_int) -> libc::sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | u32::try_from(error).unwrap())
}

/// Makes this thread, and all processes that it starts, run as on an old kernel.
fn make_kernel_old() {
    let mut filter = vec![load(NUMBER)];
    for &call in NEWER {
        filter.extend([
            unless(u32::try_from(call).unwrap(), 1),
            refuse(libc::ENOSYS),
        ]);
    }
    let options = NEWER_OPTIONS.iter().flat_map(|&option| {
        [
            unless(u32::try_from(option).unwrap(), 1),
            refuse(libc::ENOPROTOOPT),
        ]
    });
    let options: Vec<_> = std::iter::once(load(OPTION)).chain(options).collect();
    let getsockopt = u32::try_from(libc::SYS_getsockopt).unwrap();
    filter.push(unless(getsockopt, u8::try_from(options.len()).unwrap()));
    filter.extend(options);
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live until the calls return.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
        // The feature works, so its absence must not be reported.
        assert_eq!(libc::syscall(libc::SYS_close_range, 1000, 1000, 0), -1);
    }
    let why = io::Error::last_os_error();
    assert_eq!(why.raw_os_error(), Some(libc::ENOSYS));
}

#[test]
fn an_agent_does_without_newer_system_calls() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let inherited = fs::File::create(path("inherited")).unwrap();
    // SAFETY: sets a flag of an open descriptor.
    assert_eq!(
        unsafe { libc::fcntl(inherited.as_raw_fd(), libc::F_SETFD, 0) },
        0
    );
    make_kernel_old();
    let shown = dir.path().display();
    let descriptors =
        format!("member-join=ls -l /proc/self/fd >{shown}/ls && mv {shown}/ls {shown}/open");
    let agent = Agent::start(&[
        "-profile=local",
        "-encrypt=AQEBAQEBAQEBAQEBAQEBAQ==",
        &format!("-snapshot={shown}/snapshot"),
        &format!("-journal={shown}/journal"),
        &format!("-event-handler={descriptors}"),
        "-event-handler=query=echo answered",
    ]);
    wait_until("the handler's list", || path("open").exists());
    let open = content(&path("open"));
    assert!(open.contains(" 0 -> "), "{open}");
    assert!(!open.contains("inherited"), "{open}");
    let other = Agent::start(&[
        "-profile=local",
        "-node=other",
        "-encrypt=AQEBAQEBAQEBAQEBAQEBAQ==",
        &format!("-join=localhost:{}", agent.gossip.port()),
    ]);
    wait_until("the other one", || agent.sees("other", "alive"));
    let (done, answers) = other.call("query", &["load"]);
    assert!(done && answers.contains("answered"), "{answers}");
    assert_eq!(agent.end(libc::SIGINT), 0);
}
