//! Joins that succeed, and joins that fail.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use crate::live::{Agent, COTTAR, free, refused, wait_until};
use crate::{lines_of, serves_rpc, shown, start};

#[test]
fn two_agents_join_and_their_handlers_run() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    let script = format!(
        "while IFS= read -r line; do echo \"$SERF_EVENT $line\"; done >> {}",
        events.display()
    );
    let first = start("first", &["-event-handler", &script]);
    let port = first.gossip.port();
    // By name: through the resolver's process.
    let join = format!("localhost:{port}");
    let second = start("second", &["-join", &join, "-tag", "role=web"]);
    let text = second.wait_for("agent: joined: 1 nodes");
    assert!(text.contains(
        "\n==> Joining cluster...(replay: false)\n    Join completed. Synced with 1 initial agents\n\n\
         ==> Log data will now stream in as it occurs:\n\n    "
    ));
    first.wait_for("[INFO] serf: EventMemberJoin: second 127.0.0.1");
    let line = "member-join second\t127.0.0.1\tweb\trole=web".to_owned();
    wait_until("the handler's line", || lines_of(&events).contains(&line));
    second.signal(libc::SIGINT);
    assert_eq!(second.exit_code(), 0);
    first.wait_for("[INFO] serf: EventMemberLeave: second 127.0.0.1");
    let line = "member-leave second\t127.0.0.1\tweb\trole=web".to_owned();
    wait_until("the leave event", || lines_of(&events).contains(&line));
}

#[test]
fn a_start_join_that_fails_ends_the_agent_and_shows_its_log() {
    let closed = free();
    let join = closed.to_string();
    let output = Command::new(COTTAR)
        .args(["agent", "-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"])
        .args(["-node=n1", "-join", &join, "-join=/x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = format!(
        "==> 2 errors occurred:\n\t* Failed to join {closed}: dial tcp {closed}: connect: connection \
         refused\n\t* Failed to resolve /x: empty node name provided\n"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&error), "{text}");
    assert!(!text.contains("Log data will now stream"));
    // The log lines that were held back during the start are printed.
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("[INFO] agent: Serf agent starting"), "{log}");
}

#[test]
fn during_the_start_join_rpc_answers_and_signals_work() {
    // Accepts connections and never sends anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let agent = Agent::spawn(&["-node=n1", "-join", &addr]);
    agent.wait_for("==> Joining cluster...(replay: false)");
    let (_held, _) = silent.accept().unwrap();
    assert!(serves_rpc(agent.rpc));
    // The log is held back until the join is over.
    assert!(!agent.text().contains("Serf agent starting"));
    agent.signal(libc::SIGINT);
    assert_eq!(agent.exit_code(), 0);
    let text = agent.wait_for("[INFO] agent: shutdown complete");
    assert!(text.contains("[INFO] agent: requesting graceful leave from Serf"));
    assert!(text.contains("[INFO] agent: requesting serf shutdown"));
}

#[test]
fn retry_join_repeats_until_a_node_answers() {
    let addr = free();
    let early = start(
        "early",
        &["-retry-join", &addr.to_string(), "-retry-interval=1s"],
    );
    let failed = format!("Failed to join {addr}: dial tcp {addr}: connect: connection refused");
    let text = early.wait("a failure", |text| text.contains("retrying in 1s"));
    assert!(text.contains("[INFO] agent: Joining cluster...(replay: false)"));
    assert!(text.contains("[WARN] agent: error joining: 1 error occurred:"));
    assert!(text.contains("[WARN] agent: Join failed: 1 error occurred:"));
    assert!(text.contains(&failed), "{text}");
    let _late = start("late", &[&format!("-bind={addr}")]);
    early.wait_for("[INFO] agent: Join completed. Synced with 1 initial agents");
    early.wait_for("EventMemberJoin: late");
}

#[test]
fn retry_join_gives_up_after_one_attempt_more_than_the_limit() {
    let addr = free().to_string();
    let agent = Agent::spawn(&[
        "-node=n1",
        "-retry-join",
        &addr,
        "-retry-interval=1s",
        "-retry-max=1",
    ]);
    assert_eq!(agent.exit_code(), 1);
    let text = agent.wait_for("[ERR] agent: maximum retry join attempts made, exiting");
    assert_eq!(text.matches("[INFO] agent: Joining cluster...").count(), 2);
}

#[test]
fn a_stopped_agent_fails_and_returns() {
    let watcher = start("watcher", &["-profile=local"]);
    let join = watcher.gossip.to_string();
    let sleeper = start("sleeper", &["-profile=local", "-join", &join]);
    sleeper.wait_for("joined: 1 nodes");
    watcher.wait_for("EventMemberJoin: sleeper");
    sleeper.signal(libc::SIGSTOP);
    watcher.wait_for("EventMemberFailed: sleeper");
    sleeper.signal(libc::SIGCONT);
    watcher.wait("the return", |text| {
        text.matches("EventMemberJoin: sleeper").count() >= 2
    });
    assert!(serves_rpc(sleeper.rpc));
}

#[test]
fn keys_separate_clusters() {
    let key = "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==";
    let first = start("first", &[key]);
    assert!(first.text().contains("Encrypted: true"));
    let join = first.gossip.to_string();
    let second = start("second", &[key, "-join", &join]);
    second.wait_for("joined: 1 nodes");
    first.wait_for("EventMemberJoin: second");
    for other in [&["-encrypt=MTEyMzQ1Njc4OWFiY2RlZg=="][..], &[]] {
        let stranger = ["-node=stranger", "-join", &join];
        let stranger = Agent::spawn(&[other, &stranger].concat());
        assert_eq!(stranger.exit_code(), 1);
    }
    assert!(!first.text().contains("stranger 127.0.0.1"));
}

#[test]
fn ipv6_agents_join() {
    // Needs IPv6.
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let first = start("first", &["-bind=[::1]:0"]);
    let join = shown(&first).to_string();
    assert!(join.starts_with("[::1]:"));
    let second = start("second", &["-bind=[::1]:0", "-join", &join]);
    second.wait_for("joined: 1 nodes");
    first.wait_for("EventMemberJoin: second ::1");
    // An unspecified address receives both families.
    let both = start(
        "both",
        &["-bind=[::]:0", "-advertise=[::1]:0", "-join", &join],
    );
    let four = format!("127.0.0.1:{}", shown(&both).port());
    let last = start("last", &["-join", &four]);
    last.wait_for("joined: 1 nodes");
}

#[test]
fn only_nodes_of_allowed_networks_are_accepted_and_contacted() {
    let at = |host: &str| format!("-bind={host}:{}", free().port());
    let bounded = start("bounded", &["-allow=127.7.0.0/16", &at("127.7.0.1")]);
    let addr = &shown(&bounded).to_string();
    let near = start("near", &["-join", addr, &at("127.7.0.2")]);
    wait_until("the neighbour", || bounded.sees("near", "alive"));
    // It joins its neighbour, from which the third node learns about it; it cannot reach that third node.
    let far = start("far", &[&at("127.8.0.1")]);
    let (joined, text) = far.call("join", &[addr]);
    assert!(!joined, "{text}");
    let (joined, text) = far.call("join", &[&shown(&near).to_string()]);
    assert!(joined, "{text}");
    wait_until("the far one", || near.sees("far", "alive"));
    wait_until("what was dropped", || {
        let (_, info) = bounded.call("info", &[]);
        let count = |key: &str| {
            let line = info.lines().find_map(|line| line.trim().strip_prefix(key));
            line.is_some_and(|count| count != " = 0")
        };
        count("packets_foreign") && count("nodes_foreign")
    });
    assert_eq!(bounded.member("far"), "");
    let (joined, text) = bounded.call("join", &["127.8.0.1:7946"]);
    assert!(!joined);
    let why = "127.8.0.1 is not in an allowed network, see -allow";
    assert!(text.contains(why), "{text}");
}

#[test]
fn invalid_networks_refuse_the_start() {
    let (code, text) = refused(&["-node=n", "-allow=10.0.0.0/8", "-allow=10.0.0.0/33"]);
    assert_eq!(code, 1);
    let why = "==> Invalid network '10.0.0.0/33': it must read like 192.0.2.0/24 or 2001:db8::/32; see -allow";
    assert!(text.contains(why), "{text}");
}
