//! Conversion of socket addresses to and from the kernel's layout.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::{mem, ptr};

use libc::{c_int, sockaddr_in, sockaddr_in6, socklen_t};

/// Converts an address from the kernel's layout; `None` for null and families other than IPv4 and IPv6.
///
/// # Safety
/// `addr` must be null or point to a socket address of the size that its family requires.
pub(super) unsafe fn socket_addr_of(addr: *const libc::sockaddr) -> Option<SocketAddr> {
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

/// A socket address in the kernel's layout.
pub(super) union RawAddr {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

pub(super) fn raw_addr(addr: SocketAddr) -> (RawAddr, socklen_t) {
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
