//! Time until all nodes of a cluster know each other.

use crate::live::{Agent, Kind, Lab};
use crate::results::Curve;
use crate::rpc::Client;
use crate::table::{Measured, Row};
use std::time::{Duration, Instant};

/// Numbers of agents, and of measurements.
const SIZES: [(usize, usize); 3] = [(10, 7), (30, 5), (60, 3)];
/// A node that gossip has missed learns of members by the next push/pull, which comes after a minute or two.
const TIMEOUT: Duration = Duration::from_secs(150);

/// Agents of one kind with the LAN profile run alone, then all are told at once to join the first one: the
/// time until each of them knows all. Median of several clusters; the kinds are measured in turn.
pub fn all_at_once() -> Measured {
    let mut measured = Measured::default();
    let mut points = [Vec::new(), Vec::new()];
    for (size, rounds) in SIZES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(once(Kind::Cottar, size));
            theirs.push(once(Kind::Serf, size));
        }
        println!("    {size} agents, ms: cottar {ours:.0?}, serf {theirs:.0?}");
        for (points, times) in points.iter_mut().zip([&ours, &theirs]) {
            points.extend(times.iter().map(|ms| [size as f64, ms / 1e3]));
        }
        let row = Row::less(
            format!("convergence of {size} agents, median, ms"),
            crate::median(ours.clone()),
            crate::median(theirs.clone()),
        );
        measured.rows.push(row.rounds(&ours, &theirs));
    }
    let [ours, theirs] = points;
    measured.curves = vec![
        Curve::new("convergence", "cottar", ours),
        Curve::new("convergence", "serf", theirs),
    ];
    measured
}

fn once(kind: Kind, size: usize) -> f64 {
    let letter = if kind == Kind::Cottar { "C" } else { "S" };
    let lab = Lab::new("convergence", &letter.repeat(size));
    let nodes: Vec<Agent> = (0..size)
        .map(|index| lab.launch(lab.spec(index).log_level("warn")))
        .collect();
    for node in &nodes {
        node.await_log("Log data will now stream in", 60.0);
    }
    let mut clients: Vec<Client> = nodes
        .iter()
        .map(|node| Client::connect(node.rpc).expect("an RPC connection"))
        .collect();
    // A separate connection for each join, whose reply is not read.
    let mut joins: Vec<Client> = nodes[1..]
        .iter()
        .map(|node| Client::connect(node.rpc).expect("an RPC connection"))
        .collect();
    let started = Instant::now();
    for join in &mut joins {
        join.send_join(nodes[0].gossip).expect("a join");
    }
    // Asks one agent at a time, so that asking is no load: an agent that knows all members will not forget
    // them.
    for client in &mut clients {
        while client.known().expect("figures") < size {
            assert!(
                started.elapsed() < TIMEOUT,
                "{kind:?}: {size} do not converge"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    started.elapsed().as_secs_f64() * 1e3
}
