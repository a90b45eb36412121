//! Multicast sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use libc::c_int;

use super::address::raw_addr;
use super::check;
use super::sockets::{datagram_socket, set_option};

/// Creates a socket that receives what is sent to a multicast group and port; other sockets may do the same.
/// `interface` 0 lets the system choose.
///
/// # Errors
/// If a system call fails, for example because the interface has no multicast.
pub fn multicast_listener(group: SocketAddr, interface: u32) -> io::Result<UdpSocket> {
    const IPV6_MULTICAST_ALL: c_int = 29;
    let socket = datagram_socket(group)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1_i32)?;
    // Bound to the group's address, so that unicast datagrams to this machine do not arrive here.
    let (raw, len) = raw_addr(group);
    // SAFETY: `raw` is a socket address of `len` bytes.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })?;
    match group.ip() {
        IpAddr::V4(ip) => {
            // Limits reception to the interfaces on which this socket has joined the group; old kernels may
            // refuse.
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

/// Creates a socket on an arbitrary port that sends to a multicast group on the local link only. `interface`
/// 0 lets the system choose.
///
/// # Errors
/// If a system call fails.
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

/// Converts an interface index for kernel structures that have it as a signed number.
fn index_number(interface: u32) -> c_int {
    c_int::try_from(interface).unwrap_or(c_int::MAX)
}
