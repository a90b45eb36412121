//! Scenarios: how a cluster reacts to a single incident.

mod events;
mod events_while_away;
mod failures;
mod joins;
mod leaves;
mod liars;
mod order;
mod overload;
mod queries;
mod repair;
mod repeated_queries;

use cottar::serf::{CommandResult, Event, MemberEventKind, MemberStatus};
use cottar::swim::NodeState;
use cottar::time::Duration;

use crate::checkers::{self, Limits};
use crate::cluster::{NodeId, Sim, Spec, host_addr, node_name};
use crate::history::What;
use crate::network::Weather;

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `n0` to `n(size - 1)` on a good LAN, all joined.
fn cluster(seed: u64, size: usize) -> Sim {
    let mut sim = Sim::new(seed, Weather::fair());
    for host in 0..size {
        sim.add(Spec::lan(&format!("n{host}"), host_addr(host)));
        sim.start(host);
        if host > 0 {
            let join = sim.join(host, &[0], true, false);
            sim.run_for(Duration::from_millis(100));
            let joined = CommandResult::Joined {
                contacted: 1,
                failures: Vec::new(),
            };
            assert_eq!(sim.result(join), Some(&joined));
        }
    }
    agree(&mut sim, secs(2));
    sim
}

pub fn agree(sim: &mut Sim, limit: Duration) {
    let agreed = sim.run_until(limit, |sim| sim.disagreement().is_none());
    assert!(agreed, "after {limit:?}: {:?}", sim.disagreement());
}

/// Ends a scenario: waits until gossip has ended, and runs every checker.
pub fn close(mut sim: Sim) {
    sim.run_for(secs(40));
    sim.finish();
    let limits = Limits {
        queue_messages_max: 4096,
        stream_age_max: secs(30),
        hurried_ping: Duration::from_millis(100),
    };
    checkers::check_all(&sim.history, &limits).unwrap();
}

fn all(sim: &Sim, ids: &[NodeId], name: &str, status: Option<MemberStatus>) -> bool {
    ids.iter().all(|&id| sim.status(id, name) == status)
}

/// Returns how often a node's handlers got this event about a member.
fn got_member_event(sim: &Sim, id: NodeId, kind: MemberEventKind, name: &str) -> usize {
    let name = node_name(name);
    let matches = |what: &What| match what {
        What::Delivered {
            event: Event::Member(event),
            ..
        } => event.kind == kind && event.members.iter().any(|member| member.name == name),
        _ => false,
    };
    let of_node = sim.history.iter().filter(|record| record.node == id);
    of_node.filter(|record| matches(&record.what)).count()
}

/// Returns how often a node's handlers got a user event with this payload.
fn got(sim: &Sim, id: NodeId, payload: &str) -> usize {
    let matches = |what: &What| match what {
        What::Delivered {
            event: Event::User(event),
            ..
        } => event.payload == payload.as_bytes(),
        _ => false,
    };
    let of_node = sim.history.iter().filter(|record| record.node == id);
    of_node.filter(|record| matches(&record.what)).count()
}

pub fn cut_both_ways(sim: &mut Sim, one: &[NodeId], other: &[NodeId]) {
    for &a in one {
        for &b in other {
            sim.network.cut(a, b);
            sim.network.cut(b, a);
        }
    }
}

fn state(sim: &Sim, id: NodeId, of: &str) -> Option<NodeState> {
    sim.serf(id)
        .swim()
        .node(&node_name(of))
        .map(|node| node.state)
}

fn incarnation(sim: &Sim, id: NodeId, of: &str) -> u32 {
    sim.serf(id)
        .swim()
        .node(&node_name(of))
        .unwrap()
        .incarnation
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut sim = cluster(seed, 5);
        sim.network.weather.loss = 0.1;
        sim.crash(2, true);
        sim.run_for(secs(60));
        sim.fingerprint()
    };
    checkers::runs_are_the_same(run(30), run(30)).unwrap();
    assert_ne!(run(30), run(31));
}
