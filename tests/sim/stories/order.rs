//! Handlers get user events in the order of their Lamport times.

use std::collections::BTreeMap;

use cottar::serf::Event;
use cottar::swim;
use cottar::time::Duration;

use super::{agree, close, cluster, secs};
use crate::cluster::{NodeId, Sim, Spec};
use crate::history::What;
use crate::network::Weather;
use crate::rejoin::recording_cluster;

/// The times of the user events that a node has handed over, in the order of the hand-over.
fn handed_over(sim: &Sim, id: NodeId) -> Vec<u64> {
    let records = sim.history.iter().filter(|record| record.node == id);
    let times = records.filter_map(|record| match &record.what {
        What::Delivered {
            event: Event::User(event),
            ..
        } => Some(event.ltime.0),
        _ => None,
    });
    times.collect()
}

/// Fires events in batches, then waits.
fn fire(
    sim: &mut Sim,
    by: impl Fn(usize) -> NodeId,
    bursts: usize,
    at_once: usize,
    pause: Duration,
) {
    // The checkers identify events by name and payload.
    let first = sim.history.len();
    for burst in 0..bursts {
        for n in 0..at_once {
            sim.user_event(by(burst), "deploy", &format!("{first} {burst} {n}"));
        }
        sim.run_for(pause);
    }
    sim.run_for(secs(2));
}

#[test]
fn events_of_one_sender_are_in_order() {
    let mut sim = cluster(61, 5);
    // 500 events a second, one by one; then bursts that take several packets.
    fire(&mut sim, |_| 0, 500, 1, Duration::from_millis(2));
    fire(&mut sim, |_| 0, 5, 60, Duration::from_millis(300));
    for id in 0..5 {
        let times = handed_over(&sim, id);
        assert_eq!(times.len(), 800, "{id}");
        assert!(times.is_sorted(), "{id}: {times:?}");
        let counters = sim.serf(id).counters();
        assert_eq!(
            (counters.events_out_of_order, counters.order_pushed_out),
            (0, 0)
        );
    }
    close(sim);
}

#[test]
fn events_of_many_senders_are_in_lamport_order() {
    let mut sim = cluster(62, 9);
    // The pause ensures that each sender has received the previous event, so that all times differ.
    let pause = Duration::from_millis(500);
    fire(&mut sim, |burst| burst % 9, 60, 3, pause);
    for id in 0..9 {
        let times = handed_over(&sim, id);
        assert_eq!(times, Vec::from_iter(1..=180), "{id}");
    }
    close(sim);
}

#[test]
fn packets_that_overtake_each_other_are_put_in_order() {
    let mut sim = cluster(63, 4);
    sim.network.weather = Weather {
        reordering: 0.3,
        duplication: 0.2,
        hold_up: Duration::from_millis(40),
        ..Weather::fair()
    };
    fire(&mut sim, |_| 0, 400, 1, Duration::from_millis(3));
    for id in 0..4 {
        let times = handed_over(&sim, id);
        assert_eq!(times.len(), 400, "{id}");
        assert!(times.is_sorted(), "{id}: {times:?}");
    }
    sim.network.weather = Weather::fair();
    close(sim);
}

#[test]
fn repaired_events_come_late_and_delay_no_others() {
    let mut sim = cluster(64, 3);
    sim.pause(2);
    fire(&mut sim, |_| 0, 20, 1, Duration::from_millis(50));
    sim.resume(2);
    agree(&mut sim, secs(10));
    fire(&mut sim, |_| 1, 20, 1, Duration::from_millis(50));
    assert!(sim.run_until(secs(40), |sim| handed_over(sim, 2).len() == 40));
    let times = handed_over(&sim, 2);
    let (before, after): (Vec<u64>, Vec<u64>) = times.iter().partition(|time| **time <= 20);
    assert!(before.is_sorted() && after.is_sorted(), "{times:?}");
    close(sim);
}

/// Returns how many events, on any node with the local profile, arrived after later ones of their sender,
/// and the longest delay.
fn inversions_of_local_nodes(size: usize) -> (u64, Duration) {
    let (mut inversions, mut slowest) = (0, Duration::ZERO);
    for seed in 0..20 {
        let local = |spec: &mut Spec| spec.config.swim = swim::Config::local();
        let mut sim = recording_cluster(seed, size, Weather::fair(), &local);
        let from = sim.now;
        fire(&mut sim, |_| 0, 40, 1, Duration::from_millis(120));
        let counters = (0..size).map(|id| sim.serf(id).counters().events_out_of_order);
        inversions += counters.sum::<u64>();
        let mut fired = BTreeMap::new();
        for record in sim.history.iter().filter(|record| record.at >= from) {
            match &record.what {
                What::Fired { payload, .. } => {
                    fired.insert(payload.clone(), record.at);
                }
                What::Delivered {
                    event: Event::User(event),
                    ..
                } => {
                    let since = fired.get(&event.payload).copied().unwrap_or(record.at);
                    slowest = slowest.max(record.at.since(since));
                }
                _ => {}
            }
        }
        assert!((0..size).all(|id| handed_over(&sim, id).len() == 40));
    }
    (inversions, slowest)
}

/// Seed 1789 of the swarm: with the local profile, each of five nodes transmits an event twice, so that
/// chance may leave one node out. Repair delivers the event later than the order stage waits, but within the
/// promised time.
#[test]
fn a_node_missed_by_gossip_gets_the_event_by_repair() {
    let (inversions, slowest) = inversions_of_local_nodes(5);
    assert_ne!(inversions, 0);
    assert!(slowest < secs(2), "{slowest:?}");
    assert_eq!(inversions_of_local_nodes(3).0, 0);
}
