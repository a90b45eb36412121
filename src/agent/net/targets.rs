//! Join addresses: their syntax, and the results of joining a list of them (agent spec 4.9, gossip spec
//! 4.12).

use std::net::{IpAddr, SocketAddr};

use super::addr::{split_host_port, zoned};
use super::lookup::Answer;
use crate::go;
use crate::ordered::sort_by;
use crate::serf::JoinTarget;
use crate::wire::NodeName;

/// A parsed join address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: Option<NodeName>,
    host: String,
    port: u16,
}

/// A list of join addresses with their targets and failures.
#[derive(Clone, Debug)]
pub struct Attempt {
    addresses: Vec<String>,
    places: Vec<(usize, Place)>,
    /// Failures with the index of their address.
    failures: Vec<(usize, String)>,
    targets: Vec<(usize, JoinTarget)>,
}

impl Attempt {
    /// Parses addresses; those without a port get `default_port`.
    ///
    /// A zone must be that of the gossip sockets, because members are known without it.
    pub fn new(addresses: Vec<String>, default_port: u16, zone: u32) -> Self {
        let mut attempt = Attempt {
            places: Vec::new(),
            failures: Vec::new(),
            targets: Vec::new(),
            addresses,
        };
        for (index, address) in attempt.addresses.iter().enumerate() {
            match parse(address, default_port, zone) {
                Ok(place) => attempt.places.push((index, place)),
                Err(why) => {
                    let failure = failed_to_resolve(address, &why);
                    attempt.failures.push((index, failure));
                }
            }
        }
        attempt
    }

    /// Returns the distinct hosts that must be resolved.
    pub fn unknown_hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for (_, place) in &self.places {
            if place.host.parse::<IpAddr>().is_err() && !hosts.contains(&place.host) {
                hosts.push(place.host.clone());
            }
        }
        hosts
    }

    /// Returns the targets that need no name lookup.
    pub fn targets(&mut self) -> Vec<JoinTarget> {
        self.take_places(|host| host.parse().ok().map(|ip: IpAddr| Ok(vec![ip])))
    }

    /// Returns the targets for a host that was resolved.
    pub fn targets_at(&mut self, host: &str, answer: &Answer) -> Vec<JoinTarget> {
        self.take_places(|other| (other == host).then(|| answer.clone()))
    }

    fn take_places(&mut self, known: impl Fn(&str) -> Option<Answer>) -> Vec<JoinTarget> {
        let before = self.targets.len();
        for (index, place) in std::mem::take(&mut self.places) {
            let Some(answer) = known(&place.host) else {
                self.places.push((index, place));
                continue;
            };
            match answer {
                Ok(ips) => self.targets.extend(ips.into_iter().map(|ip| {
                    let target = JoinTarget {
                        name: place.name.clone(),
                        addr: SocketAddr::new(ip, place.port),
                    };
                    (index, target)
                })),
                Err(why) => {
                    let address = self.addresses.get(index).map_or("", String::as_str);
                    let failure = failed_to_resolve(address, &why);
                    self.failures.push((index, failure));
                }
            }
        }
        let new = self.targets.get(before..).unwrap_or_default();
        new.iter().map(|(_, target)| target.clone()).collect()
    }

    /// Returns all failures in the order of the addresses; the texts are the reference's.
    pub fn failures(mut self, of_targets: &[(JoinTarget, String)]) -> Vec<String> {
        for (target, why) in of_targets {
            let known = self.targets.iter().position(|(_, known)| known == target);
            let index = known.map_or(self.addresses.len(), |at| self.targets.remove(at).0);
            let failure = join_failure(&target.addr, why);
            self.failures.push((index, failure));
        }
        sort_by(&mut self.failures, |(a, _), (b, _)| a.cmp(b));
        self.failures.into_iter().map(|(_, why)| why).collect()
    }
}

/// Returns the error for a node that was not joined. It has the port, as in newer versions of the reference:
/// the reason may not mention it, and one host may have several nodes.
pub fn join_failure(addr: &SocketAddr, why: &str) -> String {
    format!("Failed to join {addr}: {why}")
}

/// Logs a failed lookup like the reference, and returns the text.
fn failed_to_resolve(address: &str, why: &str) -> String {
    let text = format!("Failed to resolve {address}: {why}");
    log::warn!(target: "memberlist", "{text}");
    text
}

/// Returns the result of a join for logs and callers: the number of nodes contacted, or all errors in one
/// text.
///
/// # Errors
/// If no node was contacted and there was a failure.
pub fn verdict(contacted: usize, failures: &[String]) -> Result<usize, String> {
    if contacted == 0 && !failures.is_empty() {
        return Err(go::errors_occurred(failures));
    }
    Ok(contacted)
}

/// Returns whether a join address has a port.
fn has_port(address: &str) -> bool {
    if address.starts_with('[') {
        return match (address.rfind(':'), address.rfind(']')) {
            (Some(colon), Some(bracket)) => colon > bracket,
            _ => false,
        };
    }
    address.bytes().filter(|&byte| byte == b':').count() == 1
}

/// Returns the address with a port and, for IPv6, with brackets.
fn with_port(address: &str, default_port: u16) -> String {
    if has_port(address) {
        return address.to_owned();
    }
    let bare = address.strip_prefix('[').unwrap_or(address);
    let bare = bare.strip_suffix(']').unwrap_or(bare);
    if bare.contains(':') {
        format!("[{bare}]:{default_port}")
    } else {
        format!("{bare}:{default_port}")
    }
}

fn parse(address: &str, default_port: u16, zone: u32) -> Result<Place, String> {
    let (name, rest) = match address.split_once('/') {
        Some(("", _)) => return Err("empty node name provided".to_owned()),
        Some((name, rest)) => (Some(name), rest),
        None => (None, address),
    };
    let full = with_port(rest, default_port);
    let (host, port) = split_host_port(&full)?;
    let port = port.unwrap_or_default();
    let port = port.parse::<u16>().map_err(|_| {
        let number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let why = if number {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!(
            "strconv.ParseUint: parsing {}: {why}",
            go::quote(port.as_bytes())
        )
    })?;
    let host = match zoned(host)? {
        Some((_, other)) if other != 0 && other != zone => {
            return Err(format!(
                "address {host}: gossip is not bound to a link-local address of that interface"
            ));
        }
        Some((ip, _)) => ip.to_string(),
        None => host.to_owned(),
    };
    Ok(Place {
        // The name is only a label; invalid ones are dropped.
        name: name.and_then(|name| NodeName::new(name.as_bytes()).ok()),
        host,
        port,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn default_ports_are_added_as_the_vectors_say() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/gossip-vectors.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let table = find(&all, "joinAddressDefaultPort").expect("the table");
        let rows = table.as_array().unwrap();
        assert!(rows.len() >= 10);
        for row in rows {
            let input = row["input"].as_str().unwrap();
            assert_eq!(
                has_port(input),
                row["hasPort"].as_bool().unwrap(),
                "{input}"
            );
            assert_eq!(
                with_port(input, 7946),
                row["withDefault7946"].as_str().unwrap()
            );
        }
    }

    fn find<'a>(value: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
        match value {
            serde_json::Value::Object(map) => map
                .get(key)
                .or_else(|| map.values().find_map(|inner| find(inner, key))),
            _ => None,
        }
    }

    fn attempt(addresses: &[&str]) -> Attempt {
        Attempt::new(
            addresses.iter().map(|&text| text.to_owned()).collect(),
            7000,
            1,
        )
    }

    #[test]
    fn a_zone_is_that_of_the_socket() {
        // The loopback interface has index 1.
        let addresses = ["fe80::1%lo", "[fe80::1%1]:5", "fe80::1%9", "::1%9"];
        let mut attempt = attempt(&addresses);
        let targets = attempt.targets();
        let shown: Vec<_> = targets.iter().map(|t| t.addr.to_string()).collect();
        assert_eq!(shown, ["[fe80::1]:7000", "[fe80::1]:5", "[::1]:7000"]);
        assert_eq!(
            attempt.failures(&[]),
            [
                "Failed to resolve fe80::1%9: address fe80::1%9: gossip is not bound to a \
                 link-local address of that interface"
            ]
        );
    }

    #[test]
    fn addresses_become_targets() {
        let mut attempt = attempt(&["x/127.0.0.1", "host:5", "::1", "[::1]:9", "host:6"]);
        assert_eq!(attempt.unknown_hosts(), ["host"]);
        let ips = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let targets = attempt.targets();
        let shown = |targets: &[JoinTarget]| {
            let shown = targets.iter().map(|target| target.addr.to_string());
            shown.collect::<Vec<_>>()
        };
        let known = ["127.0.0.1:7000", "[::1]:7000", "[::1]:9"];
        assert_eq!(shown(&targets), known);
        // Targets for both addresses with this host, once it is resolved.
        assert_eq!(
            shown(&attempt.targets_at("host", &Ok(ips))),
            ["10.0.0.1:5", "10.0.0.2:5", "10.0.0.1:6", "10.0.0.2:6"]
        );
        assert_eq!(attempt.targets().len(), 0);
        assert_eq!(targets[0].name.as_ref().unwrap().as_bytes(), b"x");
    }

    #[test]
    fn failures_keep_the_order_of_the_addresses() {
        let mut attempt = attempt(&["127.0.0.1:1", "nohost", "/x", "1.2.3.4:abc", "127.0.0.1:2"]);
        let why = "lookup nohost: no such host".to_owned();
        let targets = attempt.targets();
        assert_eq!(attempt.targets_at("nohost", &Err(why)), []);
        let refused = "dial tcp 127.0.0.1:1: connect: connection refused".to_owned();
        let failures = attempt.failures(&[
            (targets[0].clone(), refused.clone()),
            (targets[1].clone(), refused),
        ]);
        assert_eq!(
            failures,
            [
                "Failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
                "Failed to resolve nohost: lookup nohost: no such host",
                "Failed to resolve /x: empty node name provided",
                "Failed to resolve 1.2.3.4:abc: strconv.ParseUint: parsing \"abc\": invalid syntax",
                "Failed to join 127.0.0.1:2: dial tcp 127.0.0.1:1: connect: connection refused",
            ]
        );
        assert_eq!(verdict(1, &failures), Ok(1));
        assert_eq!(verdict(0, &[]), Ok(0));
        assert!(
            verdict(0, &failures)
                .unwrap_err()
                .starts_with("5 errors occurred:\n\t* ")
        );
    }
}
