//! Large clusters: joins, an event to all, failures, a partition and its end, with figures.
//!
//! `make scale NODES=n` runs [`scale`] with optimised code; `COTTAR_SCALE_NODES` sets the number of nodes.

use std::time::Instant as WallClock;

use cottar::serf::Stats;
use cottar::time::{Duration, Instant};

use crate::cluster::{Sim, Spec, Traffic, host_addr};
use crate::network::Weather;

/// Time between two joins.
const JOIN_INTERVAL: Duration = Duration::from_millis(10);
/// Interval of the check whether all nodes agree, unless the stage is short.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum duration of a stage.
const STAGE_MAX: Duration = Duration::from_secs(1_800);
/// One in this many nodes fails; all of them at once.
const FAILING: usize = 100;
/// One in this many nodes is on the other side of the partition.
const CUT_OFF: usize = 3;

/// The cost of a stage.
struct Stage {
    name: &'static str,
    /// Virtual time until all nodes agreed.
    time: Duration,
    traffic: Traffic,
    /// Processor time of this process.
    cpu_seconds: f64,
}

/// A cluster that passes through the stages.
struct Scale {
    sim: Sim,
    nodes: usize,
    begun: (Instant, Traffic, f64),
    stages: Vec<Stage>,
}

/// Processor time that this process has used, in seconds; clock ticks are hundredths on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |field: usize| {
        let word = after_name.split_whitespace().nth(field);
        word.and_then(|word| word.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}

/// Memory of this process in bytes; pages have 4 KiB on the machines that this runs on.
fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    4_096.0
        * pages
            .and_then(|p| p.parse::<f64>().ok())
            .unwrap_or_default()
}

impl Scale {
    fn new(nodes: usize) -> Self {
        let mut sim = Sim::new(1000, Weather::fair());
        sim.observing = false;
        sim.handling = false;
        for host in 0..nodes {
            let mut spec = Spec::lan(&format!("node-{host:05}"), host_addr(host));
            // LZW, which all other runs exercise, would take a quarter of the time.
            spec.compression = false;
            sim.add(spec);
        }
        let begun = (sim.now, sim.traffic, cpu_seconds());
        Scale {
            sim,
            nodes,
            begun,
            stages: Vec::new(),
        }
    }

    fn begin(&mut self) {
        self.begun = (self.sim.now, self.sim.traffic, cpu_seconds());
    }

    fn end(&mut self, name: &'static str, time: Duration) {
        let (_, before, cpu) = self.begun;
        let now = self.sim.traffic;
        let traffic = Traffic {
            inputs: now.inputs - before.inputs,
            timeouts: now.timeouts - before.timeouts,
            datagrams: now.datagrams - before.datagrams,
            datagram_bytes: now.datagram_bytes - before.datagram_bytes,
            streams: now.streams - before.streams,
            stream_bytes: now.stream_bytes - before.stream_bytes,
        };
        let stage = Stage {
            name,
            time,
            traffic,
            cpu_seconds: cpu_seconds() - cpu,
        };
        self.print(&stage, self.sim.now.since(self.begun.0));
        self.stages.push(stage);
    }

    fn print(&self, stage: &Stage, lasted: Duration) {
        let node_seconds = self.nodes as f64 * lasted.as_secs_f64();
        let round = self.sim.nodes[0].spec.config.swim.gossip_interval;
        println!(
            "{:30} {:>8.2} {:>7.1} {:>9.1} {:>11.0} {:>11.0} {:>9.3} {:>8.1}",
            stage.name,
            stage.time.as_secs_f64(),
            stage.time.as_secs_f64() / round.as_secs_f64(),
            stage.traffic.datagrams as f64 / node_seconds,
            stage.traffic.datagram_bytes as f64 / node_seconds,
            stage.traffic.stream_bytes as f64 / node_seconds,
            stage.cpu_seconds * 1_000.0 / node_seconds,
            stage.cpu_seconds,
        );
    }

    /// Runs until `count` of each running node is as wanted; returns how long that took.
    fn until(&mut self, every: Duration, wanted: impl Fn(usize, Stats) -> bool) -> Duration {
        let from = self.sim.now;
        // The nodes that are not done. Within a stage, a node that is done stays so, with rare exceptions.
        let mut waiting = self.sim.up();
        loop {
            let lacks = |&id: &usize| !wanted(id, self.sim.serf(id).stats());
            waiting.retain(lacks);
            if waiting.is_empty() {
                waiting = self.sim.up().into_iter().filter(lacks).collect();
            }
            let time = self.sim.now.since(from);
            if waiting.is_empty() {
                return time;
            }
            let first = self.sim.serf(waiting[0]).stats();
            let count = waiting.len();
            assert!(time < STAGE_MAX, "{count} nodes do not agree: {first:?}");
            self.sim.run_for(every);
        }
    }

    /// Runs until each node knows all of them as alive.
    fn until_complete(&mut self) -> Duration {
        let all = self.nodes;
        self.until(LOOK_INTERVAL, move |_, stats| {
            stats.members == all && stats.failed == 0
        })
    }

    fn join_all(&mut self) {
        for host in 0..self.nodes {
            self.sim.start(host);
            if host > 0 {
                let through = self.sim.rng.below(host);
                self.sim.join(host, &[through], true, true);
            }
            self.sim.run_for(JOIN_INTERVAL);
        }
        let time = self.until_complete();
        self.end("after the last join", time);
    }

    /// A minute without events.
    fn rest(&mut self) {
        self.begin();
        let minute = Duration::from_secs(60);
        self.sim.run_for(minute);
        self.end("a minute at rest", minute);
    }

    fn event(&mut self) {
        let times = self
            .sim
            .up()
            .into_iter()
            .map(|id| self.sim.serf(id).stats());
        let before = times
            .map(|stats| stats.event_time)
            .max()
            .unwrap_or_default();
        self.begin();
        self.sim.user_event(0, "deploy", "v1.2");
        let time = self.until(Duration::from_millis(1), move |_, stats| {
            stats.event_time > before
        });
        self.end("an event to all", time);
    }

    /// Some nodes fail at once.
    fn failures(&mut self) {
        let failing = (self.nodes / FAILING).max(1);
        let spacing = self.nodes / failing;
        let victims = (0..failing).map(|number| number * spacing);
        self.begin();
        for id in victims.clone() {
            self.sim.crash(id, true);
        }
        let time = self.until(LOOK_INTERVAL, move |_, stats| stats.failed == failing);
        self.end("one in a hundred fails", time);
        self.begin();
        for id in victims {
            self.sim.start(id);
            let through = (id + 1 + self.sim.rng.below(self.nodes - 1)) % self.nodes;
            self.sim.join(id, &[through], true, true);
        }
        let time = self.until_complete();
        self.end("they come back", time);
    }

    fn partition(&mut self) {
        let (all, at) = (self.nodes, self.nodes / CUT_OFF);
        self.begin();
        self.sim.network.partition(Some(at));
        let time = self.until(LOOK_INTERVAL, move |id, stats| {
            stats.failed == if id < at { all - at } else { at }
        });
        self.end("a third is cut off", time);
        self.begin();
        self.sim.network.partition(None);
        let time = self.until(LOOK_INTERVAL, |_, stats| stats.failed == 0);
        self.end("the partition heals", time);
    }

    fn run(nodes: usize) -> Self {
        let wall = WallClock::now();
        let memory = resident_bytes();
        let mut scale = Scale::new(nodes);
        println!("{nodes} nodes; log2 {:.1}", (nodes as f64).log2());
        println!(
            "{:30} {:>8} {:>7} {:>9} {:>11} {:>11} {:>9} {:>8}",
            "stage", "s", "rounds", "packets", "UDP bytes", "TCP bytes", "ms CPU", "s CPU"
        );
        println!(
            "{:30} {:>8} {:>7} {:>43}",
            "", "virtual", "gossip", "each per node and virtual second"
        );
        scale.join_all();
        let members = (nodes * nodes) as f64;
        println!(
            "memory: {:.0} bytes a node and member, {:.0} MB together",
            (resident_bytes() - memory) / members,
            resident_bytes() / 1e6
        );
        scale.rest();
        scale.event();
        scale.failures();
        scale.partition();
        println!("{:.0} s of real time", wall.elapsed().as_secs_f64());
        scale
    }
}

#[test]
#[ignore = "takes long: make scale"]
fn scale() {
    let nodes = std::env::var("COTTAR_SCALE_NODES").unwrap_or_else(|_| "1000".into());
    let nodes = nodes.parse::<usize>().ok().filter(|nodes| *nodes >= 10);
    Scale::run(nodes.expect("COTTAR_SCALE_NODES is a number of nodes, 10 or more"));
}

#[test]
fn a_hundred_nodes_go_through_all_stages() {
    let scale = Scale::run(100);
    let limits = [
        ("after the last join", 30),
        ("a minute at rest", 60),
        ("an event to all", 1),
        ("one in a hundred fails", 60),
        ("they come back", 60),
        ("a third is cut off", 120),
        ("the partition heals", 300),
    ];
    let names: Vec<&str> = scale.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names, limits.map(|(name, _)| name));
    for (stage, (name, seconds)) in scale.stages.iter().zip(limits) {
        let limit = Duration::from_secs(seconds);
        assert!(stage.time <= limit, "{name}: {:?}", stage.time);
        assert!(stage.traffic.datagrams > 0);
    }
}

#[test]
fn a_thousand_nodes_agree() {
    let mut scale = Scale::new(1000);
    scale.join_all();
    // A push/pull would take minutes to repair what gossip missed.
    assert!(scale.stages[0].time < Duration::from_secs(10));
}
