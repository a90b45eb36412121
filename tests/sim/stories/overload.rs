//! Nodes whose processors are too slow for what arrives, and their recovery.

use cottar::serf::MemberEventKind;
use cottar::time::Duration;

use super::{close, cluster, got, got_member_event, secs};
use crate::cluster::{NodeId, Sim, Spec, host_addr};

/// Nodes before the overload; ten more join during it.
const SIZE: usize = 20;
/// Processor time of an input with which even a cluster at rest has more to do than it can.
const OVERLOADED: Duration = Duration::from_millis(100);
/// Processor time of an input with which a cluster at rest is busy for a tenth of the time. Gossip and relayed
/// pings about nodes that answer too late take ten times as much.
const BUSY: Duration = Duration::from_millis(40);

/// Time until nothing waits and all agree.
const RECOVERED_MAX: Duration = secs(180);

fn slow_down(sim: &mut Sim, turn_time: Duration) {
    for id in 0..sim.nodes.len() {
        sim.slow_down(id, turn_time);
    }
}

fn waiting(sim: &Sim) -> usize {
    (0..sim.nodes.len()).map(|id| sim.waiting(id)).sum()
}

/// For a minute inputs take this long, while nodes join and events are fired. Returns the largest number of
/// inputs that waited.
fn overload(sim: &mut Sim, turn_time: Duration) -> usize {
    slow_down(sim, turn_time);
    let mut most = 0;
    for second in 0..60 {
        if second % 6 == 0 {
            let id: NodeId = sim.nodes.len();
            sim.add(Spec::lan(&format!("n{id}"), host_addr(id)));
            sim.slow_down(id, turn_time);
            sim.start(id);
            sim.join(id, &[0, 1, 2], true, true);
        }
        sim.user_event(second % SIZE, "deploy", &format!("in overload {second}"));
        sim.run_for(secs(1));
        most = most.max(waiting(sim));
    }
    most
}

#[test]
fn an_overloaded_cluster_recovers_when_the_load_is_gone() {
    let mut sim = cluster(70, SIZE);
    let waited = overload(&mut sim, OVERLOADED);
    assert!(waited > SIZE * 200, "only {waited} inputs wait");
    let failed = |sim: &Sim| {
        let pairs = (0..SIZE).flat_map(|id| (0..sim.nodes.len()).map(move |other| (id, other)));
        let name = |other| format!("n{other}");
        let kind = MemberEventKind::Failed;
        pairs
            .map(|(id, other)| got_member_event(sim, id, kind, &name(other)))
            .sum::<usize>()
    };
    assert!(failed(&sim) > 0, "nobody was too busy to answer");

    slow_down(&mut sim, BUSY);
    assert!(sim.run_until(RECOVERED_MAX, |sim| waiting(sim) < SIZE
        && sim.disagreement().is_none()));
    // Agreement lasts: what the overload has left behind makes no new work.
    let before = failed(&sim);
    sim.run_for(secs(60));
    assert_eq!(failed(&sim), before);
    assert!(sim.run_until(secs(1), |sim| waiting(sim) < SIZE));
    sim.user_event(0, "deploy", "afterwards");
    let all: Vec<NodeId> = (0..sim.nodes.len()).collect();
    assert!(sim.run_until(secs(2), |sim| all.iter().all(|&id| got(
        sim,
        id,
        "afterwards"
    ) == 1)));
    close(sim);
}
