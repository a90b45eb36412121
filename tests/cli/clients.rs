//! Independent clients: the reference's command line, `serfclient` from PyPI and `serf-rpc` from the npm
//! registry. Each runs the same operations on an agent of ours and on one of the reference, and must get the
//! same results.
//!
//! If a program or the registry is missing, a test is skipped, unless COTTAR_INTEROP is `require`.
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::live::skip::skip;
use crate::live::{Agent, Kind, Output, Process, eventually, lacks_reference, wait_until};
use crate::samples::start;

const SERFCLIENT: &str = "serfclient==1.2.0";
const SERF_RPC: &str = "serf-rpc@0.2.1";
/// A key of 16 bytes, and another.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const NEW_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// Time limit of the client programs.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a program that downloads from a registry; retries, because registries do not always answer.
fn fetched(command: &mut Command) -> Result<String, String> {
    let mut tries = (0..3).map(|_| printed(command));
    let first = tries.next().expect("three tries");
    first.or_else(|why| tries.find_map(Result::ok).ok_or(why))
}

/// Runs a program that must succeed; returns its output.
fn printed(command: &mut Command) -> Result<String, String> {
    command
        .env_remove("SERF_RPC_ADDR")
        .env_remove("SERF_RPC_AUTH");
    let ended = crate::live::run(command, LIMIT)?;
    match ended.code {
        0 => Ok(ended.stdout),
        _ => Err(format!("{command:?}: {ended:?}")),
    }
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/clients"))
}

/// Runs the same operations on our agents and on the reference's, and compares the results.
fn same_on_both(test: &str, drive: impl Fn(Kind) -> Value) -> Value {
    let ours = drive(Kind::Cottar);
    if !lacks_reference(test) {
        assert_eq!(ours, drive(Kind::Serf), "{test}: ours, theirs");
    }
    ours
}

#[test]
fn serfclient_from_pypi() {
    let packages = tempfile::tempdir().unwrap();
    let installed = fetched(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(packages.path())
            .arg(SERFCLIENT),
    );
    if let Err(why) = installed {
        return skip("serfclient_from_pypi", &why);
    }
    let settings = packages.path().join("auth.json");
    std::fs::write(&settings, r#"{"rpc_auth": "s3"}"#).unwrap();
    let with_key = format!("-config-file={}", settings.display());
    let seen = same_on_both("serfclient_from_pypi", |kind| {
        let c1 = start(kind, "c1", &["-tag", "role=web"]);
        let c2 = start(kind, "c2", &[&with_key]);
        let mut command = Command::new("python3");
        command.arg(scripts().join("serfclient_run.py"));
        command.arg(packages.path());
        for address in [c1.rpc, c2.rpc] {
            command.arg(address.ip().to_string());
            command.arg(address.port().to_string());
        }
        let text = printed(command.arg("s3").arg(c2.gossip.to_string())).unwrap();
        let mut seen: Value = serde_json::from_str(&text).unwrap();
        let port = &mut seen["member"]["Port"];
        assert_eq!(*port, c1.gossip.port());
        *port = Value::Null;
        seen
    });
    assert_eq!(seen["member"]["Tags"], json!({"role": "web"}));
    assert_eq!(seen["join"], json!({"Num": 1}));
    assert_eq!(seen["both"], json!(["c1", "c2"]));
    assert_eq!(seen["named"], json!(["c1"]));
    assert_eq!(seen["record"]["Payload"], "p\u{e4}yload");
    assert_eq!(seen["trusted"], json!(["c1", "c2"]));
    assert_eq!(seen["wrong"], "Invalid authentication token");
    assert_eq!(seen["missing"], "Authentication required");
}

#[test]
fn serf_rpc_from_npm() {
    let packages = tempfile::tempdir().unwrap();
    let installed = fetched(
        Command::new("npm")
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(packages.path())
            .arg(SERF_RPC),
    );
    let runs = installed.and_then(|_| printed(Command::new("node").arg("--version")));
    if let Err(why) = runs {
        return skip("serf_rpc_from_npm", &why);
    }
    let seen = same_on_both("serf_rpc_from_npm", |kind| {
        let agent = start(kind, "c1", &["-tag", "role=web"]);
        let mut command = Command::new("node");
        command.env("NODE_PATH", packages.path().join("node_modules"));
        command.arg(scripts().join("serf_rpc.js"));
        command.arg(agent.rpc.ip().to_string());
        let text = printed(command.arg(agent.rpc.port().to_string())).unwrap();
        // The client told it to leave.
        assert_eq!(agent.exit_code(), 0);
        let mut seen: Value = serde_json::from_str(&text).unwrap();
        let line = seen["line"].take();
        assert!(line.as_str().unwrap().contains(" [INFO] "), "{line}");
        seen
    });
    assert_eq!(seen["members"], json!([["c1", "alive", {"role": "web"}]]));
    assert_eq!(seen["event"], json!(["user", "deploy", "now", false]));
    assert_eq!(seen["asked"], json!(["query", "load", "one"]));
    let records = json!([["response", "c1", "answer"], ["done", "", null]]);
    assert_eq!(seen["records"], records);
    assert_eq!(seen["stats"], json!({"name": "c1", "tag": "yes"}));
    assert_eq!(seen["install"]["response"]["NumErr"], 1);
}

/// Replaces measured numbers.
fn settled(text: &str) -> String {
    let number = regex_lite::Regex::new(r"\d+\.\d+ (ms|sec)").unwrap();
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| number.replace_all(line, "N $1"))
        .collect();
    // Acks and keys come in any order.
    lines.sort();
    lines.join("\n")
}

/// Command lines in a cluster of two, their exit status, and a part of their output.
const LINES: &[(&[&str], i32, &str)] = &[
    (&["keys", "-list"], 0, "  [2/2]"),
    (
        &["keys", "-install", NEW_KEY],
        0,
        "==> Successfully installed key!",
    ),
    (&["keys", "-list"], 0, NEW_KEY),
    (
        &["keys", "-use", NEW_KEY],
        0,
        "==> Successfully changed primary key!",
    ),
    (
        &["keys", "-remove", NEW_KEY],
        1,
        "Error removing key: 2/2 nodes reported failure",
    ),
    (
        &["keys", "-use", KEY],
        0,
        "==> Successfully changed primary key!",
    ),
    (
        &["keys", "-remove", NEW_KEY],
        0,
        "==> Successfully removed key!",
    ),
    (&["keys", "-use", NEW_KEY], 1, "failed:  node-2  "),
    (&["keys", "-install", "YWJj"], 1, "failed:  n1      "),
    (
        &["keys", "-install", "!!"],
        1,
        "illegal base64 data at input byte 0",
    ),
    (
        &["keys", "-list", "-use", KEY],
        1,
        "Only one of -install, -use, -remove, or -list allowed",
    ),
    (&["rtt", "n1"], 0, "Estimated n1 <-> "),
    (&["rtt", "n1", "node-2"], 0, "Estimated n1 <-> node-2 rtt: "),
    (
        &["rtt", "nobody"],
        1,
        "Could not find a coordinate for node \"nobody\"",
    ),
    (
        &["reachability"],
        0,
        "Successfully contacted all live nodes",
    ),
    (&["reachability", "-verbose"], 0, "\tAck from 'node-2'"),
    (
        &["monitor", "-log-level=loud"],
        1,
        "Error starting monitor: Unknown log level: LOUD",
    ),
];

/// Each command line on an agent of each kind, in a cluster of both kinds.
#[test]
fn both_command_lines_on_both_kinds_of_agents() {
    if lacks_reference("both command lines on both kinds of agents") {
        return;
    }
    let flags = ["-encrypt", KEY, "-profile=local"];
    let ours = start(Kind::Cottar, "n1", &flags);
    let theirs = start(Kind::Serf, "node-2", &flags);
    ours.cli(&["join", &theirs.gossip.to_string()]).success();
    for agent in [&ours, &theirs] {
        wait_until("two members", || {
            agent.sees("n1", "alive") && agent.sees("node-2", "alive")
        });
    }
    // Both must have probed each other.
    for (agent, other) in [(&ours, "node-2"), (&theirs, "n1")] {
        eventually(15.0, "a coordinate", || {
            let asked = agent.ask(Kind::Cottar, &["rtt", other]);
            if asked.code == 0 {
                Ok(())
            } else {
                Err(format!("{asked:?}"))
            }
        });
    }
    for agent in [&ours, &theirs] {
        for &(line, expected, part) in LINES {
            let answers = [Kind::Serf, Kind::Cottar].map(|kind| {
                let asked = agent.ask(kind, line);
                assert_eq!(asked.code, expected, "{kind:?} {line:?}: {asked:?}");
                let text = asked.stdout;
                assert!(text.contains(part), "{kind:?} {line:?}: {text}");
                settled(&text)
            });
            assert_eq!(answers[0], answers[1], "{line:?}");
        }
    }
}

/// A monitor of each kind on an agent of each kind: history, new lines, events, and the end.
#[test]
fn monitors_of_both_kinds_on_both_kinds_of_agents() {
    let mut kinds = vec![Kind::Cottar];
    if !lacks_reference("monitors of both kinds on both kinds of agents") {
        kinds.push(Kind::Serf);
    }
    for &server in &kinds {
        for &client in &kinds {
            for end in [End::Interrupt, End::AgentGone] {
                watch(server, client, end);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Interrupt,
    AgentGone,
}

/// Starts a command of the given program with a pipe as stdout.
fn piped(agent: &Agent, kind: Kind, line: &[&str]) -> Process {
    let mut command = agent.command(kind, line);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Process::spawn(command.stderr(Stdio::piped())).unwrap()
}

fn watch(server: Kind, client: Kind, end: End) {
    let agent = start(server, "n1", &["-log-level=err"]);
    let monitor = piped(&agent, client, &["monitor", "-log-level=info"]);
    let seen = Output::copy_of(monitor.child().stdout.take().unwrap());
    let wait_for = |what: &str| {
        eventually(15.0, &format!("{client:?} on {server:?}: {what}"), || {
            let text = seen.text();
            if text.contains(what) {
                Ok(())
            } else {
                Err(text)
            }
        });
    };
    // A line from before the monitor began.
    wait_for("EventMemberJoin: n1");
    let line = ["event", "-coalesce=false", "deploy", "now"];
    agent.ask(Kind::Cottar, &line).success();
    wait_for("Event Info:");
    wait_for("\tName: \"deploy\"");
    wait_for("[INFO] agent: Received event: user-event: deploy");
    let expected = match end {
        End::Interrupt => {
            monitor.signal(libc::SIGINT);
            0
        }
        End::AgentGone => {
            agent.signal(libc::SIGTERM);
            wait_for("Remote side ended the monitor!");
            1
        }
    };
    assert_eq!(ended(&monitor), Some(expected), "{client:?} on {server:?}");
}

/// The exit code, once there is one.
#[track_caller]
fn ended(process: &Process) -> Option<i32> {
    wait_until("the end", || process.status().is_some());
    process.status().unwrap().code()
}

/// Interrupted while it waits for answers.
#[test]
fn an_interrupted_reachability_test_says_so() {
    let agent = start(Kind::Cottar, "n1", &["-profile=wan"]);
    let test = piped(&agent, Kind::Cottar, &["reachability"]);
    let mut lines = BufReader::new(test.child().stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "Total members: 1, live members: 1"
    );
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "Starting reachability test..."
    );
    test.signal(libc::SIGINT);
    assert_eq!(lines.next().unwrap().unwrap(), "Test interrupted");
    assert!(lines.next().is_none());
    assert_eq!(ended(&test), Some(1));
}

/// A monitor ends without an error when its reader has closed the pipe.
#[test]
fn a_monitor_whose_reader_has_gone_ends() {
    let agent = start(Kind::Cottar, "n1", &[]);
    let monitor = piped(&agent, Kind::Cottar, &["monitor"]);
    let mut lines = BufReader::new(monitor.child().stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    agent.ask(Kind::Cottar, &["event", "-coalesce=false", "last"]);
    // The event and its log line, in any order.
    let mut awaited = vec!["\"last\"", "user-event: last"];
    while !awaited.is_empty() {
        let line = lines.next().unwrap().unwrap();
        awaited.retain(|text| !line.contains(text));
    }
    drop(lines);
    assert_eq!(ended(&monitor), Some(0));
    let mut errors = String::new();
    let stderr = monitor.child().stderr.take();
    stderr.unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}
