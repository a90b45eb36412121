//! A handler that takes a minute delays nothing else.

use cottar::serf::{Event, MemberStatus};
use cottar::time::Duration;

use crate::checkers;
use crate::cluster::{Sim, Spec, host_addr};
use crate::handlers::Pace;
use crate::history::What;
use crate::network::Weather;

const EVENTS: usize = 10_000;

#[test]
fn a_handler_that_takes_a_minute_delays_nothing() {
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
    let busy_until = sim.now + Duration::from_secs(45);

    // While n1's first handler runs: 10,000 events, and n3 dies.
    sim.crash(3, true);
    for number in 0..EVENTS {
        sim.user_event([0, 1, 2][number % 3], "load", &number.to_string());
        sim.run_for(Duration::from_millis(4));
    }
    assert!(sim.now < busy_until, "the first handler must still run");
    let delivered = |sim: &Sim, node| {
        let user = |what: &What| {
            matches!(
                what,
                What::Delivered {
                    event: Event::User(_),
                    ..
                }
            )
        };
        let of_node = sim.history.iter().filter(|record| record.node == node);
        of_node.filter(|record| user(&record.what)).count()
    };
    sim.run_for(Duration::from_secs(2));
    for node in 0..3 {
        let got: std::collections::BTreeSet<usize> = sim
            .history
            .iter()
            .filter(|r| r.node == node)
            .filter_map(|r| match &r.what {
                What::Delivered {
                    event: Event::User(e),
                    ..
                } => Some(String::from_utf8_lossy(&e.payload).parse().unwrap()),
                _ => None,
            })
            .collect();
        let missing: Vec<usize> = (0..EVENTS).filter(|n| !got.contains(n)).collect();
        eprintln!("n{node} misses {missing:?}");
    }
    for node in 0..3 {
        assert_eq!(delivered(&sim, node), EVENTS, "gossip went on at n{node}");
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
    let ended = |what: &What| matches!(what, What::HandlerEnded { .. });
    let of_slow = sim.history.iter().filter(|record| record.node == 1);
    let ended = of_slow.filter(|record| ended(&record.what)).count();
    let all = sim.history.iter().filter(|record| record.node == 1);
    let all = all
        .filter(|record| matches!(record.what, What::Delivered { .. }))
        .count();
    assert_eq!(ended, all);
    assert!(ended > EVENTS);
}
