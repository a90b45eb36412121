//! The networks that gossip is confined to. Not authentication: source addresses of datagrams can be forged.

use std::net::{IpAddr, SocketAddr};

use super::Swim;
use crate::wire::NodeName;

/// An IP network. An IPv4 network is kept in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    mask: u128,
}

/// What all IPv4 addresses have in front in their IPv6-mapped form.
const MAPPED_PREFIX: u128 = 0xffff;
const IPV4_BITS: u32 = 32;

fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Network {
    /// Reads `ADDRESS/BITS`; an address alone is a network of one. Bits behind the prefix do not matter.
    /// `None` if the text is neither.
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

    /// The network of one address.
    pub fn of_one(ip: IpAddr) -> Self {
        let (base, mask) = (mapped(ip), u128::MAX);
        Network { base, mask }
    }

    fn is_ipv4(self) -> bool {
        self.mask >> IPV4_BITS == u128::MAX >> IPV4_BITS && self.base >> IPV4_BITS == MAPPED_PREFIX
    }

    /// Whether an address is in it. An IPv4 address and its IPv6-mapped form are the same, and in no
    /// network of IPv6, not even in `::/0`.
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = mapped(ip);
        ip & self.mask == self.base && self.is_ipv4() == (ip >> IPV4_BITS == MAPPED_PREFIX)
    }
}

impl Swim {
    /// Whether gossip may come from an address, and go there. This node's own may always.
    pub fn permits(&self, addr: SocketAddr) -> bool {
        let allowed = &self.allowed_networks;
        allowed.is_empty()
            || allowed.iter().any(|network| network.contains(addr.ip()))
            || mapped(addr.ip()) == mapped(self.local().addr.ip())
    }

    /// Drops what comes from a foreign address: whether that is the case.
    pub(super) fn refuse_sender(&mut self, what: &str, from: SocketAddr) -> bool {
        let refused = !self.permits(from);
        if refused {
            self.counters.foreign_in += 1;
            log::debug!(target: "memberlist", "Dropping a {what} from {from}: not in an allowed network");
        }
        refused
    }

    /// Drops what would go to a foreign address because a peer said so: whether that is the case.
    pub fn refuse_receiver(&mut self, to: SocketAddr) -> bool {
        let refused = !self.permits(to);
        if refused {
            self.counters.foreign_out += 1;
            log::debug!(target: "memberlist", "Sending nothing to {to}: not in an allowed network");
        }
        refused
    }

    /// Drops what is said about a node at a foreign address: whether that is the case.
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
