//! Nodes that join, and nodes that come back.

use cottar::serf::{Command, CommandResult, MemberEventKind, MemberStatus};

use super::{agree, all, close, cluster, cut_both_ways, got_member_event, incarnation, secs};
use crate::cluster::{Sim, Spec, host_addr};
use crate::history::Stop;
use crate::network::Weather;

#[test]
fn a_join_is_reported_once_to_all() {
    let sim = cluster(1, 5);
    for id in 0..5 {
        for other in 0..5 {
            assert_eq!(
                got_member_event(&sim, id, MemberEventKind::Join, &format!("n{other}")),
                1
            );
        }
    }
    close(sim);
}

#[test]
fn a_crashed_node_comes_back() {
    let mut sim = cluster(18, 4);
    sim.crash(2, false);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.start(2);
    sim.join(2, &[1], true, true);
    agree(&mut sim, secs(5));
    for id in others {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Join, "n2"), 2);
    }
    assert!(incarnation(&sim, 0, "n2") > 1, "it outbid its own obituary");
    close(sim);
}

#[test]
fn an_unnoticed_restart_replaces_the_earlier_run() {
    let mut sim = cluster(19, 4);
    sim.set_tag(2, "v", "1");
    agree(&mut sim, secs(6));
    sim.crash(2, false);
    sim.start(2);
    sim.set_tag(2, "v", "2");
    sim.join(2, &[1], true, true);
    agree(&mut sim, secs(5));
    close(sim);
}

#[test]
fn members_reconnect_to_a_failed_node() {
    let mut sim = cluster(20, 4);
    sim.crash(2, true);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.run_for(secs(60));
    // It comes back without joining. Each of three nodes reconnects to it with probability 1/3 every 30 s:
    // the chance that none does in time is (2/3)^(3 * 12), 5e-7.
    sim.start(2);
    agree(&mut sim, secs(12 * 30));
    close(sim);
}

#[test]
fn a_joining_node_with_a_taken_name_stops() {
    let mut sim = cluster(21, 4);
    let intruder = sim.add(Spec::lan("n2", host_addr(77)));
    sim.start(intruder);
    sim.join(intruder, &[0], true, false);
    // The vote takes the timeout of a query, 3.2 s; it starts when one of the two learns of the other.
    let stopped = |sim: &Sim| sim.nodes[4].stopped == Some(Stop::LostItsName);
    assert!(sim.run_until(secs(60), stopped));
    sim.run_for(secs(30));
    assert!(sim.is_up(2), "who had the name keeps it");
    assert_eq!(sim.disagreement(), None);
    sim.history.retain(|record| record.node != intruder);
    close(sim);
}

#[test]
fn a_member_that_left_may_return_at_another_address() {
    let mut sim = cluster(25, 4);
    let leave = sim.command(2, Command::Leave);
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    sim.run_for(secs(2));
    sim.move_to(2, host_addr(99));
    sim.start(2);
    sim.join(2, &[0], true, true);
    agree(&mut sim, secs(5));
    assert_eq!(sim.serf(0).member(b"n2").unwrap().addr, host_addr(99));
    assert!([0, 1, 3].iter().all(|&id| sim.is_up(id)));
    close(sim);
}

#[test]
fn a_node_gets_the_name_of_a_failed_member_after_a_wait() {
    let mut sim = cluster(27, 4);
    sim.crash(2, false);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.move_to(2, host_addr(99));
    sim.start(2);
    sim.join(2, &[0], true, true);
    // The record of the dead node is dropped at the end of a round of probes after 30 s; the next
    // push/pull brings the new one.
    agree(&mut sim, secs(30 + 10 + 60));
    assert_eq!(sim.serf(0).member(b"n2").unwrap().addr, host_addr(99));
    assert!((0..4).all(|id| sim.is_up(id)));
    close(sim);
}

#[test]
fn a_failed_member_may_return_elsewhere_once_forgotten() {
    let mut sim = cluster(26, 4);
    sim.crash(2, false);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    // The record is dropped at the end of a round of probes after 30 s.
    sim.run_for(secs(30 + 10));
    sim.move_to(2, host_addr(99));
    sim.start(2);
    sim.join(2, &[0], true, true);
    agree(&mut sim, secs(5));
    assert_eq!(sim.serf(3).member(b"n2").unwrap().addr, host_addr(99));
    close(sim);
}

#[test]
fn a_node_with_another_key_cannot_join() {
    let mut sim = Sim::new(27, Weather::fair());
    let keys = [
        Some(vec![1; 16]),
        Some(vec![1; 16]),
        Some(vec![2; 16]),
        None,
    ];
    for (host, key) in keys.into_iter().enumerate() {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.key = key;
        sim.add(spec);
        sim.start(host);
    }
    let joins: Vec<_> = (1..4).map(|id| sim.join(id, &[0], true, false)).collect();
    sim.run_for(secs(60));
    let contacted = |id| match sim.result(id) {
        Some(CommandResult::Joined {
            contacted,
            failures,
        }) => Some((*contacted, failures.len())),
        other => panic!("{other:?}"),
    };
    let contacted: Vec<_> = joins.into_iter().map(contacted).collect();
    assert_eq!(contacted, [Some((1, 0)), Some((0, 1)), Some((0, 1))]);
    let names = |id| {
        let members = sim.serf(id).members();
        members
            .map(|member| member.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["n0", "n1"]);
    assert_eq!(names(2), ["n2"]);
    assert_eq!(names(3), ["n3"]);
}

#[test]
fn a_join_without_an_answer_gives_a_reason() {
    let mut sim = cluster(28, 2);
    sim.crash(1, false);
    let refused = sim.join(0, &[1], true, false);
    sim.run_for(secs(1));
    let silent = sim.add(Spec::lan("n2", host_addr(2)));
    sim.nodes[silent].host_up = false;
    let unanswered = sim.join(0, &[silent], true, false);
    sim.run_for(secs(31));
    let why = |id| match sim.result(id) {
        Some(CommandResult::Joined {
            contacted: 0,
            failures,
        }) => failures[0].1.clone(),
        other => panic!("{other:?}"),
    };
    assert!(
        why(refused).contains("connection refused"),
        "{}",
        why(refused)
    );
    assert!(!why(unanswered).is_empty());
}

#[test]
fn nodes_whose_join_targets_are_down_stay_apart() {
    let mut sim = cluster(31, 4);
    (0..4).for_each(|id| sim.crash(id, false));
    for (id, gone) in [(0, 2), (1, 3)] {
        sim.start(id);
        sim.join(id, &[gone], true, true);
    }
    // Both have reaped their former members, and reconnect only to failed ones.
    sim.run_for(secs(300));
    assert_eq!(sim.islands(), [[0], [1]]);
    assert!(all(&sim, &[0], "n1", None) && all(&sim, &[1], "n0", None));
    sim.join(1, &[0], false, true);
    agree(&mut sim, secs(10));
    assert_eq!(sim.islands().len(), 1);
    close(sim);
}

/// Seeds 1334 and 2834 of the swarm: a join succeeds with one of several addresses, although the others were
/// only temporarily unreachable. Their side does not reconnect to the node if it lists the node as left.
#[test]
fn a_join_answered_by_one_target_does_not_reach_the_rest() {
    let mut sim = cluster(33, 5);
    for id in [3, 4] {
        let leave = sim.command(id, Command::Leave);
        assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    }
    sim.run_for(secs(2));
    cut_both_ways(&mut sim, &[3, 4], &[0, 1, 2]);
    sim.start(3);
    sim.start(4);
    sim.join(4, &[0, 3], true, true);
    sim.run_for(secs(1));
    assert_eq!(sim.nodes[4].calling, [0, 3]);
    assert_eq!(sim.islands(), [vec![0, 1, 2], vec![3], vec![4]]);
    assert!(sim.run_until(secs(15), |sim| sim.nodes[4].calling.is_empty()));
    sim.network.mend_all();
    sim.run_for(secs(300));
    assert!(all(&sim, &[3], "n4", Some(MemberStatus::Alive)));
    for left in ["n3", "n4"] {
        assert!(all(&sim, &[0, 1, 2], left, Some(MemberStatus::Left)));
    }
    sim.join(4, &[0], false, true);
    // The others ask node 3 whether it has left.
    agree(&mut sim, secs(60));
    assert_eq!(sim.islands().len(), 1);
    close(sim);
}

/// Seed 1801 of the swarm: a node that left comes back while it is unreachable. The others do not reconnect
/// to it, because they list it as left. A node that is itself leaving does not connect the two sides.
#[test]
fn a_member_listed_as_left_is_not_reconnected() {
    let mut sim = cluster(32, 4);
    let leave = sim.command(3, Command::Leave);
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    sim.crash(2, false);
    sim.start(3);
    sim.join(3, &[2], true, true);
    sim.run_for(secs(100));
    assert!(all(&sim, &[0, 1], "n3", Some(MemberStatus::Left)));
    assert_eq!(sim.islands(), [vec![0, 1], vec![3]]);
    sim.start(2);
    let leave = sim.command(2, Command::Leave);
    assert_eq!(sim.islands(), [vec![0, 1], vec![3]]);
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    sim.join(3, &[0], true, true);
    agree(&mut sim, secs(10));
    assert_eq!(sim.islands().len(), 1);
    close(sim);
}
