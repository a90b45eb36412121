//! Addresses in settings: `host[:port]`, interfaces, and the choice of the address to advertise
//! (agent spec 4.2, 4.4).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::lookup;
use super::sys::{self, InterfaceAddress};

/// The gossip port if none is given.
pub const DEFAULT_PORT: u16 = 7946;

/// Splits `host`, `host:port`, `[host]`, `[host]:port` or a bare IPv6 address.
///
/// # Errors
/// The reference's words.
pub fn split_host_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
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

/// Reads a port; an empty one is 0.
///
/// # Errors
/// The reference's words.
pub fn parse_port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("address tcp/{text}: unknown port"));
    }
    text.parse()
        .map_err(|_| format!("address {text}: invalid port"))
}

/// Resolves `host[:port]`, IPv4 preferred. Asks the system's resolver for names, and waits for it: only
/// before the agent runs. An empty host is every address.
///
/// # Errors
/// The reference's words.
pub fn resolve(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    let (host, port) = split_host_port(text)?;
    let port = port.map_or(Ok(default_port), parse_port)?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    let mut found = lookup::first(host)?;
    found.set_port(port);
    Ok(found)
}

/// The address of an interface that a wildcard bind address stands for.
///
/// # Errors
/// What to print.
pub fn interface_address(interface: &str, wildcard: IpAddr) -> Result<IpAddr, String> {
    let own = addresses_of(interface)?;
    own.iter()
        .map(|entry| entry.addr)
        .filter(|addr| addr.is_ipv4() == wildcard.is_ipv4())
        .find(|addr| !is_link_local(*addr))
        .ok_or_else(|| format!("Failed to find usable address for interface '{interface}'"))
}

/// Checks that an interface has an address.
///
/// # Errors
/// What to print.
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

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// What the reference takes for private: it never advertises a public address unless it is told to.
fn is_private(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

/// The address that others are told when the bind address is a wildcard.
///
/// A private IPv4 address of an interface that is up; those of the interface with the default route
/// first, then the lowest. Only for an IPv6 wildcard also a unique local IPv6 address.
///
/// # Errors
/// The reference's words, if there is none.
pub fn advertised_for(wildcard: IpAddr) -> Result<IpAddr, String> {
    let all = sys::interface_addresses().map_err(|error| error.to_string())?;
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    choose_advertised(wildcard, &all, &default_interfaces(&routes))
        .ok_or_else(|| "No private IP address found, and explicit IP not provided".to_owned())
}

/// The wildcard to listen on for the one that was asked for.
///
/// The reference's IPv4 wildcard takes IPv6 as well. Ours does where it has to: on a host whose only
/// private address is an IPv6 one, so that what is advertised there can be reached.
pub fn wildcard_for(bind: SocketAddr) -> SocketAddr {
    let all = sys::interface_addresses().unwrap_or_default();
    SocketAddr::new(choose_wildcard(bind.ip(), &all), bind.port())
}

fn choose_wildcard(asked: IpAddr, all: &[InterfaceAddress]) -> IpAddr {
    let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let is_private_on = |wildcard| choose_advertised(wildcard, all, &[]).is_some();
    if asked == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && !is_private_on(asked) && is_private_on(any_v6)
    {
        any_v6
    } else {
        asked
    }
}

fn choose_advertised(
    wildcard: IpAddr,
    all: &[InterfaceAddress],
    default_interfaces: &[&str],
) -> Option<IpAddr> {
    all.iter()
        .filter(|entry| entry.up && is_private(entry.addr))
        .filter(|entry| entry.addr.is_ipv4() || wildcard.is_ipv6())
        .min_by_key(|entry| {
            let on_default_route = default_interfaces.contains(&entry.name.as_str());
            (entry.addr.is_ipv6(), !on_default_route, entry.addr)
        })
        .map(|entry| entry.addr)
}

/// The interfaces with a default route, from the kernel's IPv4 table.
fn default_interfaces(routes: &str) -> Vec<&str> {
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let interface = fields.next()?;
            (fields.next()? == "00000000").then_some(interface)
        })
        .collect()
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
        assert_eq!(
            parse_port("99999"),
            Err("address 99999: invalid port".into())
        );
        assert_eq!(parse_port("-1"), Err("address -1: invalid port".into()));
        assert_eq!(
            parse_port("abc"),
            Err("address tcp/abc: unknown port".into())
        );
        assert_eq!(parse_port("7"), Ok(7));
    }

    #[test]
    fn literals_and_local_names_resolve() {
        assert_eq!(
            resolve("[::1]", 7).unwrap(),
            "[::1]:7".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(resolve(":9", 7).unwrap().to_string(), "0.0.0.0:9");
        assert_eq!(resolve("localhost", 7).unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(
            resolve("localhost:x", 7).unwrap_err(),
            "address tcp/x: unknown port"
        );
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

    #[test]
    fn a_private_address_is_advertised() {
        let entry = |name: &str, addr: &str, up| InterfaceAddress {
            name: name.into(),
            addr: addr.parse().unwrap(),
            up,
        };
        let all = [
            entry("lo", "127.0.0.1", true),
            entry("d0", "203.0.113.5", true),
            entry("d1", "fd00::7", true),
            entry("d1", "100.64.0.3", true),
            entry("d2", "192.168.7.1", true),
            entry("d3", "10.3.1.1", true),
            entry("d4", "10.1.1.1", false),
        ];
        let v4 = "0.0.0.0".parse().unwrap();
        let v6 = "::".parse().unwrap();
        let choose = |wildcard, count: usize, default: &[&str]| {
            choose_advertised(wildcard, &all[..count], default).map(|addr| addr.to_string())
        };
        assert_eq!(choose(v4, 3, &[]), None);
        assert_eq!(choose(v6, 3, &[]).as_deref(), Some("fd00::7"));
        assert_eq!(choose(v6, 4, &[]).as_deref(), Some("100.64.0.3"));
        assert_eq!(choose(v4, 7, &["d0"]).as_deref(), Some("10.3.1.1"));
        assert_eq!(choose(v4, 7, &["d2"]).as_deref(), Some("192.168.7.1"));
        // Only without a private IPv4 address does the IPv4 wildcard become the one for both.
        assert_eq!(choose_wildcard(v4, &all[..2]), v4);
        assert_eq!(choose_wildcard(v4, &all[..3]), v6);
        assert_eq!(choose_wildcard(v4, &all[..4]), v4);
        let bound = "203.0.113.5".parse().unwrap();
        assert_eq!(choose_wildcard(bound, &all[..3]), bound);
        let routes = "Iface\tDestination\tGateway\nd0\t00000000\t0171CB\nd2\t000200C0\t0\n";
        assert_eq!(default_interfaces(routes), ["d0"]);
    }
}
