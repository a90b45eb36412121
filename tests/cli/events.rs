//! `monitor -event`: events for shell scripts.

use std::path::Path;
use std::process::Child;

use serde_json::{Value, json};

use crate::live::{Agent, Kind, arg, content, lacks_program, lacks_reference, wait_until};
use crate::run::{Finished, finish, run};
use crate::samples::start;
use crate::scripts::shell;

/// Starts a shell command, and waits until the monitor in it reports on stderr, which is the file `ready`,
/// that it has started.
fn begin(line: &str, dir: &Path, agent: &Agent) -> Child {
    let ready = dir.join("ready");
    let _ = std::fs::remove_file(&ready);
    let line = format!("exec 2>'{}'; {line}", arg(&ready));
    let child = shell(&line, agent).spawn().unwrap();
    wait_until("the line that it is ready", || {
        content(&ready).starts_with("Ready, waiting for ")
    });
    child
}

#[track_caller]
fn fire(agent: &Agent, name: &str, payload: &str) {
    let line = ["event", "-coalesce=false", name, payload];
    assert_eq!(agent.run(&line).status, Some(0));
}

fn said(got: &Finished) -> (&str, Option<i32>) {
    (std::str::from_utf8(&got.stdout).unwrap(), got.status)
}

#[test]
fn a_shell_reads_events_in_a_loop() {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(Kind::Cottar, "n1", &["-profile=local", "-tag=role=web"]);
    // Otherwise the update would be coalesced with the join.
    agent.wait_for("Received event: member-join");
    let each = "while IFS='\t' read -r event name a b c; do printf '%s %s <%s> <%s> <%s>\\n' \"$event\" \"$name\" \"$a\" \"$b\" \"$c\"; done";
    let line = format!(
        "cottar monitor -event user:deploy,query -event member-update -count 4 -timeout 50s | {each}"
    );
    let child = begin(&line, dir.path(), &agent);
    fire(&agent, "other", "");
    fire(&agent, "deploy", "1\t2\n3 \u{1b}");
    fire(&agent, "deploy", "");
    assert_eq!(
        agent
            .run(&["query", "-timeout=50ms", "-no-ack", "load"])
            .status,
        Some(0)
    );
    agent.says(
        &["tags", "-set=a=1"],
        0,
        "Successfully updated agent tags\n",
    );
    let lines = format!(
        "user deploy <2> <1\\t2\\n3 \\u{{1b}}> <>\nuser deploy <3> <> <>\nquery load <1> <> <>\n\
         member-update n1 <{}> <alive> <a=1,role=web>\n",
        agent.gossip
    );
    assert_eq!(said(&finish(child)), (lines.as_str(), Some(0)));
}

#[test]
fn jq_reads_events_as_a_handler_does() {
    if lacks_program("events through jq", "jq") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let config = dir.path().join("config.json");
    let handlers = json!([{"run": format!("cat >>'{}'", seen.display()), "input": "json"}]);
    std::fs::write(&config, json!({"event_handlers": handlers}).to_string()).unwrap();
    let flags = [
        "-profile=local",
        "-tag=a=\u{2028}",
        "-config-file",
        arg(&config),
    ];
    let agent = start(Kind::Cottar, "n1", &flags);
    wait_until("the own join", || content(&seen).ends_with('\n'));
    std::fs::remove_file(&seen).unwrap();
    let line = "cottar monitor -event '*' -format json -count 4 -timeout 50s | jq -c .";
    let child = begin(line, dir.path(), &agent);
    fire(&agent, "de\"ploy", "\u{1f600}\u{2028}\n");
    let raw = "cottar event -coalesce=false raw \"$(printf '\\377')\"";
    assert_eq!(finish(shell(raw, &agent).spawn().unwrap()).status, Some(0));
    assert_eq!(
        agent.run(&["query", "-timeout=50ms", "load", "x"]).status,
        Some(0)
    );
    let runs = |count| wait_until("its run", || content(&seen).matches('\n').count() == count);
    // The run gets the node's tags as of its start.
    runs(3);
    agent.says(
        &["tags", "-set=b=2"],
        0,
        "Successfully updated agent tags\n",
    );
    let got = finish(child);
    assert_eq!(got.status, Some(0));
    runs(4);
    let parse = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (monitored, handled) = (parse(&got.text()), parse(&content(&seen)));
    assert_eq!(monitored[1]["payload_base64"], "/w==");
    assert_eq!(monitored[2]["from"], "n1");
    for (monitored, handled) in monitored.iter().zip(&handled) {
        let mut handled = handled.clone();
        if monitored["event"] == "query" {
            // The time of day at the deadline, as the run sees it: milliseconds may lie in between.
            handled["deadline"] = monitored["deadline"].clone();
        }
        if monitored["event"] == "member-update" {
            assert_eq!(handled["self"]["tags"]["b"], "2");
        }
        assert_eq!(*monitored, handled);
    }
}

#[test]
fn a_monitor_of_events_ends_after_its_count_or_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(Kind::Cottar, "n1", &["-profile=local"]);
    let got = agent.run(&["monitor", "-event=user:x", "-count=2", "-timeout=300ms"]);
    assert_eq!(said(&got), ("", Some(2)));
    let words = "Ready, waiting for user:x\nTimed out: 0 of 2 events received\n";
    assert_eq!(got.stderr, words);
    // Events before the timeout are printed; without -count, only the timeout ends the monitor.
    let line = "cottar monitor -event user -timeout 2s";
    let child = begin(line, dir.path(), &agent);
    fire(&agent, "x", "y");
    assert_eq!(said(&finish(child)), ("user\tx\t1\ty\n", Some(2)));
    assert!(content(&dir.path().join("ready")).ends_with("Timed out: 1 events received\n"));
    // Each line is written at once, and a reader that keeps reading does not end the monitor, with or without
    // a timeout.
    for limit in ["", "-timeout 1h"] {
        let line = format!("cottar monitor -event user {limit} | head -n 1; echo over");
        let child = begin(&line, dir.path(), &agent);
        fire(&agent, "x", "");
        let got = finish(child);
        assert!(got.text().ends_with("\t\nover\n"), "{got:?}");
    }
    // An interrupt is success for a monitor without a limit, and a failure for one that waits for events.
    for (flag, status) in [("", Some(0)), ("-count 1", None)] {
        let line = format!("exec cottar monitor -event user {flag}");
        let child = begin(&line, dir.path(), &agent);
        let kill = format!("kill -INT {}", child.id());
        assert_eq!(
            finish(shell(&kill, &agent).spawn().unwrap()).status,
            Some(0)
        );
        assert_eq!(said(&finish(child)), ("", status), "{line}");
    }
    let child = begin("cottar monitor -event user -count 1", dir.path(), &agent);
    drop(agent);
    assert_eq!(said(&finish(child)), ("", Some(1)));
    let told = content(&dir.path().join("ready"));
    assert!(told.contains("Remote side ended the monitor!"), "{told}");
}

#[test]
fn invalid_flags_of_monitor_are_refused() {
    for (line, why) in [
        (
            &["-event=member-jion"][..],
            "'member-jion' is not an event type; use member-join, ",
        ),
        (&["-event="], "'' is not an event type; use "),
        (&["-event=user,"], "'' is not an event type; use "),
        (&["-event=sync"], "'sync' is not an event type; use "),
        (&["-event=user", "-count=-1"], "-count must not be negative"),
        (
            &["-event=user", "-timeout=-1s"],
            "-timeout must not be negative",
        ),
        (
            &["-event=user", "-log-level=debug"],
            "-log-level cannot be used with -event",
        ),
        (&["-count=1"], "-count requires -event"),
        (&["-event=user", "-format=xml"], "Invalid format: xml"),
    ] {
        let got = run(&[&["monitor", "-rpc-addr=127.0.0.1:1"], line].concat());
        assert_eq!(said(&got), ("", Some(1)), "{line:?}");
        assert!(got.stderr.starts_with(why), "{line:?}: {}", got.stderr);
    }
}

#[test]
fn monitor_works_with_the_references_agent() {
    if lacks_reference("monitor -event") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let agent = start(Kind::Serf, "n1", &["-profile=local"]);
    let line = "cottar monitor -event user -count 1 -format json";
    let child = begin(line, dir.path(), &agent);
    fire(&agent, "deploy", "1.2");
    let got = finish(child);
    let object: Value = serde_json::from_slice(&got.stdout).unwrap();
    let ltime = object["ltime"].as_u64().unwrap();
    let told = json!({
        "event": "user", "replay": false, "attempt": 1, "name": "deploy", "ltime": ltime, "payload": "1.2"
    });
    assert_eq!(object, told);
    let said = content(&dir.path().join("ready"));
    assert!(
        said.contains("the fields id, time, self, from and deadline are missing"),
        "{said}"
    );
}
