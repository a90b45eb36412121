//! Nodes that fail, and nodes that only appear to have failed.

use cottar::serf::{MemberEventKind, MemberStatus};
use cottar::swim::NodeState;

use super::{
    agree, all, close, cluster, cut_both_ways, got, got_member_event, incarnation, secs, state,
};
use crate::cluster::Sim;
use crate::network::Weather;

#[test]
fn a_dead_host_is_found_by_probing() {
    let mut sim = cluster(2, 5);
    sim.crash(4, true);
    let others = [0, 1, 2, 3];
    // Each of four nodes reaches it after at most 2 * 4 - 1 probes of a second; then the longest
    // suspicion: 4 * 1 s * 6.
    let failed = |sim: &Sim| all(sim, &others, "n4", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(8 + 24), failed));
    for id in others {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Failed, "n4"), 1);
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Leave, "n4"), 0);
    }
    close(sim);
}

#[test]
fn a_killed_process_is_found_by_probing() {
    let mut sim = cluster(3, 3);
    sim.crash(1, false);
    let failed = |sim: &Sim| all(sim, &[0, 2], "n1", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(4 + 24), failed));
    close(sim);
}

#[test]
fn relays_prevent_failures_across_a_cut_link() {
    let mut sim = cluster(4, 4);
    cut_both_ways(&mut sim, &[0], &[1]);
    sim.run_for(secs(90));
    for id in 0..4 {
        for other in 0..4 {
            assert_eq!(
                got_member_event(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                0
            );
        }
    }
    assert_eq!(sim.disagreement(), None);
    close(sim);
}

#[test]
fn streams_prevent_failures_where_datagrams_are_lost() {
    // Only streams get through, with delay.
    let mut sim = cluster(5, 2);
    sim.network.weather.loss = 0.3;
    sim.run_for(secs(120));
    for (id, other) in [(0, "n1"), (1, "n0")] {
        assert_eq!(
            got_member_event(&sim, id, MemberEventKind::Failed, other),
            0
        );
    }
    sim.network.weather = Weather::fair();
    close(sim);
}

#[test]
fn a_suspect_refutes() {
    let mut sim = cluster(6, 3);
    cut_both_ways(&mut sim, &[2], &[0, 1]);
    let suspected = |sim: &Sim| state(sim, 0, "n2") == Some(NodeState::Suspect);
    assert!(sim.run_until(secs(6), suspected));
    let before = incarnation(&sim, 0, "n2");
    sim.network.mend_all();
    let back = |sim: &Sim| {
        [0, 1].iter().all(|&id| {
            state(sim, id, "n2") == Some(NodeState::Alive) && incarnation(sim, id, "n2") > before
        })
    };
    assert!(
        sim.run_until(secs(4), back),
        "before the shortest suspicion ends"
    );
    sim.run_for(secs(30));
    assert_eq!(got_member_event(&sim, 0, MemberEventKind::Failed, "n2"), 0);
    assert_eq!(got_member_event(&sim, 1, MemberEventKind::Failed, "n2"), 0);
    close(sim);
}

#[test]
fn a_partition_heals() {
    let mut sim = cluster(7, 6);
    let (left, right) = ([0, 1, 2], [3, 4, 5]);
    cut_both_ways(&mut sim, &left, &right);
    let apart = |sim: &Sim| {
        right
            .iter()
            .all(|id| all(sim, &left, &format!("n{id}"), Some(MemberStatus::Failed)))
            && left
                .iter()
                .all(|id| all(sim, &right, &format!("n{id}"), Some(MemberStatus::Failed)))
    };
    assert!(sim.run_until(secs(120), apart));
    sim.user_event(0, "deploy", "left side");
    sim.user_event(5, "deploy", "right side");
    sim.run_for(secs(60)); // until the records are dropped: only the reconnect finds the way back
    sim.network.mend_all();
    // A draw every 30 s on each of six nodes, all of whose failed members run.
    agree(&mut sim, secs(30 + 30));
    for id in left {
        for other in right {
            assert_eq!(
                got_member_event(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                1
            );
            assert_eq!(
                got_member_event(&sim, id, MemberEventKind::Join, &format!("n{other}")),
                2
            );
        }
    }
    // Events fired during the cut spread by push/pull: log2 6 + some rounds of 30 s.
    let crossed = |sim: &Sim| {
        (0..6).all(|id| got(sim, id, "left side") == 1 && got(sim, id, "right side") == 1)
    };
    assert!(sim.run_until(secs(8 * 30), crossed));
    close(sim);
}

#[test]
fn a_long_pause_fails_and_ends() {
    let mut sim = cluster(23, 5);
    sim.pause(1);
    let others = [0, 2, 3, 4];
    let failed = |sim: &Sim| all(sim, &others, "n1", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.user_event(0, "deploy", "meanwhile");
    sim.run_for(secs(60));
    sim.resume(1);
    // It continues probes and exchanges, learns that it was declared dead, and refutes.
    agree(&mut sim, secs(2 * 30));
    let heard = |sim: &Sim| got(sim, 1, "meanwhile") == 1;
    assert!(sim.run_until(secs(8 * 30), heard));
    for id in others {
        assert_eq!(got_member_event(&sim, id, MemberEventKind::Failed, "n1"), 1);
    }
    close(sim);
}

#[test]
fn a_short_pause_causes_no_failure() {
    let mut sim = cluster(24, 5);
    for _ in 0..10 {
        sim.pause(1);
        sim.run_for(secs(2));
        sim.resume(1);
        sim.run_for(secs(5));
    }
    for id in 0..5 {
        for other in 0..5 {
            assert_eq!(
                got_member_event(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                0
            );
        }
    }
    agree(&mut sim, secs(10));
    close(sim);
}
