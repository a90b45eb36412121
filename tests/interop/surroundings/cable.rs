//! Two hosts connected by a cable.

use std::ops::Deref;

use crate::live::eventually;
use crate::live::namespace::Network;

/// Hosts with interfaces v0: one has 10.99.0.1 and fd99::1, the other .2 and ::2.
pub struct Pair([Network; 2]);

impl Deref for Pair {
    type Target = [Network; 2];

    fn deref(&self) -> &[Network; 2] {
        &self.0
    }
}

fn host() -> Network {
    let host = Network::new().unwrap();
    ip(&host, "link set lo up");
    host
}

/// Runs `ip` on a host.
#[track_caller]
fn ip(host: &Network, line: &str) {
    let words: Vec<&str> = ["ip"].into_iter().chain(line.split(' ')).collect();
    host.call(&words).unwrap();
}

impl Pair {
    pub fn new() -> Pair {
        let pair = [host(), host()];
        let other = pair[1].id();
        let line = format!("link add v0 type veth peer name v0 netns {other}");
        ip(&pair[0], &line);
        for (number, host) in (1..).zip(&pair) {
            ip(host, "link set v0 up");
            ip(host, &format!("addr add 10.99.0.{number}/24 dev v0"));
            ip(host, &format!("-6 addr add fd99::{number}/64 dev v0 nodad"));
            ip(host, "route add 224.0.0.0/4 dev v0");
        }
        for host in &pair {
            eventually(15.0, "an address on the link", || {
                let shown = host.output(&["ip", "-6", "addr", "show", "dev", "v0"])?;
                match shown.contains("fe80::") && !shown.contains("tentative") {
                    true => Ok(()),
                    false => Err(shown),
                }
            });
        }
        Pair(pair)
    }

    /// Returns one of the hosts, whose cable is not connected.
    pub fn only_one() -> Network {
        let Pair([one, _]) = Pair::new();
        one
    }
}
