//! Sockets that the standard library cannot create, and socket options.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use std::{io, mem};

use libc::{c_int, c_void, socklen_t};

use super::address::raw_addr;
use super::check;

fn family_of(addr: SocketAddr) -> c_int {
    match addr {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

/// Creates a close-on-exec socket.
fn open(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the file descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts to connect a non-blocking TCP socket, from the address `source` if one is given.
///
/// # Errors
/// If a system call fails; a connection still in progress is not an error.
pub fn connect_from(source: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let owned = open(family_of(to), libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    let fd = owned.as_raw_fd();
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        let (raw, len) = raw_addr(source);
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

/// Connects a blocking stream to the Unix socket at a path; waits at most `timeout` if the listener's
/// backlog is full. The stream is read and written like one of TCP.
///
/// # Errors
/// If the path is too long or a system call fails; EAGAIN if the backlog stays full.
pub fn connect_to_path(path: &Path, timeout: Duration) -> io::Result<TcpStream> {
    // SAFETY: all zeroes is a valid address with an empty path.
    let mut raw: libc::sockaddr_un = unsafe { mem::zeroed() };
    let bytes = path.as_os_str().as_bytes();
    // Leaves room for the terminating zero.
    if bytes.len() >= raw.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in raw.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    let stream = TcpStream::from(open(libc::AF_UNIX, libc::SOCK_STREAM)?);
    let fd = stream.as_raw_fd();
    stream.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    let len = mem::size_of_val(&raw) as socklen_t;
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::connect(fd, (&raw const raw).cast(), len) })?;
    Ok(stream)
}

/// Limit for connections that wait to be accepted. The system may lower it.
const BACKLOG: c_int = 1024;

/// Creates a listening TCP socket on all IPv4 and IPv6 addresses.
///
/// # Errors
/// If a system call fails, for example because the system has no IPv6.
pub fn dual_stack_listener(port: u16) -> io::Result<TcpListener> {
    let socket = dual_stack_socket(libc::SOCK_STREAM, port)?;
    // SAFETY: takes and returns integers; the descriptor is open.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(socket))
}

/// Creates a UDP socket on all IPv4 and IPv6 addresses.
///
/// # Errors
/// If a system call fails, for example because the system has no IPv6.
pub fn dual_stack_datagrams(port: u16) -> io::Result<UdpSocket> {
    dual_stack_socket(libc::SOCK_DGRAM, port).map(UdpSocket::from)
}

fn dual_stack_socket(kind: c_int, port: u16) -> io::Result<OwnedFd> {
    let socket = open(libc::AF_INET6, kind | libc::SOCK_NONBLOCK)?;
    let fd = socket.as_raw_fd();
    // Set explicitly, because net.ipv6.bindv6only changes the default.
    set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0_i32)?;
    if kind == libc::SOCK_STREAM {
        // Lets a restart bind at once, without waiting for old connections to time out.
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    }
    let (raw, len) = raw_addr(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::bind(fd, (&raw const raw).cast(), len) })?;
    Ok(socket)
}

pub(super) fn datagram_socket(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(family_of(group), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)?;
    let socket = UdpSocket::from(socket);
    if group.is_ipv6() {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1_i32)?;
    }
    Ok(socket)
}

pub(super) fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: T,
) -> io::Result<()> {
    let len = mem::size_of::<T>() as socklen_t;
    let value = (&raw const value).cast::<c_void>();
    // SAFETY: `value` points to `len` readable bytes; the kernel checks the size of the option.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) })
}

/// Requests a receive buffer of `bytes` bytes. The kernel may grant less.
///
/// # Errors
/// If setsockopt(2) fails.
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

/// Returns how many datagrams the kernel has dropped at a socket since it was opened because its buffer was
/// full, modulo 2^32. `None`: the kernel does not report it.
pub fn receive_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    /// Index of the counter in `SO_MEMINFO`.
    const DROPS: usize = 8;
    let mut figures = [0u32; DROPS + 1];
    let mut len = mem::size_of_val(&figures) as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `figures`, and stores their number in `len`.
    let told = unsafe {
        let figures = (&raw mut figures).cast::<c_void>();
        let (level, name) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
        libc::getsockopt(socket.as_raw_fd(), level, name, figures, &raw mut len)
    };
    (told == 0 && len as usize >= mem::size_of_val(&figures)).then_some(figures[DROPS])
}

/// Writes to a socket without blocking and without SIGPIPE.
///
/// # Errors
/// If send(2) fails: `WouldBlock` if the send buffer is full, ENOTSOCK if it is not a socket.
pub fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a live slice.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_comes_from_the_source_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source: SocketAddr = "127.0.0.3:0".parse().unwrap();
        let stream = connect_from(Some(source), listener.local_addr().unwrap()).unwrap();
        let (mut accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source.ip());
        drop(stream);
        assert_eq!(accepted.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn receive_buffers_can_be_asked_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_receive_buffer(socket.as_fd(), 4096).unwrap();
    }
}
