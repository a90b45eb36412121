//! A handler that takes a minute delays nothing else.

use std::collections::BTreeSet;

use cottar::serf::{Event, MemberStatus};
use cottar::time::Duration;

use crate::checkers;
use crate::cluster::{NodeId, Sim, Spec, host_addr};
use crate::handlers::Pace;
use crate::history::What;
use crate::network::Weather;

const EVENTS: usize = 10_000;

/// Starts four nodes; the first handler of n1 takes a minute.
fn cluster() -> Sim {
    let mut sim = Sim::new(60, Weather::fair());
    for host in 0..4 {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        if host == 1 {
            spec.pace = Pace::FirstOnly(Duration::from_secs(60));
        }
        sim.add(spec);
        sim.start(host);
        if host > 0 {
            sim.join(host, &[0], true, true);
        }
    }
    assert!(sim.run_until(Duration::from_secs(10), |sim| sim.disagreement().is_none()));
    sim
}

fn records_of(sim: &Sim, node: NodeId) -> impl Iterator<Item = &What> {
    let records = sim.history.iter().filter(move |record| record.node == node);
    records.map(|record| &record.what)
}

/// Returns the numbers of the user events that a node got.
fn delivered(sim: &Sim, node: NodeId) -> Vec<usize> {
    let number = |what: &What| match what {
        What::Delivered {
            event: Event::User(event),
            ..
        } => Some(String::from_utf8_lossy(&event.payload).parse().unwrap()),
        _ => None,
    };
    records_of(sim, node).filter_map(number).collect()
}

#[test]
fn a_handler_that_takes_a_minute_delays_nothing() {
    let mut sim = cluster();
    let busy_until = sim.now + Duration::from_secs(45);

    // While n1's first handler runs: 10,000 events, and n3 dies.
    sim.crash(3, true);
    for number in 0..EVENTS {
        sim.user_event([0, 1, 2][number % 3], "load", &number.to_string());
        sim.run_for(Duration::from_millis(4));
    }
    assert!(sim.now < busy_until, "the first handler must still run");
    sim.run_for(Duration::from_secs(2));
    for node in 0..3 {
        let got = delivered(&sim, node);
        let known = BTreeSet::from_iter(&got);
        let missing: Vec<usize> = (0..EVENTS).filter(|n| !known.contains(n)).collect();
        assert_eq!(got.len(), EVENTS, "n{node} misses {missing:?}");
        assert_eq!(
            sim.status(node, "n3"),
            Some(MemberStatus::Failed),
            "n{node} noticed n3"
        );
        assert_eq!(
            sim.status(node, "n1"),
            Some(MemberStatus::Alive),
            "n1 stayed alive for n{node}"
        );
    }
    assert!(sim.nodes[1].handlers.waiting() >= EVENTS);

    // All run afterwards, once each, in order: the checker compares starts with deliveries.
    let idle = |sim: &Sim| sim.nodes[1].handlers.waiting() == 0;
    assert!(sim.run_until(Duration::from_secs(60), idle));
    sim.run_for(Duration::from_secs(1));
    checkers::handlers_run_one_at_a_time_in_order(&sim.history).unwrap();
    checkers::events_are_delivered_at_most_once(&sim.history).unwrap();
    let count = |is_counted: fn(&&What) -> bool| records_of(&sim, 1).filter(is_counted).count();
    let ended = count(|what| matches!(what, What::HandlerEnded { .. }));
    let all = count(|what| matches!(what, What::Delivered { .. }));
    assert_eq!(ended, all);
    assert!(ended > EVENTS);
}
