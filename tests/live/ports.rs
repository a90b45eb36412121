//! Ports for agents with fixed addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port of the range. The range is below the kernel's ephemeral ports (32768 and up), so that no
/// outgoing connection takes a port before the agent starts or while it is down.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// Returns a free address; never the same one twice.
pub fn free() -> SocketAddr {
    row(1)
}

/// Returns a free address like [`free`], with another IP address of this host.
pub fn free_at(ip: IpAddr) -> SocketAddr {
    row_at(ip, 1)
}

/// Returns the first of `length` free addresses with consecutive ports.
pub fn row(length: u16) -> SocketAddr {
    row_at(Ipv4Addr::LOCALHOST.into(), length)
}

fn row_at(ip: IpAddr, length: u16) -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes start at different ports. Steps of the golden ratio keep processes with consecutive ids
    // as far apart as possible.
    let begin = std::process::id().wrapping_mul(12_361) % COUNT;
    loop {
        let step = NEXT.fetch_add(u32::from(length), Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).unwrap();
        let addr = |port| SocketAddr::from((ip, port));
        // Agents need the port for UDP and TCP.
        let is_free =
            |port| TcpListener::bind(addr(port)).is_ok() && UdpSocket::bind(addr(port)).is_ok();
        if (port..port + length).all(is_free) {
            return addr(port);
        }
    }
}
