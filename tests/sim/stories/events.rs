//! User events and tags.

use cottar::serf::{CommandResult, MemberEventKind};
use cottar::time::Duration;

use super::{agree, close, cluster, got, got_member_event, secs};
use crate::cluster::{Sim, Spec, host_addr};
use crate::network::Weather;

#[test]
fn events_fired_at_once_reach_all() {
    let mut sim = cluster(16, 8);
    for id in 0..8 {
        sim.user_event(id, "deploy", &format!("from {id}"));
    }
    let crossed =
        |sim: &Sim| (0..8).all(|id| (0..8).all(|from| got(sim, id, &format!("from {from}")) == 1));
    // Gossip is fast; push/pull reaches the nodes that it missed.
    assert!(sim.run_until(secs(60), crossed));
    close(sim);
}

#[test]
fn an_event_does_not_wait_for_the_tick() {
    let mut sim = cluster(17, 10);
    sim.run_for(secs(30));
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let payload = format!("number {number}");
        sim.user_event(number % 10, "deploy", &payload);
        let fired = sim.now;
        let all = |sim: &Sim| (0..10).all(|id| got(sim, id, &payload) == 1);
        assert!(sim.run_until(secs(60), all));
        slowest = slowest.max(sim.now.since(fired).min(secs(1)));
        sim.run_for(secs(1));
    }
    println!("slowest of 20 events at ten nodes: {slowest:?}");
    close(sim);
}

#[test]
fn tags_change_everywhere() {
    let mut sim = cluster(22, 5);
    let set = sim.set_tag(3, "role", "web");
    agree(&mut sim, secs(5));
    sim.run_for(secs(6));
    assert_eq!(sim.result(set), Some(&CommandResult::Done));
    for id in 0..5 {
        let tags = sim.serf(id).member(b"n3").unwrap().tags();
        assert_eq!(tags.get(b"role"), Some(&b"web"[..]));
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Update, "n3"), 1);
    }
    close(sim);
}

#[test]
fn a_lone_node_limits_its_event_queue() {
    let mut sim = Sim::new(29, Weather::fair());
    sim.add(Spec::lan("n0", host_addr(0)));
    sim.start(0);
    for number in 0..6000 {
        sim.user_event(0, "deploy", &number.to_string());
    }
    // The queues are checked every 30 s (gossip spec 5.16).
    sim.run_for(secs(31));
    assert!(sim.serf(0).stats().event_queue <= 4096);
    let all = (0..6000).all(|number| got(&sim, 0, &number.to_string()) == 1);
    assert!(all, "its own handlers get each event");
}
