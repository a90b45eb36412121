//! Nodes that rejoin from their snapshots.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{Command, CommandResult, Event};

use crate::cluster::{NodeId, Sim, Spec, host_addr};
use crate::history::{Record, Stop, What};
use crate::network::Weather;
use crate::stories::{agree, close, cut_both_ways, secs};

/// `n0` to `n(size - 1)`, all joined, all with a snapshot.
pub fn recording_cluster(
    seed: u64,
    size: usize,
    weather: Weather,
    spec: &dyn Fn(&mut Spec),
) -> Sim {
    let mut sim = Sim::new(seed, weather);
    for host in 0..size {
        let mut made = Spec::lan(&format!("n{host}"), host_addr(host));
        spec(&mut made);
        sim.add(made);
        sim.nodes[host].disk.snapshot = Some(Vec::new());
        sim.start(host);
        if host > 0 {
            sim.join(host, &[0], true, true);
        }
    }
    // During its join, a node may be in all lists before it considers itself a member.
    let is_member = |sim: &Sim, id| {
        let joined = |record: &Record| matches!(record.what, What::Joined { .. });
        id == 0 || sim.history.iter().any(|r| r.node == id && joined(r))
    };
    assert!(sim.run_until(secs(60), |sim| (0..size).all(|id| is_member(sim, id))));
    agree(&mut sim, secs(60));
    sim
}

/// How often each user event reached a node's handlers, over all its lives.
pub fn heard(sim: &Sim, id: NodeId) -> BTreeMap<String, usize> {
    let mut heard = BTreeMap::new();
    for record in sim.history.iter().filter(|record| record.node == id) {
        if let What::Delivered {
            event: Event::User(event),
            ..
        } = &record.what
        {
            let name = String::from_utf8(event.name.clone()).unwrap();
            *heard.entry(name).or_default() += 1;
        }
    }
    heard
}

fn all_heard(sim: &Sim, event: &str) -> bool {
    let ids = sim.up();
    ids.iter().all(|&id| heard(sim, id).contains_key(event))
}

fn fire(sim: &mut Sim, id: NodeId, event: &str) {
    let all = sim.up();
    fire_within(sim, id, event, &all);
}

fn fire_within(sim: &mut Sim, id: NodeId, event: &str, ids: &[NodeId]) {
    sim.user_event(id, event, "");
    let all_heard = |sim: &Sim| ids.iter().all(|&id| heard(sim, id).contains_key(event));
    let reached = sim.run_until(secs(30), all_heard);
    assert!(reached, "{event} does not reach all");
}

/// Checks that nodes with a snapshot get each user event once, over all their lives up to a leave, which
/// clears the snapshot. Names and payloads are unique in a run.
pub fn nothing_is_heard_again(history: &[Record], recording: &[NodeId]) -> Result<(), String> {
    let mut heard = BTreeSet::new();
    let mut forgetful = BTreeSet::new();
    for record in history.iter().filter(|r| recording.contains(&r.node)) {
        match &record.what {
            What::Stopped(Stop::Left) => {
                forgetful.insert(record.node);
            }
            What::Delivered {
                event: Event::User(event),
                ..
            } if !forgetful.contains(&record.node)
                && !heard.insert((record.node, &event.name, &event.payload)) =>
            {
                return Err(format!(
                    "{:?}: node {} got {event:?} again, in life {}",
                    record.at, record.node, record.life
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn nothing_twice(sim: &Sim) {
    let all: Vec<NodeId> = (0..sim.nodes.len()).collect();
    nothing_is_heard_again(&sim.history, &all).unwrap();
}

#[test]
fn a_repeated_delivery_is_seen() {
    let mut sim = recording_cluster(8, 2, Weather::fair(), &|_| {});
    fire(&mut sim, 0, "seen");
    nothing_twice(&sim);
    sim.crash(1, false);
    // Without its file, the node does not know which events it has handled.
    sim.nodes[1].disk.snapshot = Some(Vec::new());
    sim.start(1);
    sim.join(1, &[0], false, true);
    agree(&mut sim, secs(30));
    assert!(nothing_is_heard_again(&sim.history, &[0, 1]).is_err());
    nothing_is_heard_again(&sim.history, &[0]).unwrap();
}

#[test]
fn a_crashed_cluster_rejoins_from_snapshots() {
    for (seed, together) in [(1, true), (2, false), (3, true), (4, false)] {
        let mut sim = recording_cluster(seed, 5, Weather::fair(), &|_| {});
        for n in 0..8 {
            fire(&mut sim, n % 5, &format!("before-{n}"));
        }
        for id in 0..5 {
            sim.crash(id, false);
        }
        sim.run_for(secs(5));
        for id in 0..5 {
            sim.start(id);
            if !together {
                sim.run_for(secs(3));
            }
        }
        agree(&mut sim, secs(60));
        fire(&mut sim, 3, "after");
        // Gives push/pulls time to repeat events.
        sim.run_for(secs(60));
        nothing_twice(&sim);
        close(sim);
    }
}

#[test]
fn a_killed_node_gets_missed_events_and_none_twice() {
    let mut sim = recording_cluster(5, 4, Weather::fair(), &|_| {});
    fire(&mut sim, 0, "seen");
    sim.crash(2, false);
    sim.run_for(secs(1));
    fire(&mut sim, 1, "missed-1");
    fire(&mut sim, 3, "missed-2");
    sim.start(2);
    let missed = |sim: &Sim| {
        let heard = heard(sim, 2);
        heard.contains_key("missed-1") && heard.contains_key("missed-2")
    };
    assert!(sim.run_until(secs(30), missed), "{:?}", heard(&sim, 2));
    agree(&mut sim, secs(30));
    sim.run_for(secs(60));
    nothing_twice(&sim);
    close(sim);
}

#[test]
fn nodes_rejoin_despite_loss() {
    for seed in 10..14 {
        let mut weather = Weather::fair();
        weather.loss = 0.2;
        weather.duplication = 0.1;
        weather.reordering = 0.1;
        let mut sim = recording_cluster(seed, 5, weather, &|_| {});
        sim.user_event(0, "before", "");
        sim.run_for(secs(40));
        for id in 1..5 {
            sim.crash(id, id == 4);
        }
        sim.run_for(secs(2));
        for id in 1..5 {
            sim.start(id);
        }
        agree(&mut sim, secs(180));
        sim.run_for(secs(60));
        nothing_twice(&sim);
    }
}

#[test]
fn a_node_that_left_does_not_rejoin() {
    let mut sim = recording_cluster(6, 3, Weather::fair(), &|_| {});
    let leave = sim.command(2, Command::Leave);
    sim.run_for(secs(10));
    assert_eq!(sim.result(leave), Some(&CommandResult::Done));
    sim.start(2);
    sim.run_for(secs(30));
    assert_eq!(sim.serf(2).members().count(), 1);
    assert_eq!(sim.serf(0).stats().left, 1);
}

/// Seeds 1656, 1799 and 2550 of the swarm: the cluster is split, each half has marked the other as failed,
/// and all nodes restart. Their snapshots record the failed members.
#[test]
fn halves_that_restart_during_a_split_reunite() {
    for seed in 0..4 {
        let mut sim = recording_cluster(seed, 6, Weather::fair(), &|_| {});
        fire(&mut sim, 0, "before");
        let (one, other) = ([0, 1, 2], [3, 4, 5]);
        cut_both_ways(&mut sim, &one, &other);
        let apart = |sim: &Sim| (0..6).all(|id| sim.serf(id).stats().failed == 3);
        assert!(sim.run_until(secs(120), apart));
        for id in 0..6 {
            sim.crash(id, false);
            sim.start(id);
        }
        sim.run_for(secs(60));
        let forgotten = |sim: &Sim| (0..6).all(|id| sim.serf(id).members().count() == 3);
        assert!(forgotten(&sim));
        fire_within(&mut sim, 0, "apart", &one);
        sim.network.mend_all();
        // Every 30 s, each of six nodes reconnects to one of three.
        agree(&mut sim, secs(60));
        assert!(sim.run_until(secs(60), |sim| all_heard(sim, "apart")));
        nothing_twice(&sim);
        close(sim);
    }
}

/// All hosts of a cluster start before the network is up.
#[test]
fn nodes_rejoin_when_the_network_comes_up_late() {
    let mut sim = recording_cluster(11, 4, Weather::fair(), &|_| {});
    let all = [0, 1, 2, 3];
    for id in all {
        sim.crash(id, true);
        cut_both_ways(&mut sim, &[id], &all);
    }
    all.iter().for_each(|&id| sim.start(id));
    sim.run_for(secs(300));
    assert!(all.iter().all(|&id| sim.serf(id).members().count() == 1));
    sim.network.mend_all();
    agree(&mut sim, secs(60));
    close(sim);
}

#[test]
fn a_torn_file_is_good_enough() {
    let mut sim = recording_cluster(7, 4, Weather::fair(), &|_| {});
    fire(&mut sim, 0, "seen");
    sim.run_for(secs(2));
    sim.crash(1, false);
    let file = sim.nodes[1].disk.snapshot.as_mut().unwrap();
    // The agent repairs the file in the same way: it cuts off the fragment.
    file.truncate(file.len() - 3);
    while file.last() != Some(&b'\n') {
        file.pop();
    }
    sim.start(1);
    agree(&mut sim, secs(60));
    close(sim);
}
