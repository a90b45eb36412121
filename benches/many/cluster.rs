//! The agents, and the requests to them.

use crate::live::{Kind, Process};
use crate::proc;
use crate::rpc::Client;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Addresses are generated for at most this many agents.
pub const AGENTS_MAX: usize = 50_000;
/// Number of agents that all others join.
const FIRST_ONES: usize = 3;
const GOSSIP_PORT: u16 = 7946;
const RPC_PORT: u16 = 7373;
/// Timeout for an agent to accept a client, or to answer one.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two rounds of requests, as a multiple of a round's duration: requests are a load, too.
const PAUSE: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Interval at which the progress is printed.
const REPORT: Duration = Duration::from_secs(10);
const EVENT_LIMIT: Duration = Duration::from_secs(60);

pub struct Cluster {
    processes: Vec<Process>,
    clients: Vec<Client>,
    folder: TempDir,
}

/// Each agent has a separate address, as on separate machines.
fn address(index: usize, port: u16) -> SocketAddr {
    let [high, low] = (index as u16).to_be_bytes();
    SocketAddr::from((
        Ipv4Addr::new(127, 1 + high, 1 + low / 128, 1 + low % 128),
        port,
    ))
}

impl Cluster {
    /// Starts agents one after another, without waiting for any of them.
    pub fn start(agents: usize) -> Result<Cluster, String> {
        let folder = tempfile::Builder::new().prefix("cottar-many-").tempdir();
        let mut cluster = Cluster {
            processes: Vec::new(),
            clients: Vec::new(),
            folder: folder.map_err(|why| why.to_string())?,
        };
        for index in 0..agents {
            let process = cluster.launch(index);
            let process = process.map_err(|why| format!("agent {index}: {why}"))?;
            cluster.processes.push(process);
        }
        Ok(cluster)
    }

    fn log_file(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(format!("a{index}.log"))
    }

    /// Returns the end of an agent's output.
    fn log(&self, index: usize) -> String {
        let text = std::fs::read(self.log_file(index)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        format!("\n--- agent {index}\n{}", last.join("\n"))
    }

    fn launch(&self, index: usize) -> Result<Process, String> {
        let words = |why: std::io::Error| why.to_string();
        let log = File::create(self.log_file(index)).map_err(words)?;
        let mut command = Command::new(Kind::Cottar.program());
        command
            .arg("agent")
            .arg(format!("-node=a{index}"))
            .arg(format!("-bind={}", address(index, GOSSIP_PORT)))
            .arg(format!("-rpc-addr={}", address(index, RPC_PORT)))
            .args(["-log-level=warn", "-retry-interval=5s"]);
        for first in (0..FIRST_ONES).filter(|first| *first < index) {
            command.arg(format!("-retry-join={}", address(first, GOSSIP_PORT)));
        }
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(words)?)
            .stdout(log);
        Process::spawn(&mut command).map_err(words)
    }

    /// Connects to each agent as a client.
    fn connect(&mut self) -> Result<(), String> {
        for index in 0..self.processes.len() {
            let client = self.connect_to(index);
            let client =
                client.map_err(|why| format!("agent {index}: {why}{}", self.log(index)))?;
            self.clients.push(client);
        }
        Ok(())
    }

    fn connect_to(&self, index: usize) -> Result<Client, String> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.processes[index].status() {
                return Err(format!("ended by {status}"));
            }
            let connected = Client::connect(address(index, RPC_PORT)).and_then(|client| {
                client.read_timeout(ANSWER_LIMIT)?;
                Ok(client)
            });
            match connected {
                Ok(client) => return Ok(client),
                Err(why) if started.elapsed() > ANSWER_LIMIT => return Err(why.to_string()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Waits until each agent knows all of them as alive; returns for each the time since `start`, the
    /// slowest last.
    pub fn await_agreement(
        &mut self,
        start: Instant,
        limit: Duration,
    ) -> Result<Vec<Duration>, String> {
        self.connect()?;
        let agents = self.processes.len();
        let mut behind: Vec<usize> = (0..agents).collect();
        let mut times = Vec::new();
        let mut reported = Instant::now();
        loop {
            let round = Instant::now();
            let (mut known, mut failed) = (agents, 0);
            let mut left = Vec::new();
            for index in behind {
                let (members, dead) = self.counts(index)?;
                if members == agents && dead == 0 {
                    times.push(start.elapsed());
                } else {
                    left.push(index);
                }
                known = known.min(members);
                failed = failed.max(dead);
            }
            behind = left;
            let Some(&last) = behind.first() else {
                return Ok(times);
            };
            let elapsed = start.elapsed().as_secs_f64();
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                println!(
                    "    after {elapsed:.0} s {} of {agents} know all; at least {known} members are known, \
                     at most {failed} of them as failed",
                    times.len()
                );
            }
            if start.elapsed() > limit {
                let log = self.log(last);
                return Err(format!(
                    "{} of {agents} agents know all after {elapsed:.0} s{log}",
                    times.len()
                ));
            }
            std::thread::sleep((round.elapsed() * PAUSE).max(PAUSE_MIN));
        }
    }

    /// Returns the number of members that an agent knows, and how many of them have failed.
    fn counts(&mut self, index: usize) -> Result<(usize, usize), String> {
        let counts = self.clients[index].counts();
        counts.map_err(|why| format!("agent {index}: {why}{}", self.log(index)))
    }

    /// Returns the processor time of all agents together.
    pub fn processor_time(&self) -> Duration {
        let ids = self.processes.iter().map(Process::id);
        ids.map(proc::processor_time).sum()
    }

    /// Counts the lines in all agents' logs with one of these texts.
    pub fn logged(&self, texts: &[&str]) -> usize {
        let logs = (0..self.processes.len()).map(|index| {
            let text = std::fs::read(self.log_file(index)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines();
            lines
                .filter(|line| texts.iter().any(|text| line.contains(text)))
                .count()
        });
        logs.sum()
    }

    /// Returns the mean memory of an agent in KiB: its proportional share of all pages, and its private
    /// memory.
    pub fn memory(&self) -> (f64, f64) {
        let ids = self.processes.iter().map(Process::id);
        let (mut shared, mut private) = (0.0, 0.0);
        for memory in ids.map(proc::memory) {
            shared += memory.proportional_kb;
            private += memory.private_dirty_kb;
        }
        let agents = self.processes.len() as f64;
        (shared / agents, private / agents)
    }

    /// Fires events one by one on the last agent; returns for each the time until all agents have delivered
    /// it to a subscriber.
    pub fn spread_events(&mut self, events: usize) -> Result<Vec<Duration>, String> {
        let mut viewers = Vec::new();
        for index in 0..self.processes.len() {
            let subscribed = Client::connect(address(index, RPC_PORT)).and_then(|mut viewer| {
                viewer.subscribe()?;
                viewer.read_timeout(EVENT_LIMIT)?;
                Ok(viewer)
            });
            viewers.push(subscribed.map_err(|why| format!("agent {index}: {why}"))?);
        }
        let spread = |number| self.spread(number, &mut viewers);
        (0..events).map(spread).collect()
    }

    fn spread(&mut self, number: usize, viewers: &mut [Client]) -> Result<Duration, String> {
        let name = format!("many-{number}");
        // Out of step with the gossip ticks.
        std::thread::sleep(Duration::from_millis(1_000 + number as u64 * 37));
        let sender = self.clients.last_mut().expect("an agent");
        let sent = Instant::now();
        let fired = sender
            .send_event(&name, b"payload")
            .and_then(|()| sender.accepted());
        fired.map_err(|why| format!("{name}: {why}"))?;
        for (index, viewer) in viewers.iter_mut().enumerate() {
            match viewer.next_event() {
                Ok(seen) if seen == name => {}
                other => return Err(format!("{name} at agent {index}: {other:?}")),
            }
        }
        Ok(sent.elapsed())
    }

    /// Checks that every agent still knows all of them.
    pub fn check(&mut self) -> Result<(), String> {
        let agents = self.processes.len();
        for index in 0..agents {
            let counts = self.counts(index)?;
            if counts != (agents, 0) {
                return Err(format!(
                    "agent {index} knows {} members in the end, {} of them as failed{}",
                    counts.0,
                    counts.1,
                    self.log(index)
                ));
            }
        }
        Ok(())
    }
}
