//! Simulated hosts: each is a network namespace, connected to a bridge in a further one.

use crate::live::namespace::Network;

/// Treatment of incoming packets.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// All are dropped.
    Dropped,
    /// All but TCP are dropped.
    DatagramsDropped,
    /// This percentage is dropped.
    Lost(u8),
    /// This percentage is dropped, but no TCP.
    DatagramsLost(u8),
}

/// Hosts on one bridge, with the addresses 10.77.0.1 and so on.
pub struct World {
    hosts: Vec<Network>,
    _hub: Network,
}

impl World {
    pub fn new(size: usize) -> Result<World, String> {
        let hub = Network::new()?;
        hub.call(&["ip", "link", "add", "bridge", "type", "bridge"])?;
        hub.call(&["ip", "link", "set", "bridge", "up"])?;
        let mut hosts = Vec::new();
        for index in 0..size {
            let host = Network::new()?;
            let (port, id) = (format!("port{index}"), host.id());
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &id];
            hub.call(&[&["ip", "link", "add", &port][..], &peer].concat())?;
            hub.call(&["ip", "link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", World::ip(index));
            host.call(&["ip", "address", "add", &address, "dev", "eth0"])?;
            host.call(&["ip", "link", "set", "eth0", "up"])?;
            host.call(&["ip", "link", "set", "lo", "up"])?;
            host.call(&["nft", "add", "table", "inet", "cut"])?;
            let hook = "{ type filter hook input priority 0 ; }";
            host.call(&["nft", "add", "chain", "inet", "cut", "in", hook])?;
            hosts.push(host);
        }
        Ok(World { hosts, _hub: hub })
    }

    /// Returns the address of a host.
    pub fn ip(index: usize) -> std::net::IpAddr {
        [10, 77, 0, index as u8 + 1].into()
    }

    /// Returns the launcher that runs a program on a host.
    pub fn wrapper(&self, index: usize) -> Vec<String> {
        self.hosts[index].wrapper()
    }

    /// Sets the treatment of packets that `host` receives from the other hosts.
    pub fn cut(&self, host: usize, from: &[usize], fate: Fate) {
        let from: Vec<String> = from.iter().map(|i| World::ip(*i).to_string()).collect();
        let sources = format!("{{ {} }}", from.join(", "));
        let rule = ["nft", "add", "rule", "inet", "cut", "in", "ip", "saddr"];
        let percent;
        let fate = match fate {
            Fate::Dropped => vec!["drop"],
            Fate::DatagramsDropped => vec!["meta", "l4proto", "udp", "drop"],
            Fate::Lost(of_hundred) => {
                percent = of_hundred.to_string();
                vec!["numgen", "random", "mod", "100", "<", &percent, "drop"]
            }
            Fate::DatagramsLost(of_hundred) => {
                percent = of_hundred.to_string();
                let random = ["numgen", "random", "mod", "100", "<", &percent, "drop"];
                [&["meta", "l4proto", "udp"][..], &random].concat()
            }
        };
        let line = [&rule[..], &[&sources], &fate].concat();
        self.hosts[host].call(&line).expect("a rule");
    }

    /// Removes all restrictions.
    pub fn heal(&self) {
        for host in &self.hosts {
            host.call(&["nft", "flush", "chain", "inet", "cut", "in"])
                .expect("no rules");
        }
    }
}
