//! Clients that were written elsewhere, by people who knew nothing of this agent: the reference's command
//! line, `serfclient` from PyPI and `serf-rpc` from the npm registry. Each does the same on an agent of
//! ours and on one of the reference, and must see the same.
//!
//! What is missing here (a program, the registry) makes a test say so and pass, unless COTTAR_INTEROP is
//! `require`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "live/ports.rs"]
mod ports;
#[path = "live/running.rs"]
mod running;

use running::Agent;

const SERFCLIENT: &str = "serfclient==1.2.0";
const SERF_RPC: &str = "serf-rpc@0.2.1";
/// A key of 16 bytes, and another.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const NEW_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

const OURS: &str = env!("CARGO_BIN_EXE_cottar");
const THEIRS: &str = "serf";

/// Says what is missing, and that this is not allowed if it is not.
fn skip(test: &str, why: &str) {
    let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(!required, "COTTAR_INTEROP=require, but {test}: {why}");
    eprintln!("skipped: {test}: {why}");
}

/// Runs a program for at most two minutes; why it did not work, if it did not.
fn run(command: &mut Command) -> Result<Output, String> {
    let shown = format!("{command:?}");
    let child = command
        .env_remove("SERF_RPC_ADDR")
        .env_remove("SERF_RPC_AUTH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("{shown}: {why}"))?;
    let id = child.id();
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(120)) {
        Ok(output) => output.map_err(|why| why.to_string()),
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            Err(format!("{shown} does not end"))
        }
    }
}

/// Runs a program that fetches from a registry, which does not always answer.
fn fetched(command: &mut Command) -> Result<String, String> {
    let mut tries = (0..3).map(|_| printed(command));
    let first = tries.next().expect("three tries");
    first.or_else(|why| tries.find_map(Result::ok).ok_or(why))
}

/// Runs a program that must succeed; what it printed.
fn printed(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = run(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{shown}: {}: {text}{why}", output.status))
        }
    }
}

fn there_is_the_reference() -> bool {
    printed(Command::new(THEIRS).arg("version")).is_ok()
}

impl Agent {
    fn start(program: &str, name: &str, flags: &[&str]) -> Agent {
        let places = (ports::free(), ports::free());
        Agent::start_at(Command::new(program), name, places, flags)
    }

    /// What a command line says about the agent: exit code and standard output.
    fn ask(&self, program: &str, line: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program);
        let (name, rest) = line.split_first().unwrap();
        command.arg(name).arg(format!("-rpc-addr={}", self.rpc));
        let output = run(command.args(rest)).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    /// Waits until the agent knows that many live members.
    fn await_members(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (_, text) = self.ask(OURS, &["members", "-status=alive"]);
            if text.lines().filter(|line| !line.is_empty()).count() == count {
                return;
            }
            assert!(Instant::now() < deadline, "{count} members: {text}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"))
}

/// Runs the same on our agents and on the reference's; the two answers must be the same.
fn same_on_both(test: &str, drive: impl Fn(&str) -> Value) -> Value {
    let ours = drive(OURS);
    if there_is_the_reference() {
        assert_eq!(ours, drive(THEIRS), "{test}: ours, theirs");
    } else {
        skip(test, "there is no `serf` to compare with");
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
    let seen = same_on_both("serfclient_from_pypi", |program| {
        let c1 = Agent::start(program, "c1", &["-tag", "role=web"]);
        let c2 = Agent::start(program, "c2", &[&with_key]);
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
    let seen = same_on_both("serf_rpc_from_npm", |program| {
        let mut agent = Agent::start(program, "c1", &["-tag", "role=web"]);
        let mut command = Command::new("node");
        command.env("NODE_PATH", packages.path().join("node_modules"));
        command.arg(scripts().join("serf_rpc.js"));
        command.arg(agent.rpc.ip().to_string());
        let text = printed(command.arg(agent.rpc.port().to_string())).unwrap();
        // The client told it to leave.
        assert!(agent.process.wait().unwrap().success());
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

/// Numbers that are measured.
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

/// Each command line on an agent of each kind, in a cluster of both kinds.
#[test]
fn both_command_lines_on_both_kinds_of_agents() {
    if !there_is_the_reference() {
        return skip(
            "both_command_lines_on_both_kinds_of_agents",
            "there is no `serf`",
        );
    }
    let flags = ["-encrypt", KEY, "-profile=local"];
    let ours = Agent::start(OURS, "n1", &flags);
    let theirs = Agent::start(THEIRS, "node-2", &flags);
    let (status, text) = ours.ask(THEIRS, &["join", &theirs.gossip.to_string()]);
    assert_eq!(status, Some(0), "{text}");
    for agent in [&ours, &theirs] {
        agent.await_members(2);
    }
    // Both must have probed each other.
    for (agent, other) in [(&ours, "node-2"), (&theirs, "n1")] {
        let deadline = Instant::now() + Duration::from_secs(30);
        while agent.ask(OURS, &["rtt", other]).0 != Some(0) {
            assert!(Instant::now() < deadline, "no coordinate of {other}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    let lines: &[(&[&str], i32, &str)] = &[
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
    for agent in [&ours, &theirs] {
        for &(line, expected, part) in lines {
            let answers = [THEIRS, OURS].map(|program| {
                let (status, text) = agent.ask(program, line);
                assert_eq!(status, Some(expected), "{program} {line:?}: {text}");
                assert!(text.contains(part), "{program} {line:?}: {text}");
                settled(&text)
            });
            assert_eq!(answers[0], answers[1], "{line:?}");
        }
    }
}

/// A monitor of each kind on an agent of each kind: history, new lines, events, and the end.
#[test]
fn monitors_of_both_kinds_on_both_kinds_of_agents() {
    let mut kinds = vec![OURS];
    match there_is_the_reference() {
        true => kinds.push(THEIRS),
        false => skip(
            "monitors_of_both_kinds_on_both_kinds_of_agents",
            "there is no `serf`",
        ),
    }
    for server in &kinds {
        for client in &kinds {
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

fn watch(server: &str, client: &str, end: End) {
    let mut agent = Agent::start(server, "n1", &["-log-level=err"]);
    let mut monitor = Command::new(client)
        .args(["monitor", "-log-level=info"])
        .arg(format!("-rpc-addr={}", agent.rpc))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = monitor.stdout.take().unwrap();
    let (line_sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = line_sender.send(line);
        }
    });
    let mut seen = Vec::new();
    let mut wait_for = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !seen.iter().any(|line: &String| line.contains(what)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => seen.push(line),
                Err(_) => panic!("{client} on {server}: no {what:?} in {seen:#?}"),
            }
        }
    };
    // From before it was asked.
    wait_for("EventMemberJoin: n1");
    let fired = agent.ask(OURS, &["event", "-coalesce=false", "deploy", "now"]);
    assert_eq!(fired.0, Some(0));
    wait_for("Event Info:");
    wait_for("\tName: \"deploy\"");
    wait_for("[INFO] agent: Received event: user-event: deploy");
    let (signalled, status) = match end {
        End::Interrupt => (monitor.id(), 0),
        End::AgentGone => (agent.process.id(), 1),
    };
    let signal = if end == End::Interrupt {
        "-INT"
    } else {
        "-TERM"
    };
    let signalled = signalled.to_string();
    let killed = Command::new("kill").args([signal, &signalled]).status();
    assert!(killed.unwrap().success());
    if end == End::AgentGone {
        wait_for("Remote side ended the monitor!");
        let _ = agent.process.wait();
    }
    assert_eq!(
        monitor.wait().unwrap().code(),
        Some(status),
        "{client} on {server}"
    );
}

/// Interrupted while it waits for answers.
#[test]
fn an_interrupted_reachability_test_says_so() {
    let agent = Agent::start(OURS, "n1", &["-profile=wan"]);
    let mut test = Command::new(OURS)
        .arg("reachability")
        .arg(format!("-rpc-addr={}", agent.rpc))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "Total members: 1, live members: 1"
    );
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "Starting reachability test..."
    );
    let killed = Command::new("kill")
        .arg("-INT")
        .arg(test.id().to_string())
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(lines.next().unwrap().unwrap(), "Test interrupted");
    assert!(lines.next().is_none());
    assert_eq!(test.wait().unwrap().code(), Some(1));
}

/// Nobody reads what it prints any more: it ends, in peace.
#[test]
fn a_monitor_whose_reader_has_gone_ends() {
    let agent = Agent::start(OURS, "n1", &[]);
    let mut monitor = Command::new(OURS)
        .arg("monitor")
        .arg(format!("-rpc-addr={}", agent.rpc))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    agent.ask(OURS, &["event", "-coalesce=false", "last"]);
    // The event and the line of the log about it, in whatever order: nothing follows by itself.
    let mut awaited = vec!["\"last\"", "user-event: last"];
    while !awaited.is_empty() {
        let line = lines.next().unwrap().unwrap();
        awaited.retain(|text| !line.contains(text));
    }
    drop(lines);
    let deadline = Instant::now() + Duration::from_secs(20);
    while monitor.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = monitor.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
