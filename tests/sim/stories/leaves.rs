//! Nodes that leave, and nodes that are forced to leave.

use cottar::serf::{Command, CommandResult, MemberEventKind, MemberStatus};
use cottar::time::Duration;

use super::{agree, all, close, cluster, cut_both_ways, got_member_event, secs};
use crate::cluster::Sim;
use crate::history::Stop;

#[test]
fn leaving_is_not_failing() {
    let mut sim = cluster(8, 5);
    let leave = sim.command(4, Command::Leave);
    assert!(sim.run_until(secs(5 + 5 + 1), |sim| sim.result(leave).is_some()));
    assert_eq!(sim.result(leave), Some(&CommandResult::Done));
    assert_eq!(sim.nodes[4].stopped, Some(Stop::Left));
    let others = [0, 1, 2, 3];
    let left = |sim: &Sim| all(sim, &others, "n4", Some(MemberStatus::Left));
    assert!(sim.run_until(secs(2), left));
    sim.run_for(secs(60));
    for id in others {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Leave, "n4"), 1);
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Failed, "n4"), 0);
    }
    close(sim);
}

#[test]
fn a_leave_that_no_node_received_is_a_failure() {
    let mut sim = cluster(9, 3);
    cut_both_ways(&mut sim, &[2], &[0, 1]);
    let leave = sim.command(2, Command::Leave);
    // Each of the two broadcasts times out after five seconds, or ends after its last transmission.
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    let failed = |sim: &Sim| all(sim, &[0, 1], "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(30), failed));
    close(sim);
}

#[test]
fn force_leave_and_prune() {
    let mut sim = cluster(10, 5);
    sim.crash(3, true);
    sim.crash(4, true);
    let others = [0, 1, 2];
    let both =
        |sim: &Sim, status| all(sim, &others, "n3", status) && all(sim, &others, "n4", status);
    assert!(sim.run_until(secs(60), |sim| both(sim, Some(MemberStatus::Failed))));
    let force = |node: &[u8], prune| Command::ForceLeave {
        node: node.to_vec(),
        prune,
    };
    let plain = sim.command(0, force(b"n3", false));
    let prune = sim.command(1, force(b"n4", true));
    let done = |sim: &Sim| {
        all(sim, &others, "n3", Some(MemberStatus::Left)) && all(sim, &others, "n4", None)
    };
    assert!(sim.run_until(secs(10), done));
    sim.run_for(secs(5));
    assert_eq!(sim.result(plain), Some(&CommandResult::Done));
    assert_eq!(sim.result(prune), Some(&CommandResult::Done));
    for id in others {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Leave, "n3"), 1);
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Leave, "n4"), 1);
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Reap, "n4"), 1);
    }
    sim.run_for(secs(120));
    assert!(done(&sim), "pruned is pruned");
    // A forced leave of an unknown name succeeds.
    let unknown = sim.command(2, force(b"nobody", false));
    sim.run_for(secs(6));
    assert_eq!(sim.result(unknown), Some(&CommandResult::Done));
    close(sim);
}

#[test]
fn a_running_node_refutes_a_force_leave() {
    let mut sim = cluster(11, 4);
    let force = Command::ForceLeave {
        node: b"n2".to_vec(),
        prune: false,
    };
    sim.command(0, force);
    sim.run_for(secs(10));
    assert_eq!(sim.disagreement(), None);
    for id in 0..4 {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Leave, "n2"), 0);
    }
    close(sim);
}

#[test]
fn a_missed_force_leave_is_refuted_after_probing() {
    let mut sim = cluster(32, 3);
    // The intent spreads among the others while n2 is unreachable. After that, gossip no longer
    // carries it, and a push/pull gives n2 only its status time.
    sim.network.cut(0, 2);
    sim.network.cut(1, 2);
    let force = Command::ForceLeave {
        node: b"n2".to_vec(),
        prune: false,
    };
    sim.command(0, force);
    // Long enough for all transmissions, but not for a complete probe.
    sim.run_for(Duration::from_millis(950));
    sim.network.mend_all();
    assert!(all(&sim, &[0, 1], "n2", Some(MemberStatus::Leaving)));
    // A leave takes at most 5 + 5 + 1 s; after that, nodes that still see n2 ask it.
    agree(&mut sim, secs(11 + 2));
    close(sim);
}
