//! Many real agents on this machine, in a separate network namespace.
//!
//! `cargo bench --bench many -- AGENTS` starts this many agents, each with a separate address and joining the
//! first three. It measures how long they take to know each other, the cost of each, and how long an event
//! takes to reach them all. `make many AGENTS=300` builds the binary first. Needs root, for the network
//! namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cluster;
mod limits;
#[path = "../../tests/live/mod.rs"]
mod live;
#[path = "../bench/proc.rs"]
#[allow(dead_code)]
mod proc;
#[path = "../bench/rpc.rs"]
#[allow(dead_code)]
mod rpc;

use cluster::Cluster;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const AGENTS_DEFAULT: usize = 100;
/// Timeout until all agents know each other.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Gossip about the joins continues for a while after all agents know each other.
const SETTLE: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(20);
const EVENTS: usize = 11;

fn main() -> ExitCode {
    let counts: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .map(|word| word.parse::<usize>())
        .collect();
    let agents = match counts[..] {
        [] => AGENTS_DEFAULT,
        [Ok(agents)] if (2..=cluster::AGENTS_MAX).contains(&agents) => agents,
        _ => {
            eprintln!(
                "many: give one number of agents, from 2 to {}",
                cluster::AGENTS_MAX
            );
            return ExitCode::FAILURE;
        }
    };
    let measured = limits::make_room(agents)
        .and_then(|()| live::namespace::in_own_network(|| measure(agents))?);
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("many: {why}");
            ExitCode::FAILURE
        }
    }
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("{name:<58} {value}");
}

/// Processor time and memory of agents without events.
fn measure_idle(cluster: &Cluster) {
    std::thread::sleep(SETTLE);
    let (before, began) = (cluster.processor_time(), Instant::now());
    std::thread::sleep(WATCHED);
    let spent = cluster.processor_time().saturating_sub(before);
    let share = spent.as_secs_f64() / began.elapsed().as_secs_f64();
    row(
        "idle: processor time, all together, % of a core",
        format!("{:.0}", share * 100.0),
    );
    let (shared, private) = cluster.memory();
    row(
        "idle: memory (PSS) of an agent, KiB",
        format!("{shared:.0}"),
    );
    row(
        "idle: private memory of an agent, KiB",
        format!("{private:.0}"),
    );
}

fn measure(agents: usize) -> Result<(), String> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{}", live::Kind::Cottar.program().display());
    println!("load average before: {}", load.trim());
    let started = Instant::now();
    let mut cluster = Cluster::start(agents)?;
    let last_start = Instant::now();
    row("agents", agents);
    row(
        "started within, s",
        format!("{:.1}", (last_start - started).as_secs_f64()),
    );

    let times = cluster.await_agreement(last_start, TIMEOUT)?;
    let at = |index: usize| format!("{:.1}", times[index].as_secs_f64());
    row(
        "an agent knows all, after the last start, median, s",
        at(agents / 2),
    );
    row(
        "all agents know all, after the last start, s",
        at(agents - 1),
    );
    row(
        "processor time until then, all together, s",
        format!("{:.1}", cluster.processor_time().as_secs_f64()),
    );
    let (bytes, packets) = proc::loopback_traffic();
    row(
        "packets until then, of an agent",
        format!(
            "{:.0}, of {:.0} bytes",
            packets / agents as f64,
            bytes / packets
        ),
    );
    row(
        "suspicions and refutations until then",
        cluster.logged(&["has failed, no acks received", "Refuting"]),
    );
    row(
        "overload reports until then",
        cluster.logged(&["Overload:", "Slept through", "Too late to judge"]),
    );

    measure_idle(&cluster);

    let mut spread = cluster.spread_events(EVENTS)?;
    spread.sort();
    let millis = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    row("event to all, median, ms", millis(spread[EVENTS / 2]));
    row("event to all, slowest, ms", millis(spread[EVENTS - 1]));
    cluster.check()
}
