//! Parses addresses in settings (`host[:port]`), checks interfaces, and chooses the address to advertise
//! (agent spec 4.2, 4.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use super::lookup;
use crate::os::sys::{self, InterfaceAddress};

/// Prefix of the path of a Unix socket.
pub const UNIX_PREFIX: &str = "unix:";

/// Default gossip port.
pub const DEFAULT_PORT: u16 = 7946;

/// Splits `host`, `host:port`, `[host]`, `[host]:port` or a bare IPv6 address.
///
/// # Errors
/// If the syntax is invalid; the text is the reference's.
pub fn split_host_port(text: &str) -> Result<(&str, Option<&str>), String> {
    let (ip, _zone) = text.split_once('%').unwrap_or((text, ""));
    if ip.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else {
            return Err(format!("address {text}: missing ']' in address"));
        };
        return match port.strip_prefix(':') {
            None if port.is_empty() => Ok((host, None)),
            None => Err(format!("address {text}: missing port in address")),
            Some(port) if port.contains(':') => {
                Err(format!("address {text}: too many colons in address"))
            }
            Some(port) => Ok((host, Some(port))),
        };
    }
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((host, _)) if host.contains(':') => {
            Err(format!("address {text}: too many colons in address"))
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// Parses a port; an empty one is 0. `step` is the step that the reference's error names: `address` for local
/// addresses, `lookup` for remote ones.
///
/// # Errors
/// If it is not a number up to 65,535; the text is the reference's.
pub fn parse_port(text: &str, step: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{step} tcp/{text}: unknown port"));
    }
    text.parse()
        .map_err(|_| format!("address {text}: invalid port"))
}

/// Resolves `host[:port]`, with IPv4 preferred. Blocks during a name lookup, so it must be called before the
/// agent's loop runs. An empty host means all addresses. An IPv4-mapped IPv6 address becomes an IPv4 address:
/// a socket bound to the mapped form cannot send to IPv4 addresses.
///
/// # Errors
/// If the syntax is invalid or the name cannot be resolved; the text is the reference's.
pub fn resolve(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    let (host, port) = split_host_port(text)?;
    let port = port.map_or(Ok(default_port), |port| parse_port(port, "address"))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(canonical((ip, port).into()));
    }
    if let Some((ip, zone)) = zoned(host)? {
        return Ok(SocketAddrV6::new(ip, port, 0, zone).into());
    }
    let mut found = lookup::first(host)?;
    found.set_port(port);
    Ok(canonical(found))
}

/// Parses an IPv6 address with a zone, such as `fe80::1%eth0`; returns the address and the index of the
/// interface. For addresses that are not link-local, the zone is ignored and 0 is returned. `None`: it is not
/// such an address.
///
/// # Errors
/// If there is no such interface.
pub fn zoned(host: &str) -> Result<Option<(Ipv6Addr, u32)>, String> {
    let Some((ip, zone)) = host.split_once('%') else {
        return Ok(None);
    };
    let Ok(ip) = ip.parse::<Ipv6Addr>() else {
        return Ok(None);
    };
    if !is_link_local(ip.into()) {
        return Ok(Some((ip, 0)));
    }
    let index =
        sys::interface_index(zone).or_else(|| zone.parse().ok().filter(|&number| number > 0));
    match index {
        Some(index) => Ok(Some((ip, index))),
        None => Err(format!("address {host}: no such network interface")),
    }
}

/// Returns the zone of an address; 0 if it has none.
pub fn zone_of(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

/// Returns the address with this zone, if it is link-local and has no zone.
pub fn in_zone(addr: SocketAddr, zone: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) if v6.scope_id() == 0 && is_link_local(addr.ip()) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, zone).into()
        }
        addr => addr,
    }
}

/// Returns the address without this zone, as other nodes know it.
pub fn without_zone(addr: SocketAddr, zone: u32) -> SocketAddr {
    match zone_of(addr) == zone {
        true => SocketAddr::new(addr.ip(), addr.port()),
        false => addr,
    }
}

/// Returns whether an address may belong to one host: no wildcard, multicast or broadcast address. Other
/// nodes refuse a member with such an address.
pub fn is_of_one_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(v4) => SocketAddr::new(v4.into(), v6.port()),
            IpAddr::V6(_) => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

/// Returns the address of an interface that replaces a wildcard: one in the wildcard's family, if there is
/// one, else one in the other family, which the wildcard covers as well.
///
/// # Errors
/// If the interface has no usable address; returns the text to print.
pub fn interface_address(interface: &str, wildcard: IpAddr) -> Result<IpAddr, String> {
    let own = addresses_of(interface)?;
    own.iter()
        .map(|entry| entry.addr)
        .filter(|addr| !is_link_local(*addr))
        .min_by_key(|addr| addr.is_ipv4() != wildcard.is_ipv4())
        .ok_or_else(|| format!("Failed to find usable address for interface '{interface}'"))
}

/// Checks that an interface has an address.
///
/// # Errors
/// If it does not; returns the text to print.
pub fn check_interface(interface: &str, addr: IpAddr) -> Result<(), String> {
    let own = addresses_of(interface)?;
    if own.iter().any(|entry| entry.addr == addr) {
        Ok(())
    } else {
        Err(format!("Interface '{interface}' has no '{addr}' address"))
    }
}

fn addresses_of(interface: &str) -> Result<Vec<InterfaceAddress>, String> {
    if !sys::interface_exists(interface) {
        return Err(
            "Invalid network interface: route ip+net: no such network interface".to_owned(),
        );
    }
    let mut all = sys::interface_addresses()
        .map_err(|error| format!("Invalid network interface: {error}"))?;
    all.retain(|entry| entry.name == interface);
    Ok(all)
}

/// Returns whether an address is link-local.
pub fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Returns whether the reference considers an address private. It never advertises a public address unless
/// configured to.
fn is_private(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

/// Returns the address to advertise when the bind address is a wildcard: a private one of an interface that
/// is up, IPv4 preferred, IPv6 only if `speaks_ipv6`.
///
/// If the kernel's default source address is private, it is used. Else it is an address of the same interface
/// or, failing that, of any interface: that of the largest network, and among these the first in the kernel's
/// order, which lists a host's own address before those that move between hosts.
///
/// # Errors
/// If there is none; the text is the reference's.
pub fn advertised_for_wildcard(speaks_ipv6: bool) -> Result<IpAddr, String> {
    let all = sys::interface_addresses().map_err(|error| error.to_string())?;
    let [v4, v6] = ROOT_SERVER;
    let sources = [kernel_source(v4), kernel_source(v6)];
    choose_advertised(&all, sources, speaks_ipv6)
        .ok_or_else(|| "No private IP address found, and explicit IP not provided".to_owned())
}

/// Destination for asking the kernel for its default source address: a root name server, whose addresses have
/// not changed for decades. Nothing is sent there; any address reached by the default route would do.
const ROOT_SERVER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
];

/// Returns the address from which the kernel would send, considering its routes, metrics, rules and preferred
/// sources.
fn kernel_source(to: IpAddr) -> Option<IpAddr> {
    let any = match to {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket sends nothing.
    socket.connect((to, 53)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Chooses the address to advertise. `sources` are the kernel's default source addresses for IPv4 and IPv6.
fn choose_advertised(
    all: &[InterfaceAddress],
    sources: [Option<IpAddr>; 2],
    speaks_ipv6: bool,
) -> Option<IpAddr> {
    let families = [Some(sources[0]), speaks_ipv6.then_some(sources[1])];
    families
        .into_iter()
        .enumerate()
        .find_map(|(index, source)| {
            let source = source?;
            let is_default = |entry: &&InterfaceAddress| Some(entry.addr) == source;
            let interface = all.iter().find(is_default).map(|entry| &entry.name);
            all.iter()
                .filter(|entry| entry.up && is_private(entry.addr))
                .filter(|entry| entry.addr.is_ipv6() == (index == 1))
                .min_by_key(|entry| {
                    let elsewhere = Some(&entry.name) != interface;
                    (!is_default(entry), elsewhere, entry.prefix_bits)
                })
                .map(|entry| entry.addr)
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split_as_the_reference_does() {
        for (text, host, port) in [
            ("a", "a", None),
            ("a:1", "a", Some("1")),
            ("", "", None),
            (":5", "", Some("5")),
            ("a:", "a", Some("")),
            ("[::1]", "::1", None),
            ("[::1]:5", "::1", Some("5")),
            ("::1", "::1", None),
            ("fe80::1%lo", "fe80::1%lo", None),
            ("[fe80::1%lo]:5", "fe80::1%lo", Some("5")),
        ] {
            assert_eq!(split_host_port(text), Ok((host, port)), "{text}");
        }
        for (text, why) in [
            ("[::1", "address [::1: missing ']' in address"),
            ("foo:bar:1", "address foo:bar:1: too many colons in address"),
            ("[::1]x", "address [::1]x: missing port in address"),
        ] {
            assert_eq!(split_host_port(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn bad_ports_are_named() {
        for (port, expected) in [
            ("99999", Err("address 99999: invalid port")),
            ("-1", Err("address -1: invalid port")),
            ("abc", Err("lookup tcp/abc: unknown port")),
            ("7", Ok(7)),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(parse_port(port, "lookup"), expected);
        }
    }

    #[test]
    fn literals_and_local_names_resolve() {
        assert_eq!(
            resolve("[::1]", 7).unwrap(),
            "[::1]:7".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(resolve(":9", 7).unwrap().to_string(), "0.0.0.0:9");
        for (mapped, plain) in [
            ("::ffff:127.0.0.2", "127.0.0.2:7"),
            ("[::ffff:127.0.0.2]:9", "127.0.0.2:9"),
            ("[::ffff:0.0.0.0]", "0.0.0.0:7"),
        ] {
            assert_eq!(resolve(mapped, 7).unwrap().to_string(), plain);
        }
        assert_eq!(resolve("localhost", 7).unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(
            resolve("localhost:x", 7).unwrap_err(),
            "address tcp/x: unknown port"
        );
    }

    #[test]
    fn a_zone_names_the_network_of_a_link_local_address() {
        let lo = sys::interface_index("lo").unwrap();
        for text in ["[fe80::1%lo]:9".to_owned(), format!("[fe80::1%{lo}]:9")] {
            let addr = resolve(&text, 7).unwrap();
            assert_eq!((addr.port(), zone_of(addr)), (9, lo), "{text}");
            let plain: SocketAddr = "[fe80::1]:9".parse().unwrap();
            assert_eq!(without_zone(addr, lo), plain);
            assert_eq!(without_zone(addr, lo + 1), addr);
            assert_eq!(in_zone(plain, lo), addr);
        }
        assert_eq!(resolve("::1%lo", 7), Ok("[::1]:7".parse().unwrap()));
        let why = "address fe80::1%nope: no such network interface";
        assert_eq!(resolve("fe80::1%nope", 7), Err(why.to_owned()));
        assert_eq!(zoned("a%b"), Ok(None));
        let other: SocketAddr = "[fd00::1]:9".parse().unwrap();
        assert_eq!(in_zone(other, lo), other);
    }

    #[test]
    fn hosts_have_neither_wildcards_nor_addresses_of_many() {
        let of_one = |text: &str| is_of_one_host(text.parse().unwrap());
        for text in ["127.0.0.1", "192.0.2.255", "240.0.0.1", "::1", "fe80::1"] {
            assert!(of_one(text), "{text}");
        }
        for text in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(!of_one(text), "{text}");
        }
    }

    #[test]
    fn interfaces_are_checked() {
        let lo: IpAddr = "127.0.0.1".parse().unwrap();
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        assert_eq!(interface_address("lo", any), Ok(lo));
        assert_eq!(check_interface("lo", lo), Ok(()));
        assert_eq!(
            check_interface("lo", "192.0.2.77".parse().unwrap()),
            Err("Interface 'lo' has no '192.0.2.77' address".into())
        );
        assert_eq!(
            interface_address("nope0", any),
            Err("Invalid network interface: route ip+net: no such network interface".into())
        );
    }

    fn entry(name: &str, addr: &str, up: bool) -> InterfaceAddress {
        let (addr, bits) = addr.split_once('/').unwrap();
        InterfaceAddress {
            name: name.into(),
            addr: addr.parse().unwrap(),
            prefix_bits: bits.parse().unwrap(),
            up,
        }
    }

    /// Returns the advertised address for these kernel sources, on a port for both families.
    fn chosen(all: &[InterfaceAddress], v4: &str, v6: &str) -> Option<String> {
        let sources = [v4.parse().ok(), v6.parse().ok()];
        choose_advertised(all, sources, true).map(|addr| addr.to_string())
    }

    #[test]
    fn a_private_address_is_advertised() {
        let all = [
            entry("lo", "127.0.0.1/8", true),
            entry("d0", "203.0.113.5/24", true),
            entry("d1", "fd00::7/64", true),
            entry("d1", "100.64.0.3/10", true),
            entry("d4", "10.1.1.1/8", false),
        ];
        let choose = |count: usize| chosen(&all[..count], "", "");
        assert_eq!(choose(2), None);
        assert_eq!(choose(3).as_deref(), Some("fd00::7"));
        assert_eq!(choose(4).as_deref(), Some("100.64.0.3"));
        assert_eq!(choose(5).as_deref(), Some("100.64.0.3"));
        // IPv6 is not advertised for a port that IPv6 peers cannot reach.
        assert_eq!(choose_advertised(&all[..3], [None; 2], false), None);
    }

    #[test]
    fn the_address_that_the_kernel_sends_from_is_advertised() {
        let all = [
            entry("d0", "192.168.1.10/24", true),
            entry("d1", "10.0.0.5/8", true),
            entry("d2", "203.0.113.5/24", true),
            entry("d2", "10.9.0.1/24", true),
            entry("d2", "fd00::7/64", true),
            entry("d2", "fd00::8/64", true),
        ];
        for (v4, v6, expected) in [
            ("192.168.1.10", "", "192.168.1.10"),
            ("10.0.0.5", "fd00::8", "10.0.0.5"),
            // A public address is not advertised; a private one of the same interface is.
            ("203.0.113.5", "", "10.9.0.1"),
        ] {
            assert_eq!(chosen(&all, v4, v6).as_deref(), Some(expected), "{v4}");
        }
        assert_eq!(chosen(&all[4..], "", "fd00::8").as_deref(), Some("fd00::8"));
    }

    #[test]
    fn without_a_default_route_the_hosts_own_address_is_advertised() {
        // The larger network wins in any order.
        let mut own = [
            entry("d0", "10.0.0.5/32", true),
            entry("d0", "10.0.0.50/24", true),
        ];
        assert_eq!(chosen(&own, "", "").as_deref(), Some("10.0.0.50"));
        own.reverse();
        assert_eq!(chosen(&own, "", "").as_deref(), Some("10.0.0.50"));
        // Among networks of equal size, the first in the kernel's order wins.
        let two = [
            entry("d0", "192.168.1.10/24", true),
            entry("d1", "10.0.0.5/24", true),
        ];
        assert_eq!(chosen(&two, "", "").as_deref(), Some("192.168.1.10"));
    }
}
