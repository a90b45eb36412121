//! The banner, the ways to fail, and signals.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::live::refused;
use crate::{handshake, serves_rpc, shown, start};

#[test]
fn the_banner_is_the_references() {
    let agent = start(
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
    let (gossip, rpc) = (shown(&agent), agent.rpc);
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
    // The first line was logged before the banner, and held back until after it.
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
    agent.signal(libc::SIGTERM);
    assert_eq!(agent.exit_code(), 1);
}

// Long: a table of the errors.
#[test]
fn start_errors_have_the_references_words() {
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
            "Error: time: invalid duration \"x\" (-handler-timeout)",
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
            "==> Warning: 'RetryInterval' is too low. Setting to 1s",
            "==> Warning: 'RejoinAfterLeave' enabled without snapshot file",
            "==> Using interface 'lo' address '127.0.0.1'",
            "==> Starting Serf agent...",
        ]
    );
}

#[test]
fn signals_end_the_agent_as_they_should() {
    let graceful = start("n1", &[]);
    graceful.signal(libc::SIGINT);
    assert_eq!(graceful.exit_code(), 0);
    let text = graceful.wait_for("shutdown complete");
    assert!(text.contains("==> Caught signal: interrupt\n==> Gracefully shutting down agent...\n"));
    assert!(text.contains("[INFO] agent: requesting graceful leave from Serf"));
    assert!(!text.contains("Shutdown without a Leave"));

    let killed = start("n2", &[]);
    // These two signals have no effect.
    killed.signal(libc::SIGUSR2);
    killed.signal(libc::SIGPIPE);
    assert!(serves_rpc(killed.rpc));
    killed.signal(libc::SIGTERM);
    assert_eq!(killed.exit_code(), 1);
    let text = killed.wait_for("shutdown complete");
    assert!(text.contains("==> Caught signal: terminated\n"));
    assert!(text.contains("[WARN] serf: Shutdown without a Leave"));

    let hurried = start("n3", &[]);
    hurried.signal(libc::SIGINT);
    hurried.wait_for("Gracefully shutting down");
    hurried.signal(libc::SIGINT);
    assert_eq!(hurried.exit_code(), 1);

    let reloaded = start("n4", &[]);
    reloaded.signal(libc::SIGHUP);
    reloaded.wait_for("==> Caught signal: hangup\n==> Reloading configuration...\n");
    assert!(serves_rpc(reloaded.rpc));
    reloaded.signal(libc::SIGINT);
    reloaded.wait_for("Gracefully shutting down");
    reloaded.signal(libc::SIGHUP);
    assert_eq!(reloaded.exit_code(), 1);
}

#[test]
fn a_leave_over_rpc_is_answered_before_the_end() {
    let agent = start("n1", &[]);
    let mut client = TcpStream::connect(agent.rpc).unwrap();
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
