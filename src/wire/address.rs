//! IP addresses and ports in wire form: 4 or 16 address bytes and a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::DecodeError;

/// Decodes an address and keeps it as sent. An IPv4-mapped address stays IPv6, because node addresses are
/// compared byte by byte (gossip spec 3.4).
pub(super) fn literal(
    bytes: &[u8],
    port: u16,
    field: &'static str,
) -> Result<SocketAddr, DecodeError> {
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        IpAddr::V4(Ipv4Addr::from(octets))
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        IpAddr::V6(Ipv6Addr::from(octets))
    } else {
        return Err(DecodeError::Invalid(field));
    };
    Ok(SocketAddr::new(ip, port))
}

/// Decodes an address that is only used as a destination. An IPv4-mapped address becomes plain IPv4, so that
/// an IPv4 socket can send to it.
pub(super) fn reachable(
    bytes: &[u8],
    port: u16,
    field: &'static str,
) -> Result<SocketAddr, DecodeError> {
    let addr = literal(bytes, port, field)?;
    Ok(SocketAddr::new(addr.ip().to_canonical(), port))
}

/// Passes the bytes of an address to `use_bytes`: 4 for IPv4, 16 for IPv6.
pub(super) fn with_ip_bytes<R>(ip: IpAddr, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
    match ip {
        IpAddr::V4(ip) => use_bytes(&ip.octets()),
        IpAddr::V6(ip) => use_bytes(&ip.octets()),
    }
}
