//! `-format=json` of every command, read by `jq`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};

use cottar::cli::table::COMMANDS;

use crate::live::{Agent, Kind, arg, lacks_program};
use crate::mock::{header, listen, record};
use crate::run::{finish, run};
use crate::samples::start;
use crate::scripts::shell;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A command, its arguments, a filter of `jq`, and what the filter prints.
struct Case(&'static str, String, &'static str, String);

fn case(command: &'static str, rest: &str, filter: &'static str, expected: &str) -> Case {
    Case(command, rest.to_owned(), filter, expected.to_owned())
}

// Long: a table with the JSON of every command.
fn cases(agent: &Agent) -> Vec<Case> {
    let own = agent.gossip.to_string();
    let member = r#"[{"name":"n","addr":"OWN","port":PORT,"tags":{"a":"<\">","c":"1"},"status":"alive","protocol":{"max":5,"min":2,"version":5}}]"#
        .replace("OWN", &own)
        .replace("PORT", &agent.gossip.port().to_string());
    vec![
        case(
            "event",
            "x y",
            r#"[.name,.coalesce,(.ltime>0),(.ltime as $t|.id|startswith("user:\($t):"))]"#,
            r#"["x",true,true,true]"#,
        ),
        case(
            "force-leave",
            "nobody",
            ".",
            r#"{"name":"nobody","prune":false}"#,
        ),
        case(
            "handler check",
            "/dev/null",
            "[.files[0].state,.files[0].on]",
            r#"["skipped",null]"#,
        ),
        case("handler drop", "", ".", r#"{"dropped":0}"#),
        case(
            "handler list",
            "",
            ".handlers[1].script",
            r#""printf 'x\\n'""#,
        ),
        case(
            "handler pause",
            "printf",
            ".",
            r#"{"name":"printf","paused":true}"#,
        ),
        case("handler queue", "", ".", r#"{"entries":[],"more":0}"#),
        case(
            "handler resume",
            "printf",
            ".",
            r#"{"name":"printf","paused":false}"#,
        ),
        case(
            "handler run",
            "printf user x",
            ".runs[0]|[.name,.end,.status,.output,.output_bytes]",
            r#"["printf","exit status 0",0,"x\n",2]"#,
        ),
        case(
            "handler sync",
            "s",
            "(.runs[].duration_nanos|=.>0)|.",
            r#"{"runs":[{"name":"s","end":"exit status 0","status":0,"output":"","output_bytes":0,"duration_nanos":true}]}"#,
        ),
        case(
            "handler test",
            "'exit 0' user x",
            ".runs[0].exit_status",
            "0",
        ),
        case("info", "", "[.agent.name,.serf.members]", r#"["n","1"]"#),
        case("join", &own, ".", r#"{"contacted":1}"#),
        case("keygen", "", ".key | @base64d | length > 9", "true"),
        case(
            "keys",
            "-list",
            ".",
            &format!(
                r#"{{"Keys":{{"{KEY}":1}},"Messages":{{}},"NumErr":0,"NumNodes":1,"NumResp":1}}"#
            ),
        ),
        case("members", "", ".members", &member),
        case("members", "-name=x", ".", r#"{"members":null}"#),
        case("query", "-expect=1 q", ".Responses", r#"{"n":"x\n"}"#),
        case(
            "reachability",
            "",
            ".",
            r#"{"members":1,"live":["n"],"acks":["n"],"missing":[],"surplus":[]}"#,
        ),
        case(
            "rtt",
            "n",
            "[.nodes,(.rtt_ms|type)]",
            r#"[["n","n"],"number"]"#,
        ),
        case(
            "tags",
            "-set=b=1 -delete=c",
            ".",
            r#"{"set":{"b":"1"},"deleted":["c"]}"#,
        ),
        case(
            "version",
            "",
            "del(.features, .target, .commit)",
            concat!(
                r#"{"version":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","protocol":{"max":5,"min":2}}"#
            ),
        ),
        case("version", "", ".features|type", r#""array""#),
        case("version", "", ".target|type", r#""string""#),
        case("version", "", r#"has("commit")"#, "true"),
        case("wait", "-tag=b=1 n", ".members[0].tags.b", r#""1""#),
        case("leave", "", ".", r#"{"left":true}"#),
    ]
}

#[test]
fn jq_reads_what_every_command_prints() {
    if lacks_program("JSON read by jq", "jq") {
        return;
    }
    let config = tempfile::NamedTempFile::new().unwrap();
    let handlers = r#"{"event_handlers": [{"run": ":", "on": "sync", "name": "s"}]}"#;
    fs::write(config.path(), handlers).unwrap();
    let agent = start(
        Kind::Cottar,
        "n",
        &[
            "-config-file",
            arg(config.path()),
            "-tag=a=<\">",
            "-event-handler=query:q=printf 'x\\n'",
            "-profile=local",
            "-encrypt",
            KEY,
        ],
    );
    monitor(&agent);
    let mut done = BTreeSet::from(["monitor"]);
    for Case(command, rest, filter, expected) in cases(&agent) {
        let line = format!("cottar {command} -format=json {rest} | jq -c '{filter}'");
        let got = finish(shell(&line, &agent).spawn().unwrap());
        assert_eq!(
            (got.text().trim_end(), got.stderr.as_str(), got.status),
            (expected.as_str(), "", Some(0)),
            "{line}"
        );
        done.insert(command);
    }
    let with_json = COMMANDS
        .iter()
        .filter(|command| command.flag("format").is_some());
    let with_json: BTreeSet<_> = with_json.map(|command| command.name).collect();
    assert_eq!(done, with_json);
    // The other commands print no results.
    let others = COMMANDS.len() - with_json.len();
    assert_eq!(others, 2, "agent and help");
}

/// Each record is a line; there are records of both kinds.
fn monitor(agent: &Agent) {
    let line = "cottar monitor -format=json | jq -c --unbuffered .";
    let mut child = shell(&format!("exec 2>&1; {line}"), agent).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |start: &str| loop {
        let line = lines.next().expect("more lines").unwrap();
        if line.starts_with(start) {
            return line;
        }
    };
    next(r#"{"Log":"#);
    // The monitor requests the log after the events.
    let got = agent.run(&["event", "-coalesce=false", "deploy", "1\n"]);
    let line = "Event 'deploy' dispatched! Coalescing enabled: false\nTime: ";
    assert!(got.text().starts_with(line), "{}", got.text());
    let event = next(r#"{"Event":"user""#);
    let (begin, end) = (
        r#"{"Event":"user","Name":"deploy","Payload":"1\n","LTime":"#,
        r#","Coalesce":false}"#,
    );
    assert!(event.starts_with(begin) && event.ends_with(end), "{event}");
    agent.says(
        &["tags", "-set=c=1"],
        0,
        "Successfully updated agent tags\n",
    );
    // Soon after the start the change is a part of the join.
    let event = loop {
        let event = next(r#"{"Event":"member-"#);
        if event.contains(r#""c":"1""#) {
            break event;
        }
    };
    assert!(
        event.contains(r#""Members":[{"name":"n","addr":"#),
        "{event}"
    );
    // After its reader has gone, the monitor ends with the agent, at the end of the test.
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The agent closes the connection after one ack.
#[test]
fn an_answer_cut_short_is_still_valid_json() {
    let address = listen(|mut client| {
        client.greet();
        client.value();
        client.value();
        client.send(&header(2));
        client.send(&record("ack", b"a", None));
    });
    let address = format!("-rpc-addr={address}");
    let why = "Error receiving answers: client closed\n";
    let got = run(&["query", &address, "-format=json", "x"]);
    assert_eq!(
        got.text(),
        "{\n  \"Acks\": [\n    \"a\"\n  ],\n  \"Responses\": {}\n}\n"
    );
    assert_eq!((got.stderr.as_str(), got.status), (why, Some(1)));
    // Errors go to stderr as in Serf, where scripts look for them.
    let got = run(&["query", &address, "x"]);
    let text =
        format!("Query 'x' dispatched\nAck from 'a'\nTotal Acks: 1\nTotal Responses: 0\n{why}");
    assert_eq!((got.text(), got.status), (text, Some(1)));
    // All other commands with JSON output print either none or a complete value, and nothing after it.
    let address = listen(|mut client| {
        client.greet();
        client.value();
    });
    let address = format!("-rpc-addr={address}");
    for (command, rest) in [
        ("event", &["x"][..]),
        ("force-leave", &["x"]),
        ("handler drop", &["x"]),
        ("handler list", &[]),
        ("handler pause", &["x"]),
        ("handler queue", &[]),
        ("handler resume", &["x"]),
        ("handler run", &["x", "user", "y"]),
        ("handler sync", &[]),
        ("join", &["x"]),
        ("keys", &["-list"]),
        ("leave", &[]),
        ("monitor", &[]),
        ("reachability", &[]),
        ("rtt", &["x", "y"]),
        ("tags", &["-set=a=b"]),
        ("wait", &["x"]),
    ] {
        let mut line: Vec<_> = command.split(' ').collect();
        line.extend([&address, "-format=json"]);
        line.extend(rest);
        let got = run(&line);
        assert_eq!(
            (got.text().as_str(), got.status),
            ("", Some(1)),
            "{command}"
        );
        assert!(!got.stderr.is_empty(), "{command}");
    }
}

#[test]
fn failures_are_reported_on_stderr_only() {
    let agent = start(Kind::Cottar, "n", &["-profile=local"]);
    for (line, json, why) in [
        (
            &["keys", "-list"][..],
            true,
            "Failed to gather member keys: ",
        ),
        (
            &["join", "127.0.0.1:1"],
            false,
            "Error joining the cluster: ",
        ),
        (
            &["rtt", "x"],
            false,
            "Could not find a coordinate for node \"x\"\n",
        ),
        (
            &["event", "x", "y", "z"],
            false,
            "Too many command line arguments.",
        ),
        (
            &["members", "-strict", "-name=("],
            false,
            "Error retrieving members: ",
        ),
    ] {
        let mut line = line.to_vec();
        line.insert(1, "-format=json");
        let got = agent.run(&line);
        assert_eq!(
            (got.text().is_empty(), got.status),
            (!json, Some(1)),
            "{line:?}"
        );
        if json {
            let json: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
            assert!(json["NumNodes"].as_i64() == Some(1) && json["NumErr"].as_i64() == Some(1));
        }
        assert!(got.stderr.starts_with(why), "{}", got.stderr);
    }
}
