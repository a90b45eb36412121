//! Ports for agents that are told where to listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the kernel gives to connections (32768 and up), one of which could take the port
/// between the choice and the agent's start, or while an agent is down.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// An address that nobody uses, and that is given only once.
pub fn free() -> SocketAddr {
    row(1)
}

/// The same on another address of this host.
pub fn free_at(ip: IpAddr) -> SocketAddr {
    row_at(ip, 1)
}

/// The first of some addresses in a row.
pub fn row(length: u16) -> SocketAddr {
    row_at(Ipv4Addr::LOCALHOST.into(), length)
}

fn row_at(ip: IpAddr, length: u16) -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other processes of the kind begin elsewhere, those of the same moment as far away as can be: steps of
    // the golden section.
    let begin = std::process::id().wrapping_mul(12_361) % COUNT;
    loop {
        let step = NEXT.fetch_add(u32::from(length), Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).unwrap();
        let addr = |port| SocketAddr::from((ip, port));
        // Both protocols are needed.
        let is_free =
            |port| TcpListener::bind(addr(port)).is_ok() && UdpSocket::bind(addr(port)).is_ok();
        if (port..port + length).all(is_free) {
            return addr(port);
        }
    }
}
