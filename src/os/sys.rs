//! System calls that no library here wraps. The only file of the package with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::{fs, io, mem, ptr};

use libc::{c_int, c_void, sockaddr_in, sockaddr_in6, socklen_t};

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

/// The file that this process runs, kept open for children that run it, too.
static OWN_FILE: OnceLock<OwnedFd> = OnceLock::new();

/// Where Linux shows a process its own file.
const OWN_FILE_IN_PROC: &str = "/proc/self/exe";

/// To be called once at the start, before anything changes the directory: finds the file that this
/// process runs, so that [`own_program`] can do without a /proc.
pub fn keep_own_file() {
    let open = |path: &CStr| -> io::Result<OwnedFd> {
        // SAFETY: `path` is a C string. O_PATH asks for no right to read, which a program need not give.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        check(fd)?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    let shown = CString::new(OWN_FILE_IN_PROC).map_err(io::Error::from);
    let found = shown.and_then(|path| open(&path)).or_else(|why| {
        // SAFETY: takes and returns integers.
        let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
        if path.is_null() {
            return Err(why);
        }
        // SAFETY: the kernel puts a C string there that lives as long as the process.
        open(unsafe { CStr::from_ptr(path) })
    });
    if let Ok(found) = found {
        let _ = OWN_FILE.set(found);
    }
}

/// A command that runs the program of this process under another name.
///
/// # Errors
/// If there is no /proc and [`keep_own_file`] has not found the file.
pub fn own_program(argv0: &str) -> io::Result<Command> {
    let mut command = Command::new(OWN_FILE_IN_PROC);
    command.arg0(argv0);
    if fs::metadata(OWN_FILE_IN_PROC).is_ok() {
        return Ok(command);
    }
    let Some(file) = OWN_FILE.get() else {
        let why = "there is no /proc, and the program's own file is not known";
        return Err(io::Error::other(why));
    };
    let fd = file.as_raw_fd();
    let argv0 = CString::new(argv0)?;
    let run = move || {
        let argv = [argv0.as_ptr(), ptr::null()];
        // By number, because musl has no wrapper. Returns only when it fails.
        // SAFETY: descriptor, C string and the null-terminated lists live until the call ends.
        unsafe {
            let (path, env) = (c"".as_ptr(), environ);
            libc::syscall(
                libc::SYS_execveat,
                fd,
                path,
                argv.as_ptr(),
                env,
                libc::AT_EMPTY_PATH,
            )
        };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and exec `run` neither allocates nor locks.
    unsafe { command.pre_exec(run) };
    Ok(command)
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
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
    /// The last of the real-time signals.
    const SIGNAL_MAX: c_int = 64;
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

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface.
    pub name: String,
    /// One of its addresses.
    pub addr: IpAddr,
    /// Bits of the address that name its network.
    pub prefix_bits: u32,
    /// The interface is up.
    pub up: bool,
}

/// The addresses of all network interfaces, in the kernel's order.
///
/// # Errors
/// The operating system's.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a valid place for the pointer; it is freed below exactly once.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a live node of the list that getifaddrs made.
        let node = unsafe { &*entry };
        entry = node.ifa_next;
        // SAFETY: `ifa_addr` is null or points to an address whose family says its layout.
        let Some(addr) = (unsafe { socket_addr_of(node.ifa_addr) }) else {
            continue;
        };
        // SAFETY: `ifa_netmask` is null or points to an address whose family says its layout.
        let mask = unsafe { socket_addr_of(node.ifa_netmask) };
        // SAFETY: `ifa_name` is a C string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(node.ifa_name) };
        found.push(InterfaceAddress {
            name: name.to_string_lossy().into_owned(),
            addr: addr.ip(),
            prefix_bits: mask.map_or(0, |mask| match mask.ip() {
                IpAddr::V4(ip) => ip.to_bits().count_ones(),
                IpAddr::V6(ip) => ip.to_bits().count_ones(),
            }),
            up: node.ifa_flags & libc::IFF_UP as libc::c_uint != 0,
        });
    }
    // SAFETY: the list came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// Asks the system's resolver for the addresses of a name in one family (`AF_INET` or `AF_INET6`), with
/// port 0. Blocks.
///
/// # Errors
/// The number of getaddrinfo(3); for `EAI_SYSTEM` the last error of the system says more.
pub fn look_up(host: &CStr, family: c_int) -> Result<Vec<SocketAddr>, c_int> {
    // SAFETY: all zeroes is a valid addrinfo: no pointers, no wishes.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_family = family;
    // One entry an address, not one for each kind of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: `host` is a C string, `hints` is valid, `list` a place for the pointer.
    let code = unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &hints, &mut list) };
    if code != 0 {
        return Err(code);
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a live node of the list that getaddrinfo made.
        let node = unsafe { &*entry };
        entry = node.ai_next;
        // SAFETY: `ai_addr` is null or points to an address whose family says its layout.
        found.extend(unsafe { socket_addr_of(node.ai_addr) });
    }
    // SAFETY: the list came from getaddrinfo and nothing borrows from it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

/// The C library's text for an error of [`look_up`].
pub fn look_up_error(code: c_int) -> String {
    // SAFETY: the call returns a C string that is never freed.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    text.to_string_lossy().into_owned()
}

/// Ends this process by SIGALRM in so many seconds; 0: no more.
pub fn end_after(seconds: u32) {
    // SAFETY: takes and returns integers.
    unsafe { libc::alarm(seconds) };
}

/// Whether there is an interface of that name, with addresses or without.
pub fn interface_exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: `name` is a C string.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// The number of an interface.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a C string.
    Some(unsafe { libc::if_nametoindex(name.as_ptr()) }).filter(|&index| index != 0)
}

/// # Safety
/// `addr` is null or points to a socket address that is as long as its family says.
unsafe fn socket_addr_of(addr: *const libc::sockaddr) -> Option<SocketAddr> {
    if addr.is_null() {
        return None;
    }
    // SAFETY: not null, and every socket address starts with its family.
    match c_int::from(unsafe { (*addr).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in.
            let v4 = unsafe { ptr::read_unaligned(addr.cast::<sockaddr_in>()) };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6.
            let v6 = unsafe { ptr::read_unaligned(addr.cast::<sockaddr_in6>()) };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Bytes of a page of memory.
pub fn page_bytes() -> u64 {
    // SAFETY: takes and returns integers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The clock that service managers compare with their own: microseconds of CLOCK_MONOTONIC.
pub fn monotonic_micros() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable for the whole call; on failure it keeps its zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1000)
}

/// This machine's name; empty if it cannot be told.
pub fn host_name() -> Vec<u8> {
    let mut buffer = [0u8; 256];
    // SAFETY: pointer and length are those of `buffer`; its last byte stays zero.
    unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    let len = buffer.iter().position(|&byte| byte == 0).unwrap_or(0);
    buffer.get(..len).unwrap_or_default().to_vec()
}

/// A socket address in the kernel's layout.
union RawAddr {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

fn raw_addr(addr: SocketAddr) -> (RawAddr, socklen_t) {
    match addr {
        SocketAddr::V4(addr) => {
            // SAFETY: all bytes zero is a valid sockaddr_in.
            let mut v4: sockaddr_in = unsafe { mem::zeroed() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = addr.port().to_be();
            v4.sin_addr.s_addr = u32::from(*addr.ip()).to_be();
            (RawAddr { v4 }, mem::size_of::<sockaddr_in>() as socklen_t)
        }
        SocketAddr::V6(addr) => {
            // SAFETY: all bytes zero is a valid sockaddr_in6.
            let mut v6: sockaddr_in6 = unsafe { mem::zeroed() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = addr.port().to_be();
            v6.sin6_addr.s6_addr = addr.ip().octets();
            v6.sin6_flowinfo = addr.flowinfo();
            v6.sin6_scope_id = addr.scope_id();
            (RawAddr { v6 }, mem::size_of::<sockaddr_in6>() as socklen_t)
        }
    }
}

/// Starts to connect a non-blocking TCP socket, from the address `source` if one is given.
///
/// # Errors
/// The operating system's; a connection that is under way is none.
pub fn connect_from(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        let (raw, len) = raw_addr(SocketAddr::new(source, 0));
        // SAFETY: `raw` is a socket address of `len` bytes.
        if unsafe { libc::bind(fd, (&raw const raw).cast(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let (raw, len) = raw_addr(to);
    // SAFETY: `raw` is a socket address of `len` bytes.
    if unsafe { libc::connect(fd, (&raw const raw).cast(), len) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error);
        }
    }
    Ok(TcpStream::from(owned))
}

/// Connections that wait to be accepted, at most. The system may allow fewer.
const BACKLOG: c_int = 1024;

/// A listening socket at all addresses of both families.
///
/// # Errors
/// The operating system's; it may be without IPv6.
pub fn dual_stack_listener(port: u16) -> io::Result<TcpListener> {
    let socket = dual_stack_socket(libc::SOCK_STREAM, port)?;
    // SAFETY: takes and returns integers; the descriptor is open.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(socket))
}

/// A socket for datagrams at all addresses of both families.
///
/// # Errors
/// The operating system's; it may be without IPv6.
pub fn dual_stack_datagrams(port: u16) -> io::Result<UdpSocket> {
    dual_stack_socket(libc::SOCK_DGRAM, port).map(UdpSocket::from)
}

fn dual_stack_socket(kind: c_int, port: u16) -> io::Result<OwnedFd> {
    let kind_and_flags = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET6, kind_and_flags, 0) };
    check(fd)?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // The system's default is for both, unless net.ipv6.bindv6only says otherwise.
    set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0_i32)?;
    if kind == libc::SOCK_STREAM {
        // A restart need not wait until old connections have timed out.
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    }
    let (raw, len) = raw_addr(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::bind(fd, (&raw const raw).cast(), len) })?;
    Ok(socket)
}

/// A socket that receives what is sent to a multicast group and port, beside others that do the same; an
/// interface of 0 is the system's choice.
///
/// # Errors
/// The operating system's.
pub fn multicast_listener(group: SocketAddr, interface: u32) -> io::Result<UdpSocket> {
    const IPV6_MULTICAST_ALL: c_int = 29;
    let socket = datagram_socket(group)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    // Bound to the group itself, so that nothing sent to this machine alone arrives here.
    let (raw, len) = raw_addr(group);
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })?;
    match group.ip() {
        IpAddr::V4(ip) => {
            // Of this group on other interfaces only what this socket asked for; old kernels may refuse.
            let _ = set_option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0_i32);
            let request = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr {
                    s_addr: u32::from(ip).to_be(),
                },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: index_number(interface),
            };
            set_option(&socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, request)?;
        }
        IpAddr::V6(ip) => {
            let _ = set_option(&socket, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0_i32);
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr {
                    s6_addr: ip.octets(),
                },
                ipv6mr_interface: interface,
            };
            set_option(
                &socket,
                libc::IPPROTO_IPV6,
                libc::IPV6_ADD_MEMBERSHIP,
                request,
            )?;
        }
    }
    send_through(&socket, group, interface)?;
    Ok(socket)
}

/// A socket on any port that sends to a multicast group, no further than the link; an interface of 0 is
/// the system's choice.
///
/// # Errors
/// The operating system's.
pub fn multicast_sender(group: SocketAddr, interface: u32) -> io::Result<UdpSocket> {
    let socket = datagram_socket(group)?;
    send_through(&socket, group, interface)?;
    let any = match group {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let (raw, len) = raw_addr((any, 0).into());
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })?;
    Ok(socket)
}

fn datagram_socket(group: SocketAddr) -> io::Result<UdpSocket> {
    let family = if group.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    if group.is_ipv6() {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1_i32)?;
    }
    Ok(socket)
}

fn send_through(socket: &UdpSocket, group: SocketAddr, interface: u32) -> io::Result<()> {
    if interface == 0 {
        return Ok(());
    }
    if group.is_ipv6() {
        let index = index_number(interface);
        return set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index);
    }
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: index_number(interface),
    };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)
}

/// The kernel's numbers are positive; in some of its structures they are signed.
fn index_number(interface: u32) -> c_int {
    c_int::try_from(interface).unwrap_or(c_int::MAX)
}

fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: T,
) -> io::Result<()> {
    let len = mem::size_of::<T>() as socklen_t;
    let value = (&raw const value).cast::<c_void>();
    // SAFETY: `value` points to `len` readable bytes; the kernel checks that the option has that size.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) })
}

/// Asks for a receive buffer of so many bytes. The kernel may grant less.
///
/// # Errors
/// The operating system's.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    let len = mem::size_of::<c_int>() as socklen_t;
    // SAFETY: the option's value is an int of `len` bytes.
    let set = unsafe {
        let value = (&raw const bytes).cast::<c_void>();
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            value,
            len,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams that the kernel had no room for at a socket since it was opened, modulo 2^32. `None`: it
/// does not tell.
pub fn receive_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    /// Place of the number among those of `SO_MEMINFO`.
    const DROPS: usize = 8;
    let mut figures = [0u32; DROPS + 1];
    let mut len = mem::size_of_val(&figures) as socklen_t;
    // SAFETY: the kernel writes `len` bytes at most, which `figures` has, and then how many they were.
    let told = unsafe {
        let figures = (&raw mut figures).cast::<c_void>();
        let (level, name) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
        libc::getsockopt(socket.as_raw_fd(), level, name, figures, &raw mut len)
    };
    (told == 0 && len as usize >= mem::size_of_val(&figures)).then_some(figures[DROPS])
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

/// Waits until the one can be read or nobody reads the other any more; tells whether nobody does.
pub fn is_unread_before(source: BorrowedFd<'_>, sink: BorrowedFd<'_>) -> bool {
    let poll = |fd: BorrowedFd<'_>, events| libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // What went wrong is told of unasked.
    let mut both = [poll(source, libc::POLLIN), poll(sink, 0)];
    // SAFETY: `both` are two valid pollfds.
    while unsafe { libc::poll(both.as_mut_ptr(), 2, -1) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
    both[1].revents & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Writes to a socket without blocking and without a SIGPIPE.
///
/// # Errors
/// The operating system's; `WouldBlock` if the socket is full, ENOTSOCK if it is no socket.
pub fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a live slice.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A moment in the time zone of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LocalTime {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
}

/// Seconds since 1970 in local time.
pub fn local_time(unix_seconds: i64) -> LocalTime {
    // On a 32-bit time_t a date after 2038 saturates instead of wrapping.
    let time = libc::time_t::try_from(unix_seconds).unwrap_or(libc::time_t::MAX);
    // SAFETY: all bytes zero is a valid tm.
    let mut tm: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to valid places; on failure `tm` keeps its zeros.
    unsafe { libc::localtime_r(&time, &mut tm) };
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn the_loopback_interface_is_found() {
        let all = interface_addresses().unwrap();
        let lo = all
            .iter()
            .find(|entry| entry.addr == IpAddr::V4(Ipv4Addr::LOCALHOST))
            .expect("127.0.0.1 on some interface");
        assert!(lo.up);
        assert_eq!(lo.prefix_bits, 8);
        assert!(interface_exists(&lo.name));
        assert!(!interface_exists("no such interface"));
        assert!(!interface_exists("a\0b"));
    }

    #[test]
    fn a_connection_comes_from_the_source_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source: IpAddr = "127.0.0.3".parse().unwrap();
        let stream = connect_from(Some(source), listener.local_addr().unwrap()).unwrap();
        let (mut accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source);
        drop(stream);
        assert_eq!(accepted.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn receive_buffers_can_be_asked_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_receive_buffer(socket.as_fd(), 4096).unwrap();
    }

    #[test]
    fn local_time_has_sane_fields() {
        let time = local_time(1_700_000_000);
        assert_eq!((time.year, time.month), (2023, 11));
        assert!((14..=15).contains(&time.day));
    }
}
