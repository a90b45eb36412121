//! The networks that gossip is restricted to. This is not authentication: source addresses of datagrams can
//! be forged.

use std::net::{IpAddr, SocketAddr};

use super::Swim;
use crate::wire::NodeName;

/// An IP network. IPv4 networks are stored in IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    mask: u128,
}

/// Upper 96 bits of every IPv6-mapped IPv4 address.
const MAPPED_PREFIX: u128 = 0xffff;
const IPV4_BITS: u32 = 32;

fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Network {
    /// Parses `ADDRESS/BITS`; a bare address is a network of one address. Address bits after the prefix are
    /// ignored. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => (ip, Some(bits)),
            Some(_) => return None,
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let all = if ip.is_ipv4() { IPV4_BITS } else { u128::BITS };
        let bits = bits.map_or(Ok(all), str::parse).ok()?;
        let zeros = all.checked_sub(bits)?;
        let mask = u128::MAX.checked_shl(zeros).unwrap_or(0);
        let base = mapped(ip) & mask;
        Some(Network { base, mask })
    }

    /// Returns the network of a single address.
    pub fn of_one(ip: IpAddr) -> Self {
        let (base, mask) = (mapped(ip), u128::MAX);
        Network { base, mask }
    }

    fn is_ipv4(self) -> bool {
        self.mask >> IPV4_BITS == u128::MAX >> IPV4_BITS && self.base >> IPV4_BITS == MAPPED_PREFIX
    }

    /// Whether the network contains an address. An IPv4 address and its IPv6-mapped form are equal, and
    /// neither is in an IPv6 network, not even `::/0`.
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = mapped(ip);
        ip & self.mask == self.base && self.is_ipv4() == (ip >> IPV4_BITS == MAPPED_PREFIX)
    }
}

impl Swim {
    /// Whether gossip with this address is allowed. This node's own address always is.
    pub fn permits(&self, addr: SocketAddr) -> bool {
        let allowed = &self.allowed_networks;
        allowed.is_empty()
            || allowed.iter().any(|network| network.contains(addr.ip()))
            || mapped(addr.ip()) == mapped(self.local().addr.ip())
    }

    /// Returns whether to drop input from a sender outside the allowed networks; counts and logs the drop.
    pub(super) fn refuse_sender(&mut self, what: &str, from: SocketAddr) -> bool {
        let refused = !self.permits(from);
        if refused {
            self.counters.foreign_in += 1;
            log::debug!(target: "memberlist", "Dropping a {what} from {from}: not in an allowed network");
        }
        refused
    }

    /// Returns whether to drop output to an address outside the allowed networks that a peer named; counts
    /// and logs the drop.
    pub fn refuse_receiver(&mut self, to: SocketAddr) -> bool {
        let refused = !self.permits(to);
        if refused {
            self.counters.foreign_out += 1;
            log::debug!(target: "memberlist", "Not sending to {to}: not in an allowed network");
        }
        refused
    }

    /// Returns whether to ignore a claim about a node outside the allowed networks; counts and logs it.
    pub(super) fn refuse_subject(&mut self, node: &NodeName, addr: SocketAddr) -> bool {
        let refused = !self.permits(addr);
        if refused {
            self.counters.foreign_nodes += 1;
            log::debug!(target: "memberlist", "Ignoring node {node}: {addr} is not in an allowed network");
        }
        refused
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        let network = Network::parse(network).unwrap();
        network.contains(ip.parse().unwrap())
    }

    #[test]
    fn addresses_are_compared_unmapped_and_by_family() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0", "::a00:1"),
            ("10.77.1.2/8", "10.1.1.1", "192.0.2.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("::ffff:0:0/96", "192.0.2.1", "::1"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::/0", "::1", "::ffff:192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("fe80::1/128", "fe80::1", "fe80::2"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
        let one = Network::of_one("192.0.2.1".parse().unwrap());
        assert_eq!(Some(one), Network::parse("::ffff:192.0.2.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.0/255.0.0.0",
            "::/129",
            "::/99999999999",
            "[::1]",
            "localhost",
            "10.0.0.1:7946",
            " 10.0.0.0/8",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
