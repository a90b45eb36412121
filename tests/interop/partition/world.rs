//! Hosts of the test's own: a network namespace each, on a bridge in yet another one.

use crate::live::namespace::Network;

/// How packets of others are treated on their way in.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// None arrives.
    Dropped,
    /// Only TCP gets through.
    DatagramsDropped,
    /// So many of a hundred are lost.
    Lost(u8),
    /// So many of a hundred are lost, but of TCP none.
    DatagramsLost(u8),
}

/// Some hosts on one bridge, 10.77.0.1 and so on.
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

    /// The address of a host.
    pub fn ip(index: usize) -> std::net::IpAddr {
        [10, 77, 0, index as u8 + 1].into()
    }

    /// What runs a program on a host.
    pub fn wrapper(&self, index: usize) -> Vec<String> {
        self.hosts[index].wrapper()
    }

    /// Treats what `host` gets from the others in a new way.
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

    /// Lets everything through again.
    pub fn heal(&self) {
        for host in &self.hosts {
            host.call(&["nft", "flush", "chain", "inet", "cut", "in"])
                .expect("no rules");
        }
    }
}
