//! Single links that are cut or lossy: no live node is considered failed.

use super::cluster::{Cluster, is_impossible};
use super::world::Fate;
use crate::live::{Agent, Kind};
use std::time::Duration;

/// Long enough for every node to probe each other one several times, and for an unconfirmed suspicion in a
/// cluster of five to expire (gossip spec 4.7).
const WATCHED: Duration = Duration::from_secs(24);

/// Degrades the link from each of the first two nodes to the other, waits, and passes the nodes to `judge`.
fn watch(name: &str, cast: &str, fate: Fate, judge: impl Fn(&[Agent])) {
    if is_impossible(name) {
        return;
    }
    let cluster = Cluster::start(name, cast);
    cluster.world.cut(0, &[1], fate);
    cluster.world.cut(1, &[0], fate);
    // Here the passing of time is itself the condition.
    std::thread::sleep(WATCHED);
    cluster.await_all_alive(1.0);
    for node in &cluster.nodes {
        let log = node.log();
        assert!(!log.contains("EventMemberFailed"), "{cast}: {log}");
    }
    judge(&cluster.nodes);
}

/// Runs a scenario with each cast in parallel, since it mostly waits.
fn side_by_side(casts: &[&str], story: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for cast in casts {
            let story = &story;
            scope.spawn(move || story(cast));
        }
    });
}

/// Returns the log lines in which a node suspects another one.
fn doubts(nodes: &[Agent]) -> Vec<String> {
    let logs = nodes.iter().map(Agent::log);
    logs.flat_map(|log| {
        let lines = log.lines().filter(|line| line.contains("no acks received"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn a_third_node_of_either_kind_relays_probes() {
    side_by_side(&["CSC", "CSS", "CCS"], |cast| {
        watch("relayed probes", cast, Fate::Dropped, |nodes| {
            // On a busy machine a few acks may be late; without relays, each of some twenty probes would
            // fail.
            let doubts = doubts(nodes);
            assert!(doubts.len() <= 6, "{cast}: {doubts:?}");
        });
    });
}

#[test]
fn a_node_reachable_only_over_tcp_stays_alive() {
    watch("no datagrams", "CS", Fate::DatagramsDropped, |nodes| {
        // Each program has its own message.
        let log = nodes[0].log();
        let words = "Was able to reach n2 by TCP but not by UDP";
        assert!(log.contains(words), "{log}");
        let log = nodes[1].log();
        let warned =
            |line: &str| line.contains("[WARN]") && line.contains("connect to n1 but other");
        assert!(log.lines().any(warned), "{log}");
        let doubts = doubts(nodes);
        assert!(doubts.len() <= 3, "{doubts:?}");
    });
}

#[test]
fn a_lossy_link_fails_no_node() {
    watch("lossy link", "CSCSC", Fate::Lost(20), |_| {});
}

#[test]
fn relayed_acks_arrive_where_direct_ones_are_lost() {
    if is_impossible("relayed acks") {
        return;
    }
    side_by_side(&["CSC", "CSS", "SCC", "SCS"], |cast| {
        let cluster = Cluster::start("relayed acks", cast);
        // The third node receives from the first, which receives from the third only through the second.
        cluster.world.cut(0, &[2], Fate::DatagramsDropped);
        let acks = |relay_factor: &str| {
            let query = ["query", "-timeout=2s", "-node=n3", relay_factor, "who"];
            let answer = cluster.nodes[0].cli(&query).success();
            answer.stdout.matches("Ack from 'n3'").count()
        };
        // With a factor of two, both other members are relays, including the first node itself. The reference
        // limits its attempts to pick relays, and sometimes misses one.
        let is_ours = cluster.lab().kind(2) == Kind::Cottar;
        let tries = if is_ours { 1 } else { 8 };
        let relayed = (0..tries).any(|_| acks("-relay-factor=2") == 1);
        assert!(relayed, "{cast}: no relayed ack");
        assert_eq!(
            acks("-relay-factor=0"),
            0,
            "{cast}: the cut lets acks through"
        );
    });
}
