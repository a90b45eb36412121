//! Agents that rejoin from their snapshots, shared with the reference, and the events that they replay.

use std::fs;

use super::join;
use crate::live::{Agent, Kind, Spec, content, free, lacks_reference, wait_until};

/// Another node of the cluster, which sends events.
fn peer() -> Agent {
    Agent::start(&["-node=peer", "-profile=local"])
}

#[test]
fn a_killed_agent_rejoins_and_handles_no_event_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (snap, ran) = (dir.path().join("snap"), dir.path().join("ran"));
    let peer = peer();
    let flags = [
        "-node=me".to_owned(),
        "-profile=local".to_owned(),
        format!("-snapshot={}", snap.display()),
        format!(
            "-event-handler=user=echo $SERF_USER_EVENT >> {}",
            ran.display()
        ),
        format!("-bind={}", free()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = Agent::start(&[&flags[..], &[&join(&peer), "-replay"]].concat());
    assert!(agent.text().contains("Snapshot: true"));
    wait_until("joined", || peer.sees("me", "alive"));
    for event in ["one", "two", "three"] {
        assert!(peer.call("event", &["-coalesce=false", event]).0);
    }
    wait_until("handled", || content(&ran) == "one\ntwo\nthree\n");
    agent.end(libc::SIGKILL);
    let text = content(&snap);
    assert!(
        text.contains(&format!("alive: peer {}\n", peer.gossip)),
        "{text}"
    );
    assert!(text.contains("event-clock: "), "{text}");

    // Rejoins from the snapshot, without -join. Handles missed events, but not those it has handled before.
    assert!(peer.call("event", &["-coalesce=false", "four"]).0);
    let agent = Agent::start(&[&flags[..], &["-replay"]].concat());
    agent.wait_for("[INFO] serf: Attempting re-join to previously known node: peer: ");
    agent.wait_for("[INFO] serf: Re-joined to previously known node: peer: ");
    assert!(peer.call("event", &["-coalesce=false", "five"]).0);
    wait_until("the new one", || content(&ran).ends_with("five\n"));
    let seen = content(&ran);
    assert!(seen.starts_with("one\ntwo\nthree\n"), "{seen}");
    for event in ["one", "two", "three", "five"] {
        assert_eq!(seen.matches(event).count(), 1, "{seen}");
    }

    // After a leave it does not rejoin,
    assert_eq!(agent.end(libc::SIGINT), 0);
    let text = content(&snap);
    assert!(text.contains("\nleave\n"), "{text}");
    let agent = Agent::start(&flags);
    agent.wait_for("EventMemberJoin: me");
    assert!(agent.call("event", &["alone"]).0);
    assert!(!agent.text().contains("Attempting re-join"));
    agent.end(libc::SIGKILL);

    // except with -rejoin.
    let leave = format!("alive: peer {}\nleave\n", peer.gossip);
    fs::write(&snap, leave).unwrap();
    let agent = Agent::start(&[&flags[..], &["-rejoin"]].concat());
    agent.wait_for("[INFO] serf: Ignoring previous leave in snapshot");
    agent.wait_for("[INFO] serf: Re-joined to previously known node: peer: ");
}

#[test]
fn damaged_lines_of_a_snapshot_are_skipped_with_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    fs::write(
        &snap,
        "# comment\ncoordinate: x\nalive: lost\nclock: x\nevent-clock: y\nquery-clock: -1\nwhat\n\
         clock: 7\nalive: gone 127.0.0.1:1\nalive: n3 127.0.0.1:28",
    )
    .unwrap();
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", &flag]);
    for line in [
        "[WARN] serf: Failed to parse address: lost",
        "[WARN] serf: Failed to convert clock time: x",
        "[WARN] serf: Failed to convert event clock time: y",
        "[WARN] serf: Failed to convert query clock time: -1",
        "[WARN] serf: Unrecognized snapshot line: what",
        "[WARN] serf: Snapshot ends inside a line: dropping its last 22 bytes",
        "[INFO] serf: Attempting re-join to previously known node: gone: 127.0.0.1:1",
        "[WARN] serf: Failed to re-join any previously known node",
    ] {
        agent.wait_for(line);
    }
    wait_until("new lines", || content(&snap).contains("alive: me "));
    agent.end(libc::SIGTERM);
    let text = content(&snap);
    assert!(!text.contains("n3"), "{text}");
    let lines = text.lines().skip(9);
    for line in lines {
        let known = [
            "alive: me 127.0.0.1:",
            "clock: ",
            "event-clock: ",
            "query-clock: ",
        ];
        assert!(known.iter().any(|start| line.starts_with(start)), "{text}");
    }
}

/// One program writes a snapshot, the other continues from it, in both directions.
#[test]
fn snapshots_are_shared_with_the_reference() {
    if lacks_reference("snapshots_are_shared_with_the_reference") {
        return;
    }
    let peer = Agent::start(&["-node=peer number 1"]);
    let kinds = [Kind::Serf, Kind::Cottar];
    for (first, second) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
        let dir = tempfile::tempdir().unwrap();
        let (snap, ran) = (dir.path().join("snap"), dir.path().join("ran"));
        let address = free();
        // A new name each time, because the peer lists the previous agent as alive for a while.
        let me = format!("me-{}", address.port());
        let flags = [
            format!("-node={me}"),
            "-replay".to_owned(),
            "-log-level=debug".to_owned(),
            format!("-snapshot={}", snap.display()),
            format!(
                "-event-handler=user=echo $SERF_USER_EVENT >> {}",
                ran.display()
            ),
        ];
        let start = |kind: Kind, more: &[&str]| {
            let spec = Spec::bare(kind).gossip(address).args(&flags);
            spec.args(more).start()
        };
        let agent = start(first, &[&join(&peer)]);
        wait_until("joined", || peer.sees(&me, "alive"));
        let mark = format!("seen-{}", address.port());
        assert!(peer.call("event", &["-coalesce=false", &mark]).0);
        wait_until("handled", || content(&ran).contains(&mark));
        agent.end(libc::SIGTERM);
        drop(agent);
        fs::write(&ran, "").unwrap();

        let agent = start(second, &[]);
        agent.wait_for("Re-joined to previously known node: peer number 1: ");
        wait_until("back", || peer.sees(&me, "alive"));
        let mark = format!("next-{}", address.port());
        assert!(peer.call("event", &["-coalesce=false", &mark]).0);
        wait_until("the new one", || content(&ran).contains(&mark));
        assert!(!content(&ran).contains("seen-"), "{}", content(&ran));

        // Each program respects a leave that the other one recorded.
        assert_eq!(agent.end(libc::SIGINT), 0);
        drop(agent);
        let agent = start(first, &[]);
        agent.wait_for(&format!("EventMemberJoin: {me}"));
        assert!(agent.call("event", &["alone"]).0);
        assert!(!agent.text().contains("Attempting re-join"));
        agent.end(libc::SIGKILL);
        drop(agent);
        fs::write(
            &snap,
            format!("alive: peer number 1 {}\nleave\n", peer.gossip),
        )
        .unwrap();
        let agent = start(second, &["-rejoin"]);
        agent.wait_for("Re-joined to previously known node: peer number 1: ");
    }
}

/// With -replay, a join in the background (-retry-join) delivers old events, too.
#[test]
fn old_events_are_replayed_if_requested_at_the_join() {
    let dir = tempfile::tempdir().unwrap();
    let peer = peer();
    assert!(peer.call("event", &["-coalesce=false", "old"]).0);
    let config = dir.path().join("config.json");
    let text = format!(
        "{{\"replay_on_join\": true, \"retry_join\": [\"{}\"]}}",
        peer.gossip
    );
    fs::write(&config, text).unwrap();
    let (by_file, by_flag) = (format!("-config-file={}", config.display()), join(&peer));
    let cases: [(&str, &[&str], bool); 3] = [
        ("flag", &[&by_flag, "-replay"], true),
        ("file", &[&by_file], true),
        ("neither", &[&by_flag], false),
    ];
    let agents = cases.map(|(name, args, replay)| {
        let ran = dir.path().join(name);
        let handler = format!(
            "-event-handler=user=echo $SERF_USER_EVENT >> {}",
            ran.display()
        );
        let node = format!("-node={name}");
        let agent = Agent::start(&[&[&handler, &node, "-profile=local"], args].concat());
        agent.wait_for(&format!(
            "[INFO] agent: Joining cluster...(replay: {replay})\n"
        ));
        agent.wait_for("[INFO] agent: Join completed. Synced with 1 initial agents");
        (agent, ran, replay)
    });
    assert!(peer.call("event", &["-coalesce=false", "new"]).0);
    for (_agent, ran, replay) in agents {
        let expected = if replay { "old\nnew\n" } else { "new\n" };
        wait_until(expected, || content(&ran).ends_with("new\n"));
        assert_eq!(content(&ran), expected);
    }
}
