//! The user events that a node gets when it joins, comes back or leaves.

use cottar::serf::Command;
use cottar::time::Duration;

use super::{agree, close, cluster, cut_both_ways, got, secs};
use crate::cluster::{NodeId, Sim, Spec, host_addr};
use crate::network::Weather;
use crate::rejoin::{heard, recording_cluster};

/// The names of the events that a node has got over all its lives, each with its count.
fn counts(sim: &Sim, id: NodeId) -> Vec<(String, usize)> {
    heard(sim, id).into_iter().collect()
}

#[test]
fn events_of_a_lone_node_do_not_reach_later_joiners() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed, Weather::fair());
        for host in 0..3 {
            sim.add(Spec::lan(&format!("n{host}"), host_addr(host)));
            sim.start(host);
        }
        for payload in ["one", "two", "three"] {
            sim.user_event(0, "deploy", payload);
        }
        sim.join(1, &[0], true, true);
        sim.run_for(Duration::from_millis(50));
        sim.join(2, &[1], true, true);
        agree(&mut sim, secs(5));
        sim.user_event(0, "deploy", "four");
        sim.run_for(secs(60));
        for id in [1, 2] {
            for payload in ["one", "two", "three"] {
                assert_eq!(
                    got(&sim, id, payload),
                    0,
                    "seed {seed}: n{id} got {payload}"
                );
            }
            assert_eq!(got(&sim, id, "four"), 1);
        }
        close(sim);
    }
}

/// A restarted node that the others still list as alive gets their gossip before its join determines which
/// events are old.
#[test]
fn gossip_does_not_overtake_the_join_of_a_restarted_node() {
    for seed in 0..20 {
        let mut sim = cluster(seed, 4);
        for number in 0..10 {
            sim.user_event(number % 3, "deploy", &format!("old {number}"));
        }
        sim.run_for(Duration::from_millis(30));
        sim.crash(3, false);
        sim.user_event(0, "deploy", "while it was down");
        sim.start(3);
        // It knows no member yet, and the others send events to it.
        sim.run_for(Duration::from_millis(100));
        assert_eq!(got(&sim, 3, "while it was down"), 0);
        sim.join(3, &[1], true, true);
        agree(&mut sim, secs(30));
        sim.user_event(1, "deploy", "new");
        sim.run_for(secs(5));
        assert_eq!(got(&sim, 3, "while it was down"), 0, "seed {seed}");
        assert_eq!(got(&sim, 3, "new"), 1);
    }
}

/// Seeds 923, 1626, 2240 and 2354 of the swarm: a restarted node without a snapshot learns of members by
/// gossip before its join, because they still list it as alive. That does not make it a member: it ignores
/// events that are older than its join. Its snapshot does not record it as a member either.
#[test]
fn hearing_of_members_before_a_join_makes_no_member() {
    for recording in [false, true] {
        let mut sim = cluster(41, 4);
        for number in 0..10 {
            sim.user_event(number % 3, "deploy", &format!("old {number}"));
        }
        sim.run_for(secs(5));
        let heard = [0, 1, 2].map(|id| got(&sim, id, "old 9"));
        assert_eq!(heard, [1; 3]);
        sim.crash(3, false);
        sim.nodes[3].disk.snapshot = recording.then(Vec::new);
        sim.start(3);
        sim.set_tag(1, "v", "2");
        let hears = |sim: &Sim| sim.status(3, "n1").is_some();
        assert!(sim.run_until(secs(1), hears));
        if recording {
            sim.crash(3, false);
            // No member of its snapshot answers.
            cut_both_ways(&mut sim, &[3], &[0, 1, 2]);
            sim.start(3);
            sim.network.mend_all();
        }
        assert!(!sim.serf(3).continues());
        sim.join(3, &[1], true, true);
        agree(&mut sim, secs(30));
        sim.user_event(1, "deploy", "new");
        sim.run_for(secs(5));
        assert_eq!(got(&sim, 3, "new"), 1);
        for number in 0..10 {
            let payload = format!("old {number}");
            assert_eq!(got(&sim, 3, &payload), 1, "{payload}, in the first life");
        }
        close(sim);
    }
}

/// Seed 2912 of the swarm: a node keeps trying to join nodes that do not run. If other nodes exchange states
/// with it meanwhile, events do not wait for its own join.
#[test]
fn a_join_that_never_ends_holds_no_events_back() {
    let mut sim = cluster(42, 6);
    for id in [2, 4, 5] {
        sim.crash(id, true);
    }
    sim.crash(3, false);
    sim.start(3);
    // Each of its targets takes 10 s to time out.
    sim.join(3, &[2, 4, 5], true, true);
    sim.run_for(secs(1));
    sim.join(0, &[3], false, false);
    sim.run_for(secs(6));
    assert_eq!(sim.nodes[3].calling, [2, 4, 5], "its join is under way");
    sim.user_event(0, "deploy", "new");
    let has = |sim: &Sim| got(sim, 3, "new") == 1;
    assert!(sim.run_until(secs(2), has));
}

/// Seeds 486, 1225, 2172, 2195, 2407 and 2412 of the swarm: the leave was recorded, which cleared earlier
/// events from the snapshot, and then the process died before the leave ended. That counts as a complete
/// leave: afterwards the node is treated as new.
#[test]
fn a_leave_that_ends_in_a_crash_clears_the_snapshot() {
    let mut sim = recording_cluster(9, 4, Weather::fair(), &|_| {});
    sim.user_event(0, "before", "");
    sim.run_for(secs(5));
    assert_eq!(counts(&sim, 2), [("before".to_owned(), 1)]);
    sim.command(2, Command::Leave);
    sim.crash(2, false);
    sim.start(2);
    sim.run_for(secs(1));
    assert!(!sim.serf(2).continues());
    assert_eq!(sim.serf(2).members().count(), 1, "it finds back to nobody");
    sim.join(2, &[1], true, true);
    agree(&mut sim, secs(60));
    sim.user_event(0, "after", "");
    sim.run_for(secs(60));
    let due = [("after".to_owned(), 1), ("before".to_owned(), 1)];
    assert_eq!(counts(&sim, 2), due, "its join ignored what was before");
}

#[test]
fn events_after_a_leave_are_delivered_in_the_next_life() {
    for seed in 0..10 {
        let mut sim = recording_cluster(seed, 4, Weather::fair(), &|_| {});
        sim.user_event(0, "before", "");
        sim.run_for(secs(2));
        let leave = sim.command(2, Command::Leave);
        for number in 0..10 {
            sim.user_event(0, &format!("behind-{number}"), "");
            sim.run_for(Duration::from_millis(100));
        }
        assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
        assert_eq!(heard(&sim, 2).len(), 1, "{:?}", heard(&sim, 2));
        // The file as an agent with -rejoin reads it.
        let file = sim.nodes[2].disk.snapshot.as_mut().unwrap();
        let text = String::from_utf8(std::mem::take(file)).unwrap();
        let kept = text.lines().filter(|line| *line != "leave");
        file.extend(kept.flat_map(|line| [line, "\n"]).flat_map(str::bytes));
        sim.run_for(secs(3));
        sim.start(2);
        agree(&mut sim, secs(60));
        sim.run_for(secs(60));
        assert_eq!(heard(&sim, 2).len(), 11);
        assert!(heard(&sim, 2).values().all(|&times| times == 1));
    }
}

#[test]
fn killed_nodes_get_each_event_once_in_any_weather() {
    for seed in 0..4 {
        let mut weather = Weather::fair();
        weather.loss = 0.25;
        weather.duplication = 0.1;
        weather.reordering = 0.1;
        let mut sim = recording_cluster(seed, 5, weather, &|_| {});
        // Node 0 keeps running; the others request the missed events from it.
        for number in 0..200 {
            sim.user_event(0, &format!("event-{number}"), "");
            sim.run_for(Duration::from_millis(200));
            let id = 1 + number / 5 % 4;
            match number % 5 {
                1 => sim.crash(id, number % 2 == 0),
                4 => {
                    sim.start(id);
                    sim.join(id, &[0], true, true);
                }
                _ => {}
            }
        }
        sim.network.weather = Weather::fair();
        agree(&mut sim, secs(180));
        sim.run_for(secs(180));
        for id in 0..5 {
            let heard = heard(&sim, id);
            let twice = heard.iter().find(|(_, times)| **times > 1);
            assert_eq!(twice, None, "seed {seed}: n{id}");
            let is_missing = |number: &i32| !heard.contains_key(&format!("event-{number}"));
            let missing: Vec<i32> = (0..200).filter(is_missing).collect();
            assert_eq!(missing, [0; 0], "seed {seed}: n{id}");
        }
    }
}
