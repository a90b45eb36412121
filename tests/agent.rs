//! Live agents on loopback: the banner, the ways to fail, signals, joins, handlers, and readers that
//! stop reading.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code)]
mod live;

use live::{Agent, COTTAR, PATIENCE, content, free, refused, wait_until};

/// An agent, once it runs.
fn start(name: &str, more: &[&str]) -> Agent {
    let name = format!("-node={name}");
    Agent::start(&[&[&name[..]], more].concat())
}

/// The gossip address of an agent that has chosen its port itself.
fn shown(agent: &Agent) -> SocketAddr {
    let text = agent.text();
    let (_, rest) = text.split_once("Bind addr: '").unwrap();
    rest.split('\'').next().unwrap().parse().unwrap()
}

/// An agent that says much, and whose stdout is the test's to read: it has come as far as to say where it
/// listens for gossip and for RPC.
fn talkative() -> (Child, BufReader<ChildStdout>, (SocketAddr, SocketAddr)) {
    let mut child = Command::new(COTTAR)
        .args(["agent", "-node=n1", "-log-level=trace"])
        .args(["-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("RPC addr") {
        assert!(reader.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let quoted: Vec<&str> = text.split('\'').collect();
    let addrs = (quoted[3].parse().unwrap(), quoted[5].parse().unwrap());
    (child, reader, addrs)
}

/// A handshake on the RPC port: what is sent, and what comes back.
fn handshake(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"\x82\xa7Command\xa9handshake\xa3Seq\x01\x81\xa7Version\x01")?;
    let mut reply = [0; 13];
    stream.read_exact(&mut reply)?;
    assert_eq!(&reply, b"\x82\xa5Error\xa0\xa3Seq\x01");
    Ok(())
}

fn serves_rpc(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_ok_and(|mut stream| handshake(&mut stream).is_ok())
}

fn lines_of(path: &Path) -> Vec<String> {
    content(path).lines().map(str::to_owned).collect()
}

#[test]
fn the_banner_is_the_references() {
    let mut agent = start(
        "n1",
        &[
            "-bind=127.0.0.1:0",
            "-advertise=127.0.0.2:28009",
            "-tag",
            "a=b",
            "-disable-compression",
            "-profile=local",
        ],
    );
    let text = agent.wait_for("[INFO] serf: EventMemberJoin: n1 127.0.0.2");
    let (gossip, rpc) = (shown(&agent), agent.rpc());
    let expected = format!(
        "==> Starting Serf agent...
==> Starting Serf agent RPC...
==> Serf agent running!
                      Node name: 'n1'
                      Bind addr: '{gossip}'
    Advertise addr: '127.0.0.2:28009'
                       RPC addr: '{rpc}'
                      Encrypted: false
                       Snapshot: false
                        Profile: local
    Message Compression Enabled: false

==> Log data will now stream in as it occurs:

    "
    );
    let (banner, log) = text.split_at(expected.len().min(text.len()));
    assert_eq!(banner, expected);
    // The first line was logged before the banner was printed, and held back.
    let (stamp, rest) = log.split_at(20);
    assert!(
        stamp
            .bytes()
            .all(|b| b.is_ascii_digit() || b"/: ".contains(&b)),
        "{stamp}"
    );
    assert!(
        rest.starts_with("[INFO] agent: Serf agent starting\n"),
        "{rest}"
    );
    assert_ne!(gossip.port(), 0);
    assert!(serves_rpc(rpc));
    agent.signal("TERM");
    assert_eq!(agent.exit_code(), 1);
}

#[test]
fn what_prevents_a_start_is_said_in_the_references_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let port = taken.port();
    let busy = format!(
        "Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: Could not \
         set up network transport: failed to obtain an address: Failed to start TCP listener on \
         \"127.0.0.1\" port {port}: listen tcp {taken}: bind: address already in use"
    );
    let creating = "Failed to start the Serf agent: Error creating Serf: ";
    let rows: &[(&[&str], &str)] = &[
        (&["-tag", "foo"], "Error: Invalid tag: 'foo'"),
        (
            &["-retry-interval=5"],
            "Error: time: missing unit in duration \"5\"",
        ),
        (
            &["-handler-timeout=x"],
            "Error: time: invalid duration \"x\"",
        ),
        (
            &["-log-level", "foo"],
            "Invalid log level: FOO. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
        ),
        (&["-profile=LAN"], "Unknown profile: LAN"),
        (
            &["-bind=127.0.0.1:99999"],
            "Invalid bind address: address 99999: invalid port",
        ),
        (
            &["-advertise=foo:bar:1"],
            "Invalid advertise address: address foo:bar:1: too many colons in address",
        ),
        (
            &["-iface=nope0"],
            "Invalid network interface: route ip+net: no such network interface",
        ),
        (
            &["-iface=lo", "-bind=127.0.0.2:0"],
            "Interface 'lo' has no '127.0.0.2' address",
        ),
        (
            &["-encrypt=!abc"],
            "Invalid encryption key: illegal base64 data at input byte 0",
        ),
        (
            &["-encrypt=YWJj"],
            &format!("{creating}Failed to create memberlist: key size must be 16, 24 or 32 bytes"),
        ),
        (
            &["-protocol=6"],
            &format!("{creating}Protocol version '6' too high. Must be in range: [2, 5]"),
        ),
        (
            &["-protocol=1"],
            &format!("{creating}Protocol version '1' too low. Must be in range: [2, 5]"),
        ),
        (
            &["-protocol=300"],
            &format!("{creating}Protocol version '300' too high. Must be in range: [2, 5]"),
        ),
        (
            &["-tag", &format!("k={}", "x".repeat(512))],
            &format!("{creating}Encoded length of tags exceeds limit of 512 bytes"),
        ),
        (
            &["-event-handler=member-foo=x"],
            "Invalid event script: Event 'member-foo' invoking 'x'",
        ),
        (&[&format!("-bind={taken}")], &busy),
        (
            &[&format!("-rpc-addr={taken}")],
            &format!(
                "Error starting RPC listener: listen tcp {taken}: bind: address already in use"
            ),
        ),
        (
            &["-rpc-addr=127.0.0.1"],
            "Error starting RPC listener: listen tcp: address 127.0.0.1: missing port in address",
        ),
    ];
    let listener = TcpListener::bind(taken);
    for (args, message) in rows {
        let (status, text) = refused(&[args, &["-node=n1"][..]].concat());
        let wanted = format!("==> {message}\n");
        assert!(text.contains(&wanted), "{args:?}: no {wanted:?} in\n{text}");
        assert_eq!(status, 1, "{args:?}");
        assert!(!text.contains("Serf agent running!"), "{args:?}");
        let opened = text.contains("Starting Serf agent");
        let late = message.starts_with("Failed to start") || message.starts_with("Error starting");
        assert_eq!(opened, late, "{args:?}:\n{text}");
    }
    drop(listener);
}

#[test]
fn warnings_come_before_the_start() {
    let agent = start(
        "n1",
        &[
            "-role=web",
            "-retry-interval=1ms",
            "-rejoin",
            "-iface=lo",
            "-bind=0.0.0.0:0",
        ],
    );
    let text = agent.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "==> Deprecation warning: 'Role' has been replaced with 'Tags'",
            "==> Using interface 'lo' address '127.0.0.1'",
            "==> Warning: 'RetryInterval' is too low. Setting to 1s",
            "==> Warning: 'RejoinAfterLeave' enabled without snapshot file",
            "==> Starting Serf agent...",
        ]
    );
}

#[test]
fn signals_end_the_agent_as_they_should() {
    let mut graceful = start("n1", &[]);
    graceful.signal("INT");
    assert_eq!(graceful.exit_code(), 0);
    let text = graceful.wait_for("shutdown complete");
    assert!(text.contains("==> Caught signal: interrupt\n==> Gracefully shutting down agent...\n"));
    assert!(text.contains("[INFO] agent: requesting graceful leave from Serf"));
    assert!(!text.contains("Shutdown without a Leave"));

    let mut killed = start("n2", &[]);
    // These two mean nothing.
    killed.signal("USR2");
    killed.signal("PIPE");
    assert!(serves_rpc(killed.rpc()));
    killed.signal("TERM");
    assert_eq!(killed.exit_code(), 1);
    let text = killed.wait_for("shutdown complete");
    assert!(text.contains("==> Caught signal: terminated\n"));
    assert!(text.contains("[WARN] serf: Shutdown without a Leave"));

    let mut hurried = start("n3", &[]);
    hurried.signal("INT");
    hurried.wait_for("Gracefully shutting down");
    hurried.signal("INT");
    assert_eq!(hurried.exit_code(), 1);

    let mut reloaded = start("n4", &[]);
    reloaded.signal("HUP");
    reloaded.wait_for("==> Caught signal: hangup\n==> Reloading configuration...\n");
    assert!(serves_rpc(reloaded.rpc()));
    reloaded.signal("INT");
    reloaded.wait_for("Gracefully shutting down");
    reloaded.signal("HUP");
    assert_eq!(reloaded.exit_code(), 1);
}

#[test]
fn two_agents_join_and_their_handlers_run() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    let script = format!(
        "while IFS= read -r line; do echo \"$SERF_EVENT $line\"; done >> {}",
        events.display()
    );
    let first = start("first", &["-event-handler", &script]);
    let port = first.gossip().port();
    // By name: through the resolver's process.
    let join = format!("localhost:{port}");
    let mut second = start("second", &["-join", &join, "-tag", "role=web"]);
    let text = second.wait_for("agent: joined: 1 nodes");
    assert!(text.contains(
        "\n==> Joining cluster...(replay: false)\n    Join completed. Synced with 1 initial agents\n\n\
         ==> Log data will now stream in as it occurs:\n\n    "
    ));
    first.wait_for("[INFO] serf: EventMemberJoin: second 127.0.0.1");
    let line = "member-join second\t127.0.0.1\tweb\trole=web".to_owned();
    wait_until("the handler's line", || lines_of(&events).contains(&line));
    second.signal("INT");
    assert_eq!(second.exit_code(), 0);
    first.wait_for("[INFO] serf: EventMemberLeave: second 127.0.0.1");
    let line = "member-leave second\t127.0.0.1\tweb\trole=web".to_owned();
    wait_until("the farewell", || lines_of(&events).contains(&line));
}

#[test]
fn the_own_farewell_reaches_a_handler_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("left");
    let handler = format!("member-leave=sleep 0.3; cat > {}", file.display());
    let mut agent = start("n1", &["-event-handler", &handler]);
    agent.wait_for("Received event: member-join");
    agent.signal("INT");
    assert_eq!(agent.exit_code(), 0);
    assert_eq!(lines_of(&file), ["n1\t127.0.0.1\t\t"]);
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
    let ip = closed.ip();
    let error = format!(
        "==> 2 errors occurred:\n\t* Failed to join {ip}: dial tcp {closed}: connect: connection \
         refused\n\t* Failed to resolve /x: empty node name provided\n"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&error), "{text}");
    assert!(!text.contains("Log data will now stream"));
    // The lines that were held back are not lost.
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("[INFO] agent: Serf agent starting"), "{log}");
}

#[test]
fn during_the_start_join_rpc_answers_and_signals_work() {
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut agent = Agent::spawn(&["-node=n1", "-join", &addr]);
    agent.wait_for("==> Joining cluster...(replay: false)");
    let (_held, _) = silent.accept().unwrap();
    assert!(serves_rpc(agent.rpc()));
    // The log is held back until the join is over.
    assert!(!agent.text().contains("Serf agent starting"));
    agent.signal("INT");
    assert_eq!(agent.exit_code(), 0);
    let text = agent.wait_for("[INFO] agent: shutdown complete");
    assert!(text.contains("[INFO] agent: requesting graceful leave from Serf"));
    assert!(text.contains("[INFO] agent: requesting serf shutdown"));
}

#[test]
fn retry_join_goes_on_until_somebody_answers() {
    let addr = free();
    let early = start(
        "early",
        &["-retry-join", &addr.to_string(), "-retry-interval=1s"],
    );
    let failed = format!(
        "Failed to join {}: dial tcp {addr}: connect: connection refused",
        addr.ip()
    );
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
    let mut agent = Agent::spawn(&[
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
fn a_closed_stdout_is_no_reason_to_stop() {
    let (child, reader, addrs) = talkative();
    drop(reader);
    for _ in 0..20 {
        assert!(serves_rpc(addrs.1));
    }
    let mut agent = Agent::follow(child, std::io::empty(), addrs);
    agent.signal("INT");
    assert_eq!(agent.exit_code(), 0);
}

#[test]
fn a_reader_of_stdout_that_stops_does_not_stop_the_agent() {
    let (child, reader, (gossip, rpc)) = talkative();
    // Far more lines than a pipe holds, then than the agent keeps: each client and each bad datagram
    // is worth one.
    let junk = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..300 {
        for _ in 0..50 {
            junk.send_to(&[0xee; 64], gossip).unwrap();
        }
        assert!(serves_rpc(rpc), "round {round}");
    }
    // What was kept arrives as soon as somebody reads again, then how much was not, and from then on
    // there is room.
    let mut agent = Agent::follow(child, reader, (gossip, rpc));
    agent.wait_for("lines were lost: nobody read stdout in time\n");
    agent.signal("INT");
    agent.wait_for("==> Caught signal: interrupt");
    assert_eq!(agent.exit_code(), 0);
}

#[test]
fn a_stopped_agent_is_failed_and_comes_back() {
    let watcher = start("watcher", &["-profile=local"]);
    let join = watcher.gossip().to_string();
    let sleeper = start("sleeper", &["-profile=local", "-join", &join]);
    sleeper.wait_for("joined: 1 nodes");
    watcher.wait_for("EventMemberJoin: sleeper");
    sleeper.signal("STOP");
    watcher.wait_for("EventMemberFailed: sleeper");
    sleeper.signal("CONT");
    watcher.wait("the return", |text| {
        text.matches("EventMemberJoin: sleeper").count() >= 2
    });
    assert!(serves_rpc(sleeper.rpc()));
}

#[test]
fn descriptors_that_run_out_pause_the_accepting() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", COTTAR]);
    let agent = Agent::from_command(command, free(), &["-node=n1"]);
    agent.wait_for("Log data will now stream");
    let rpc = agent.rpc();
    let clients: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(rpc).unwrap()).collect();
    agent.wait_for("too many open files");
    drop(clients);
    assert!(serves_rpc(rpc));
}

#[test]
fn a_client_that_does_not_read_harms_nobody() {
    let agent = start("n1", &[]);
    let mut deaf = TcpStream::connect(agent.rpc()).unwrap();
    handshake(&mut deaf).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // Asks for the members again and again and takes no answer, until the agent takes no more either.
    let request = b"\x82\xa7Command\xa7members\xa3Seq\x02".repeat(1000);
    let quiet = Duration::from_millis(300);
    let deadline = Instant::now() + PATIENCE;
    let mut last_write = Instant::now();
    while last_write.elapsed() < quiet {
        assert!(Instant::now() < deadline, "the agent reads without end");
        match deaf.write(&request) {
            Ok(_) => last_write = Instant::now(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            // Cut off: as good.
            Err(_) => break,
        }
    }
    assert!(serves_rpc(agent.rpc()));
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident: u64 = resident
        .and_then(|text| text.trim().strip_suffix(" kB"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(resident < 64 << 10, "{resident} kB");
}

#[test]
fn a_handler_that_hangs_holds_up_nothing_but_other_handlers() {
    let dir = tempfile::tempdir().unwrap();
    let release = dir.path().join("release");
    let hang = format!("while [ ! -e {} ]; do sleep 0.1; done", release.display());
    let mut first = start("first", &["-event-handler", &hang]);
    first.wait_for("Received event: member-join");
    let join = first.gossip().to_string();
    let _second = start("second", &["-join", &join]);
    first.wait_for("EventMemberJoin: second");
    first.wait_for("slow, execution exceeding 1s");
    assert!(serves_rpc(first.rpc()));
    // It does not hold up the end either.
    first.signal("INT");
    assert_eq!(first.exit_code(), 0);
    fs::write(release, "").unwrap();
}

#[test]
fn a_handler_past_its_time_is_ended_and_the_next_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ran");
    let next = format!("echo $SERF_EVENT > {}", file.display());
    let handlers = ["-event-handler", "sleep 600", "-event-handler", &next];
    let agent = start("n1", &[&handlers[..], &["-handler-timeout=3s"]].concat());
    agent.wait_for("[ERR] agent: Error invoking script 'sleep 600': time limit of 3s exceeded");
    wait_until("the next handler", || lines_of(&file) == ["member-join"]);
}

#[test]
fn keys_separate_clusters() {
    let key = "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==";
    let first = start("first", &[key]);
    assert!(first.text().contains("Encrypted: true"));
    let join = first.gossip().to_string();
    let second = start("second", &[key, "-join", &join]);
    second.wait_for("joined: 1 nodes");
    first.wait_for("EventMemberJoin: second");
    for other in [&["-encrypt=MTEyMzQ1Njc4OWFiY2RlZg=="][..], &[]] {
        let stranger = ["-node=stranger", "-join", &join];
        let mut stranger = Agent::spawn(&[other, &stranger].concat());
        assert_eq!(stranger.exit_code(), 1);
    }
    assert!(!first.text().contains("stranger 127.0.0.1"));
}

#[test]
fn ipv6_agents_join() {
    // A machine without IPv6 has nothing to show here.
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let first = start("first", &["-bind=[::1]:0"]);
    let join = shown(&first).to_string();
    assert!(join.starts_with("[::1]:"));
    let second = start("second", &["-bind=[::1]:0", "-join", &join]);
    second.wait_for("joined: 1 nodes");
    first.wait_for("EventMemberJoin: second ::1");
    // A wildcard hears both families.
    let both = start(
        "both",
        &["-bind=[::]:0", "-advertise=[::1]:0", "-join", &join],
    );
    let four = format!("127.0.0.1:{}", shown(&both).port());
    let last = start("last", &["-join", &four]);
    last.wait_for("joined: 1 nodes");
}

#[test]
fn a_leave_over_rpc_is_answered_before_the_end() {
    let mut agent = start("n1", &[]);
    let mut client = TcpStream::connect(agent.rpc()).unwrap();
    handshake(&mut client).unwrap();
    client
        .write_all(b"\x82\xa7Command\xa5leave\xa3Seq\x02")
        .unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x82\xa5Error\xa0\xa3Seq\x02");
    assert_eq!(agent.exit_code(), 0);
    let text = agent.wait_for("[INFO] agent: shutdown complete");
    assert!(text.contains("[INFO] agent: requesting graceful leave from Serf"));
    assert!(text.contains("[INFO] agent: requesting serf shutdown"));
    assert!(!text.contains("Shutdown without a Leave"));
}

#[test]
fn a_client_that_closes_its_side_early_gets_its_answers() {
    let agent = start("n1", &[]);
    let mut client = TcpStream::connect(agent.rpc()).unwrap();
    client
        .write_all(b"\x82\xa7Command\xa9handshake\xa3Seq\x01\x81\xa7Version\x01")
        .unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x82\xa5Error\xa0\xa3Seq\x01");
}
