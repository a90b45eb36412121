//! Hosts of the test's own: a network namespace each, on a bridge in yet another one. Each namespace
//! lives as long as a child of the test and has no name, so nothing is left behind, however the test
//! ends, and no packet leaves it.

use crate::live::{Process, eventually, run};
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// A namespace, held by a process that waits for the end of its input.
struct Namespace(Process);

impl Namespace {
    fn new() -> Result<Namespace, String> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut holder = Process::spawn(&mut command).map_err(|why| format!("unshare: {why}"))?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let ours = std::fs::read_link("/proc/self/ns/net").map_err(|why| why.to_string())?;
        eventually(10.0, "a network namespace", || {
            if holder.status().is_some() {
                return Ok(Err("no right to make network namespaces".to_owned()));
            }
            match std::fs::read_link(&path) {
                Ok(theirs) if theirs != ours => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(Namespace(holder))
    }

    fn wrapper(&self) -> Vec<String> {
        let id = self.0.id().to_string();
        ["nsenter", "-t", &id, "-n"].map(str::to_owned).to_vec()
    }

    fn run(&self, line: &[&str]) -> Result<(), String> {
        let wrapper = self.wrapper();
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).args(line);
        let ended = run(&mut command, Duration::from_secs(20))?;
        if ended.code == 0 {
            Ok(())
        } else {
            Err(format!("{}: {}", line.join(" "), ended.stderr.trim()))
        }
    }
}

/// Some hosts on one bridge, 10.77.0.1 and so on.
pub struct World {
    hosts: Vec<Namespace>,
    _hub: Namespace,
}

impl World {
    pub fn new(size: usize) -> Result<World, String> {
        let hub = Namespace::new()?;
        hub.run(&["ip", "link", "add", "bridge", "type", "bridge"])?;
        hub.run(&["ip", "link", "set", "bridge", "up"])?;
        let mut hosts = Vec::new();
        for index in 0..size {
            let host = Namespace::new()?;
            let (port, id) = (format!("port{index}"), host.0.id().to_string());
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &id];
            hub.run(&[&["ip", "link", "add", &port][..], &peer].concat())?;
            hub.run(&["ip", "link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", World::ip(index));
            host.run(&["ip", "address", "add", &address, "dev", "eth0"])?;
            host.run(&["ip", "link", "set", "eth0", "up"])?;
            host.run(&["ip", "link", "set", "lo", "up"])?;
            host.run(&["nft", "add", "table", "inet", "cut"])?;
            let hook = "{ type filter hook input priority 0 ; }";
            host.run(&["nft", "add", "chain", "inet", "cut", "in", hook])?;
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
        self.hosts[host].run(&line).expect("a rule");
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        for host in &self.hosts {
            host.run(&["nft", "flush", "chain", "inet", "cut", "in"])
                .expect("no rules");
        }
    }
}
