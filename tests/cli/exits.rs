//! The exit status of every command, on the reference's agent and on ours.

use std::process::Command;

use cottar::cli::table::COMMANDS;
use cottar::wire::msgpack::{Dialect, Writer};

use crate::live::{Kind, lacks_reference};
use crate::mock::{header, listen, record};
use crate::run::{cottar, finish, run};
use crate::samples::start;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Command lines with their exit statuses, in the order in which they are run.
const ENDS: &[(&[&str], i32)] = &[
    (&["agent", "-bogus"], 1),
    (&["agent", "-node=x", "-log-level=bogus"], 1),
    (&["event", "x"], 0),
    (&["event"], 1),
    (&["event", "-format=xml", "x"], 1),
    (&["force-leave", "nobody"], 0),
    (&["force-leave"], 1),
    (&["handler", "check", "/no/such"], 1),
    (&["handler", "check", "/dev/null"], 0),
    (&["handler", "check", "-format=xml"], 1),
    (&["handler", "drop", "nobody"], 1),
    (&["handler", "pause"], 1),
    (&["handler", "resume", "nobody"], 1),
    (&["handler", "queue", "-format=xml"], 1),
    (&["handler", "run", "nobody", "user", "x"], 1),
    (&["handler", "run", "x", "user"], 1),
    (&["handler", "run", "x"], 1),
    (&["handler", "sync", "nobody"], 1),
    (&["handler", "sync"], 1),
    (&["handler", "test", "exit 0", "user", "x"], 0),
    (&["handler", "test", "exit 7", "user", "x"], 7),
    (&["handler", "test", "query=:", "user", "x"], 125),
    (&["handler", "test", "exit 0", "x"], 1),
    (&["handler", "test", "exit 0", "user", "x"], 0),
    (&["handler", "test", "exit 7", "user", "x"], 7),
    (&["handler", "test", "query=:", "user", "x"], 125),
    (&["handler", "test", "exit 0", "x"], 1),
    (&["help"], 127),
    (&["nonsense"], 127),
    (&[], 127),
    (&["info"], 0),
    (&["info", "-format=xml"], 1),
    (&["join", "OWN"], 0),
    (&["join", "127.0.0.1:1", "OWN"], 0),
    (&["join", "127.0.0.1:1"], 1),
    (&["join"], 1),
    (&["keygen"], 0),
    (&["keygen", "-bogus"], 0),
    (&["keys", "-list"], 0),
    (&["keys", "-remove", KEY], 1),
    (&["keys", "-format=json", "-remove", KEY], 1),
    (&["keys"], 1),
    (&["members"], 0),
    (&["members", "-name=nobody"], 0),
    (&["members", "-name=nobody", "-format=json"], 0),
    (&["members", "-strict"], 0),
    (&["members", "-strict", "-name=nobody"], 2),
    (&["members", "-strict", "-name=nobody", "-format=json"], 2),
    (&["members", "-strict", "-name=nobody", "-fields=name"], 2),
    (&["members", "-name=("], 1),
    (&["members", "-strict", "-rpc-addr=127.0.0.1:1"], 1),
    (&["monitor", "-log-level=bogus"], 1),
    (&["query", "-timeout=200ms", "nobody-knows"], 0),
    (&["query", "-timeout=200ms", "-strict", "nobody-knows"], 2),
    (
        &[
            "query",
            "-timeout=200ms",
            "-strict",
            "-format=json",
            "nobody-knows",
        ],
        2,
    ),
    (
        &["query", "-timeout=200ms", "-strict", "-node=nobody", "load"],
        2,
    ),
    (&["query", "-timeout=200ms", "-expect=2", "load"], 0),
    (
        &["query", "-timeout=200ms", "-expect=2", "-strict", "load"],
        2,
    ),
    // These end long before their timeout.
    (
        &["query", "-timeout=10m", "-expect=1", "-strict", "load"],
        0,
    ),
    (
        &["query", "-timeout=10m", "-expect=all", "-strict", "load"],
        0,
    ),
    (
        &[
            "query",
            "-timeout=10m",
            "-expect=all",
            "-strict",
            "-fields=ack",
            "nobody-knows",
        ],
        0,
    ),
    (
        &[
            "query",
            "-timeout=10m",
            "-expect=all",
            "-strict",
            "-node=nobody",
            "load",
        ],
        2,
    ),
    (
        &[
            "query",
            "-timeout=10m",
            "-expect=all",
            "-tag=role=^nobody",
            "load",
        ],
        0,
    ),
    (
        &[
            "query",
            "-timeout=10m",
            "-expect=all",
            "-strict",
            "-tag=role=e",
            "load",
        ],
        0,
    ),
    (&["query", "-fields=ack,node", "load"], 1),
    (&["query", "-fields=ack", "-no-ack", "load"], 1),
    (&["query", "-expect=0", "load"], 1),
    (&["query"], 1),
    (&["reachability"], 0),
    (&["reachability", "-strict", "-format=json"], 0),
    (&["rtt", "n"], 0),
    (&["rtt", "nobody"], 1),
    (&["tags", "-set=a=b"], 0),
    (&["tags"], 1),
    (&["version"], 0),
    (&["version", "-format=xml"], 1),
    (&["wait"], 0),
    (&["wait", "n"], 0),
    (&["wait", "-timeout=200ms", "nobody"], 2),
    (&["wait", "-rpc-addr=127.0.0.1:1"], 1),
    (&["wait", "-count=x"], 1),
    (&["leave"], 0),
];

/// Commands that only our own agent knows.
const OWN: &[&[&str]] = &[
    &["handler", "list"],
    &["handler", "queue"],
    &["handler", "drop"],
    &["handler", "pause", "echo"],
    &["handler", "resume", "echo"],
];

/// Checks all statuses on an agent; commands in [`OWN`] exit with `own_status`.
fn ends(kind: Kind, own_status: i32) {
    let flags = [
        "-profile=local",
        "-event-handler=query:load=echo 1",
        "-tag=role=web",
    ];
    let agent = start(kind, "n", &[&flags[..], &["-encrypt", KEY]].concat());
    let own = agent.gossip.to_string();
    let own_lines = OWN.iter().map(|line| (*line, own_status));
    for (line, status) in own_lines.chain(ENDS.iter().copied()) {
        let line: Vec<_> = line
            .iter()
            .map(|word| if *word == "OWN" { &own } else { *word })
            .collect();
        let got = agent.run(&line);
        assert_eq!(got.status, Some(status), "{line:?}: {got:?}");
        // Every failure prints something.
        let words = got.stdout.len() + got.stderr.len();
        assert!(status == 0 || words > 0, "{line:?}");
    }
}

#[test]
fn every_command_ends_as_the_page_says_on_the_references_agent() {
    if !lacks_reference("exits on the reference's agent") {
        ends(Kind::Serf, 1);
    }
}

#[test]
fn every_command_ends_as_the_page_says_on_our_agent() {
    ends(Kind::Cottar, 0);
    for command in COMMANDS {
        let words: Vec<_> = command.name.split(' ').collect();
        let lines = ENDS.iter().map(|(line, _)| *line);
        let is_run = lines
            .chain(OWN.iter().copied())
            .any(|line| line.starts_with(&words));
        assert!(is_run, "{}", command.name);
    }
}

#[test]
fn an_interrupted_monitor_has_not_failed() {
    let agent = start(Kind::Cottar, "n", &[]);
    let mut command = cottar(&["monitor"]);
    let mut child = command
        .env("SERF_RPC_ADDR", agent.rpc.to_string())
        .spawn()
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(finish(child).status, Some(0));
}

/// An agent with a member that does not send acks.
#[test]
fn an_unreachable_agent_ends_commands_with_1_or_2() {
    let address = listen(|mut client| {
        client.greet();
        client.value();
        let mut members = Writer::appending(Dialect::Rpc, header(2));
        members.map(1).key("Members").array(2);
        for name in ["a", "b"] {
            members
                .map(2)
                .key("Name")
                .text(name)
                .key("Status")
                .text("alive");
        }
        client.send(&members.into_bytes());
        client.value();
        client.value();
        client.send(&header(3));
        for bytes in [record("ack", b"a", None), record("done", b"", None)] {
            // Refers to the client's third request.
            let at = bytes.iter().position(|byte| *byte == 2).unwrap();
            client.send(&[&bytes[..at], &[3], &bytes[at + 1..]].concat());
        }
    });
    let address = format!("-rpc-addr={address}");
    let got = run(&["reachability", &address]);
    assert!(got.text().contains("Missing acks from:\n\tb\n"), "{got:?}");
    assert_eq!((got.stderr.as_str(), got.status), ("", Some(1)));
    let got = run(&["reachability", &address, "-strict"]);
    assert!(got.text().contains("Missing acks from:\n\tb\n"), "{got:?}");
    let words = "The nodes that acknowledged are not exactly the live nodes\n";
    assert_eq!((got.stderr.as_str(), got.status), (words, Some(2)));
    for (strict, status) in [("-strict=false", 1), ("-strict", 2)] {
        let got = run(&["reachability", &address, strict, "-format=json"]);
        let json: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
        assert_eq!(json["missing"][0], "b");
        assert_eq!(got.status, Some(status));
    }
}
