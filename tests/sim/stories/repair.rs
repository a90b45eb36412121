//! Events that gossip has missed, and how soon everybody has them nevertheless.

use std::collections::BTreeMap;

use cottar::serf::{Event, Serf};
use cottar::time::{Duration, Instant};

use super::{cluster, secs};
use crate::cluster::{NodeId, Sim};
use crate::history::What;

/// How late events were handed over, counted in pairs of event and node.
#[derive(Debug, Default)]
struct Lateness {
    pairs: usize,
    later_than_2s: usize,
    later_than_5s: usize,
    never: usize,
    slowest: Duration,
}

/// Fires events at a rate on random nodes, waits until the last of them had five seconds and more, and
/// judges how late `nodes` had them.
fn fire(sim: &mut Sim, events: usize, per_second: u32, nodes: &[NodeId]) -> Lateness {
    sim.history.clear();
    for number in 0..events {
        let from = sim.rng.below(sim.nodes.len());
        sim.user_event(from, "deploy", &format!("{number}"));
        let apart = Duration::from_secs(1) / per_second;
        let jittered = apart / 2 + sim.rng.duration_below(apart);
        sim.run_for(jittered);
    }
    sim.run_for(secs(12));
    lateness(sim, nodes)
}

fn lateness(sim: &Sim, nodes: &[NodeId]) -> Lateness {
    let mut fired: BTreeMap<&[u8], Instant> = BTreeMap::new();
    let mut got: BTreeMap<(&[u8], NodeId), Instant> = BTreeMap::new();
    for record in &sim.history {
        match &record.what {
            What::Fired { payload, .. } => {
                fired.insert(payload, record.at);
            }
            What::Delivered {
                event: Event::User(event),
                ..
            } => {
                let before = got.insert((&event.payload, record.node), record.at);
                assert_eq!(before, None, "twice: {event:?} at {}", record.node);
            }
            _ => {}
        }
    }
    let mut found = Lateness::default();
    for (payload, at) in fired {
        for node in nodes {
            found.pairs += 1;
            let Some(delivered) = got.get(&(payload, *node)) else {
                found.never += 1;
                found.later_than_2s += 1;
                found.later_than_5s += 1;
                continue;
            };
            let late = delivered.since(at);
            found.later_than_2s += usize::from(late > secs(2));
            found.later_than_5s += usize::from(late > secs(5));
            found.slowest = found.slowest.max(late);
        }
    }
    found
}

fn counted(sim: &Sim, count: impl Fn(&Serf) -> u64) -> u64 {
    (0..sim.nodes.len()).map(|id| count(sim.serf(id))).sum()
}

fn print(sim: &Sim, what: &str, found: &Lateness) {
    let sent = counted(sim, |serf| serf.counters().repair_events_sent);
    let fetched = counted(sim, |serf| serf.counters().repair_events_fetched);
    let pings = counted(sim, |serf| serf.counters().repair_pings);
    let exchanges = counted(sim, |serf| {
        let counters = serf.counters();
        counters.repair_exchanges_for_gaps
            + counters.repair_exchanges_for_digests
            + counters.repair_exchanges_for_jumps
    });
    println!(
        "{what}: {found:?}; {sent} sent, {fetched} fetched, {pings} pings, {exchanges} exchanges"
    );
}

/// With fewer than ten members an event is transmitted half as often: more is missed, and repaired.
const SIZES: [usize; 2] = [9, 10];

#[test]
fn everybody_has_every_event_in_two_seconds() {
    for (seed, loss, per_second) in [
        (201, 0.0, 200),
        (202, 0.1, 200),
        (203, 0.0, 15),
        (204, 0.1, 15),
    ] {
        for size in SIZES {
            let mut sim = cluster(seed, size);
            sim.network.weather.loss = loss;
            let nodes: Vec<NodeId> = (0..size).collect();
            let found = fire(&mut sim, 1_000, per_second, &nodes);
            print(
                &sim,
                &format!("{size} nodes, loss {loss}, {per_second}/s"),
                &found,
            );
            assert_eq!(found.pairs, 1_000 * size);
            assert_eq!(found.later_than_2s, 0, "loss {loss}, {per_second}/s");
        }
    }
}

#[test]
fn a_quarter_lost_is_made_good_in_five_seconds() {
    for (seed, per_second) in [(211, 200), (212, 15)] {
        for size in SIZES {
            let mut sim = cluster(seed, size);
            sim.network.weather.loss = 0.25;
            let nodes: Vec<NodeId> = (0..size).collect();
            let found = fire(&mut sim, 1_500, per_second, &nodes);
            let what = format!("{size} nodes, loss 0.25, {per_second}/s");
            print(&sim, &what, &found);
            assert_eq!(found.pairs, 1_500 * size);
            assert!(found.later_than_2s * 10_000 <= found.pairs, "{what}");
            assert_eq!(found.later_than_5s, 0, "{what}");
        }
    }
}
