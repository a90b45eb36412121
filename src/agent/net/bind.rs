//! One port for datagrams and streams.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::{TcpListener, UdpSocket};

use crate::agent::sys;
use crate::agent::words::os_error;

/// Wished size of the UDP receive buffer, halved until the kernel grants it (gossip spec 2.1).
const RECEIVE_BUFFER_BYTES: i32 = 2 << 20;
/// Attempts to find a port that is free for UDP and TCP alike.
const PORT_ATTEMPTS: usize = 32;

pub(super) fn bind_both(addr: SocketAddr) -> Result<(TcpListener, UdpSocket), String> {
    let attempts = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
    let mut last = String::new();
    for _ in 0..attempts {
        let failed = |word: &str, net: &str, port: u16, error: io::Error| {
            let at = SocketAddr::new(addr.ip(), port);
            let (ip, why) = (addr.ip(), os_error(&error));
            format!(
                "Failed to start {word} listener on \"{ip}\" port {port}: listen {net} {at}: bind: {why}"
            )
        };
        let listener =
            TcpListener::bind(addr).map_err(|error| failed("TCP", "tcp", addr.port(), error))?;
        let port = listener
            .local_addr()
            .map_err(|error| os_error(&error))?
            .port();
        match UdpSocket::bind(SocketAddr::new(addr.ip(), port)) {
            Ok(udp) => return Ok((listener, udp)),
            Err(error) => last = failed("UDP", "udp", port, error),
        }
    }
    Err(last)
}

/// The kernel grants less than was asked for without a word; only an error is worth a smaller wish.
pub(super) fn grow_receive_buffer(udp: &UdpSocket) {
    let mut bytes = RECEIVE_BUFFER_BYTES;
    while bytes >= 64 << 10 && sys::set_receive_buffer(udp.as_fd(), bytes).is_err() {
        bytes /= 2;
    }
}
