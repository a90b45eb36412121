//! Binds UDP and TCP sockets to one port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::{TcpListener, UdpSocket};

use crate::os::error::os_error;
use crate::os::sys;

/// Size of the UDP receive buffer to request; halved until the kernel accepts it (gossip spec 2.1).
const RECEIVE_BUFFER_BYTES: i32 = 2 << 20;
/// Limit for the attempts to find a port that is free for both UDP and TCP.
const PORT_ATTEMPTS: usize = 32;

/// Listens on an address. A wildcard of either family means all addresses of both families that the system
/// has.
///
/// # Errors
/// If a system call fails.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    if let Some(listener) = on_both_families(addr, sys::dual_stack_listener)? {
        return Ok(TcpListener::from_std(listener));
    }
    TcpListener::bind(addr)
}

fn listen_for_datagrams(addr: SocketAddr) -> io::Result<UdpSocket> {
    if let Some(udp) = on_both_families(addr, sys::dual_stack_datagrams)? {
        return Ok(UdpSocket::from_std(udp));
    }
    UdpSocket::bind(addr)
}

/// Creates a socket for both families; `None` if the address is not a wildcard or the system has no IPv6.
fn on_both_families<T>(addr: SocketAddr, make: fn(u16) -> io::Result<T>) -> io::Result<Option<T>> {
    if !addr.ip().is_unspecified() {
        return Ok(None);
    }
    match make(addr.port()) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EADDRINUSE | libc::EACCES) => Err(error),
            _ => Ok(None),
        },
    }
}

/// Binds both sockets to one port. The returned address is the bound one, in the requested family.
pub(super) fn bind_both(addr: SocketAddr) -> Result<(SocketAddr, TcpListener, UdpSocket), String> {
    let attempts = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
    let mut last = String::new();
    for _ in 0..attempts {
        let failed = |word: &str, net: &str, port: u16, error: io::Error| {
            let mut at = addr;
            at.set_port(port);
            let (ip, why) = (addr.ip(), os_error(&error));
            format!(
                "Failed to start {word} listener on \"{ip}\" port {port}: listen {net} {at}: bind: {why}"
            )
        };
        let listener = listen(addr).map_err(|error| failed("TCP", "tcp", addr.port(), error))?;
        let port = listener
            .local_addr()
            .map_err(|error| os_error(&error))?
            .port();
        let mut bound = addr;
        bound.set_port(port);
        match listen_for_datagrams(bound) {
            Ok(udp) => return Ok((bound, listener, udp)),
            Err(error) => last = failed("UDP", "udp", port, error),
        }
    }
    Err(last)
}

/// Requests a large receive buffer. The kernel silently grants less; only an error leads to a smaller
/// request.
pub(super) fn grow_receive_buffer(udp: &UdpSocket) {
    let mut bytes = RECEIVE_BUFFER_BYTES;
    while bytes >= 64 << 10 && sys::set_receive_buffer(udp.as_fd(), bytes).is_err() {
        bytes /= 2;
    }
}
