//! Crashes: detected in time, undone by a restart, cleaned up by force-leave.

use crate::live::{Agent, Kind, Member, Recorder, await_members, await_status, scenario};
use std::time::Instant;

/// Maximum time until a crash is detected with the LAN profile, in seconds (gossip spec 4.4 and 4.7): a full
/// probe round until the node's turn, the failing probe, the suspicion without confirmation, and a gossip
/// round or two. In clusters of up to three nodes no other node can confirm, so the suspicion timeout is the
/// minimum.
fn detection(nodes: usize) -> f64 {
    let probe_interval = 1.0;
    let shortest = 4.0 * (nodes as f64).log10().max(1.0) * probe_interval;
    let suspicion = if nodes > 3 { 6.0 * shortest } else { shortest };
    let turn = 2.0 * (nodes - 1) as f64 * probe_interval;
    turn + 2.0 * probe_interval + suspicion + 2.0
}

fn cluster(lab: &crate::live::Lab, watcher: &Recorder) -> Vec<Agent> {
    let nodes = lab.start_all(|index, spec| {
        let spec = spec.tag("role", "web");
        if index == 0 {
            spec.recorded(watcher)
        } else {
            spec
        }
    });
    let viewers: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&viewers, &members, 5.0);
    nodes
}

#[test]
fn a_crash_shows_as_failed_in_time_and_a_restart_as_alive() {
    scenario("crash", &["CSC", "SCS", "CCS", "SSC"], |lab| {
        let watcher = Recorder::new(lab.path(), "n1");
        let mut nodes = cluster(lab, &watcher);
        let victim = nodes.pop().expect("three nodes");
        // The victim's join must have left the watcher's coalescer, or the failure would cancel it.
        watcher.await_records(1, 5.0, |record| {
            record.event() == "member-join" && record.stdin.starts_with(b"n") && {
                let lines = String::from_utf8_lossy(&record.stdin).into_owned();
                lines.contains("n3\t")
            }
        });
        let crashed = Instant::now();
        victim.crash();
        let viewers: Vec<&Agent> = nodes.iter().collect();
        await_status(&viewers, "n3", "failed", detection(3));
        println!(
            "{:?} called n3 failed after {:.1?}",
            lab.kind(0),
            crashed.elapsed()
        );
        watcher.await_records(1, 4.0, |record| record.event() == "member-failed");
        let victim = victim.restart(&nodes[0]);
        let all = [&nodes[0], &nodes[1], &victim];
        let members = all.map(Member::of);
        await_members(&all, &members, 8.0);
        watcher.await_records(2, 6.0, |record| {
            record.event() == "member-join"
                && String::from_utf8_lossy(&record.stdin).contains("n3\t")
        });
    });
}

#[test]
fn force_leave_and_prune_work_from_both_sides() {
    scenario("force-leave", &["CSS", "SCC", "CSC", "SCS"], |lab| {
        let watcher = Recorder::new(lab.path(), "n1");
        let mut nodes = cluster(lab, &watcher);
        let victim = nodes.pop().expect("three nodes");
        victim.crash();
        let viewers: Vec<&Agent> = nodes.iter().collect();
        await_status(&viewers, "n3", "failed", detection(3));
        let forced = viewers[0].cli(&["force-leave", "n3"]).success();
        assert_eq!(forced.stdout, "");
        await_status(&viewers, "n3", "left", 5.0);
        viewers[0].await_log("[INFO] serf: EventMemberLeave (forced): n3 127.0.0.", 5.0);
        watcher.await_records(1, 6.0, |record| {
            record.event() == "member-leave"
                && String::from_utf8_lossy(&record.stdin).starts_with("n3\t")
        });
        viewers[1].cli(&["force-leave", "-prune", "n3"]).success();
        let rest: Vec<Member> = nodes.iter().map(Member::of).collect();
        await_members(&viewers, &rest, 5.0);
        viewers[1].await_log("[INFO] serf: EventMemberReap (forced): n3 127.0.0.", 5.0);
        watcher.await_records(1, 6.0, |record| record.event() == "member-reap");
        // An unknown name is not an error.
        viewers[0].cli(&["force-leave", "nobody"]).success();
    });
}

#[test]
fn a_live_node_refutes_a_forced_leave() {
    // In a cluster of two, the reference does not send the intent: it first marks the other node as leaving,
    // and then has no live node to send to. So there only cottar forces a leave.
    scenario("refute", &["CSC", "SCS", "CS", "CC"], |lab| {
        let watcher = Recorder::new(lab.path(), "n1");
        let nodes = cluster(lab, &watcher);
        let viewers: Vec<&Agent> = nodes.iter().collect();
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        // A leave intent with the Lamport time of the join would be ignored by its subject, so intents about
        // an unknown node first advance the clocks.
        for node in &nodes {
            node.cli(&["force-leave", "nobody"]).success();
        }
        let force = |by: &Agent, options: &[&str], other: &str| {
            let line = [&["force-leave"][..], options, &[other]].concat();
            let ended = by.cli(&line);
            match by.spec.kind {
                Kind::Serf => assert_eq!(ended.code, 0, "{ended:?}"),
                Kind::Cottar => {
                    assert_eq!(ended.code, 1, "{ended:?}");
                    let why = format!("Member '{other}' is alive and has refuted the leave");
                    let said = ended.stdout.clone() + &ended.stderr;
                    assert!(said.contains(&why), "{ended:?}");
                }
            }
            await_members(&viewers, &members, 5.0);
        };
        force(&nodes[0], &[], "n2");
        if nodes[0].spec.kind == Kind::Cottar {
            force(&nodes[0], &["-prune"], "n2");
        }
        if nodes.len() > 2 {
            force(&nodes[1], &[], "n1");
        }
    });
}
