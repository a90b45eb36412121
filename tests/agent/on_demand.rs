//! `handler run`: runs of handlers on demand.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::live::process::collect;
use crate::live::{Agent, Hold, Kind, Process, wait_until};
use crate::settings::{Place, asks_on_go, fire};

/// Runs `handler run`; returns its exit status, stdout and stderr.
fn run(agent: &Agent, args: &[&str]) -> (i32, String, String) {
    let finished = agent.ask(Kind::Cottar, &[&["handler run"], args].concat());
    (finished.code, finished.stdout, finished.stderr)
}

#[test]
fn a_run_on_demand_has_the_settings_of_its_handler() {
    let place = Place::new(&json!([
        {
            "exec": ["sh", "-c", "pwd; echo $OWN $SERF_EVENT $SERF_USER_EVENT $SERF_USER_LTIME; cat; exit 3"],
            "on": "user:other", "name": "web", "where": {"role": "db"}, "self": {"role": "none"}, "settle": "1h",
            "directory": "/", "environment": {"OWN": "x y"}, "retry": {"times": 5, "wait": "10s"},
        },
        {"run": "cat; exit 75", "on": "query", "name": "json", "input": "json", "retry": {"times": 5, "wait": "10m"}},
        {"run": "sleep 60", "on": "user:slow", "timeout": "100ms", "name": "slow"},
        {"run": "kill -9 $$", "name": "killed", "on": "user:k"},
    ]));
    let agent = place.start();
    let (code, shown, _) = run(&agent, &["-ltime=9", "web", "user", "deploy", "1.4"]);
    assert_eq!(code, 3);
    let (text, time) = shown.rsplit_once(" after ").unwrap();
    let expected = "Output: 24 bytes\n    /\n    x y user deploy 9\n    1.4\nEnd: exit status 3";
    assert_eq!(text, expected);
    assert!(time.ends_with("ms\n"), "{time}");
    // A payload from a file, and only the output.
    fs::write(place.path("payload"), b"\xff\0").unwrap();
    let payload = format!("-payload={}", place.path("payload").display());
    let quiet = ["-quiet", &payload, "web", "query", "load"];
    let mut command = agent.command(Kind::Cottar, &[&["handler run"][..], &quiet].concat());
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"/\nx y query\n\xff\0\n");
    assert_eq!((output.stderr, output.status.code()), (vec![], Some(3)));
    // As JSON, and with members that the agent does not know.
    let member = "a\\,b,10.0.0.7,role=web,rack=2";
    let (code, shown, _) = run(
        &agent,
        &["-format=json", "json", "member-failed", "z", member],
    );
    assert_eq!(code, 75);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shown = &shown["runs"][0];
    assert_eq!(
        (&shown["name"], &shown["end"]),
        (&json!("json"), &json!("exit status 75"))
    );
    let event: Value = serde_json::from_str(shown["output"].as_str().unwrap()).unwrap();
    assert_eq!(event["event"], "member-failed");
    assert!(event["id"].as_str().unwrap().starts_with("run:"), "{event}");
    assert_eq!(event["members"][0]["name"], "a,b");
    assert_eq!(
        event["members"][0]["tags"],
        json!({"role": "web", "rack": "2"})
    );
    assert_eq!(event["members"][1]["status"], "failed");
    let (code, shown, _) = run(&agent, &["slow", "user", "x"]);
    assert_eq!(code, 124);
    assert!(
        shown.contains("End: time limit of 100ms exceeded after "),
        "{shown}"
    );
    let (code, shown, said) = run(&agent, &["-quiet", "killed", "sync", "m"]);
    assert_eq!((code, &*shown), (137, ""));
    assert!(said.starts_with("signal: killed after "), "{said}");
}

#[test]
fn the_largest_payload_of_a_run_is_accepted_and_a_larger_one_refused() {
    let place = Place::new(&json!([{"run": "cat; exit 3", "name": "web", "on": "user:other"}]));
    let agent = place.start();
    let payload = format!("-payload={}", place.path("payload").display());
    // A request that is too large for the agent is refused before it is sent.
    fs::write(place.path("payload"), vec![b'x'; (1 << 20) - 10]).unwrap();
    let (code, _, said) = run(&agent, &[&payload, "web", "user", "x"]);
    assert_eq!(
        (code, &*said),
        (
            1,
            "Error running the handler: the request is too large: 1 MiB at most\n"
        )
    );
    // The largest payload that is accepted.
    fs::write(place.path("payload"), vec![b'x'; (1 << 20) - 200]).unwrap();
    let (code, shown, _) = run(&agent, &[&payload, "web", "user", "x"]);
    assert!(
        code == 3 && shown.contains("the last 8192 kept"),
        "{code} {shown:.100}"
    );
}

#[test]
fn what_cannot_be_run_is_an_error() {
    let place = Place::new(&json!([{"run": "echo >>$D/ran", "name": "a", "on": "user:x"}]));
    let agent = place.start();
    for (args, words) in [
        (
            &["nobody", "user", "x"][..],
            "Error running the handler: no handler has the name 'nobody'\n",
        ),
        (&["a", "dance", "x"], "'dance' is not an event type."),
        (
            &["a", "member-join"],
            "At least one member must be specified for this event.",
        ),
        (&["a", "member-join", "x,=y"], "Invalid member 'x,=y'"),
        (&["a"], "A handler and an event must be specified."),
        (
            &["-ltime=-1", "a", "user", "x"],
            "-ltime must not be negative",
        ),
        (
            &["a", "user", "x", "y", "z"],
            "Too many arguments after the name and the payload.",
        ),
        (
            &["a", "sync", "x", "-quiet"],
            "'-quiet' follows a name: put flags first",
        ),
    ] {
        let (code, shown, said) = run(&agent, args);
        assert!(
            code == 1 && said.contains(words),
            "{args:?}: {code} {shown} {said}"
        );
    }
    assert!(agent.call("handler pause", &["a"]).0);
    let (code, _, said) = run(&agent, &["a", "user", "x"]);
    assert_eq!(
        (code, &*said),
        (1, "Error running the handler: handler 'a' is paused\n")
    );
    // The refused run was not queued.
    assert!(agent.call("handler resume", &["a"]).0);
    let (_, queue) = agent.call("handler queue", &["-format=json"]);
    assert_eq!(queue, "{\n  \"entries\": [],\n  \"more\": 0\n}\n");
    assert_eq!(run(&agent, &["a", "user", "x"]).0, 0);
    assert_eq!(place.lines("ran").len(), 1);
}

/// Starts a `handler run` of `last` that waits behind a handler which the [`Hold`] blocks.
fn waiting() -> (Place, Agent, Hold, Process) {
    let hold = Hold::new();
    let place = Place::new(&json!([
        {"run": hold.script(), "on": "user:block"},
        {"run": "echo $SERF_USER_EVENT >>$D/ran", "on": "user:u", "name": "last"},
    ]));
    let agent = place.start();
    fire(&agent, "block");
    agent.wait_for("Received event: user-event: block");
    fire(&agent, "u");
    agent.wait_for("Received event: user-event: u");
    let line = ["handler run", "last", "user", "asked"];
    let mut command = agent.command(Kind::Cottar, &line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = Process::spawn(&mut command).unwrap();
    wait_until("the run is asked for", || {
        let (_, queue) = agent.call("handler queue", &[]);
        queue.contains("  user-event: asked  last     0         waiting")
    });
    (place, agent, hold, client)
}

/// Waits for the end of the client; returns its exit code, and its stdout followed by its stderr.
fn end_of(client: &Process) -> (Option<i32>, String) {
    let (status, stdout, stderr) = collect(&mut client.child(), Duration::from_secs(30));
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_run_waits_only_for_the_current_run() {
    let (place, _agent, hold, client) = waiting();
    assert_eq!(client.status(), None);
    assert!(place.lines("ran").is_empty());
    hold.release();
    assert_eq!(end_of(&client).0, Some(0));
    assert_eq!(place.await_lines("ran", 2), ["asked", "u"]);
}

#[test]
fn a_dropped_run_is_reported_as_not_run() {
    let (place, agent, hold, client) = waiting();
    assert!(agent.call("handler drop", &["last"]).0);
    assert_eq!(
        end_of(&client),
        (Some(125), "Output: 0 bytes\nEnd: not run\n".into())
    );
    hold.release();
    assert!(place.lines("ran").is_empty());
}

#[test]
fn a_run_of_a_handler_paused_meanwhile_is_refused() {
    let (place, agent, hold, client) = waiting();
    assert!(agent.call("handler pause", &["last"]).0);
    assert_eq!(client.status(), None);
    hold.release();
    assert_eq!(end_of(&client).0, Some(125));
    // The waiting event still waits.
    assert!(agent.call("handler resume", &["last"]).0);
    assert_eq!(place.await_lines("ran", 1), ["u"]);
}

#[test]
fn a_run_continues_without_its_client() {
    let (place, agent, hold, client) = waiting();
    client.signal(libc::SIGINT);
    wait_until("the client has ended", || client.status().is_some());
    let (_, queue) = agent.call("handler queue", &[]);
    assert!(queue.contains("  user-event: asked  last "), "{queue}");
    hold.release();
    assert_eq!(place.await_lines("ran", 2), ["asked", "u"]);
}

#[test]
fn a_leaving_agent_disconnects_clients_that_wait() {
    let (place, agent, hold, client) = waiting();
    assert_eq!(agent.end(libc::SIGINT), 0);
    let (code, said) = end_of(&client);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("Error running the handler: "), "{said}");
    hold.release();
    assert!(place.lines("ran").is_empty());
}

#[test]
fn a_run_in_a_handler_does_not_wait_for_itself() {
    let place = Place::new(&json!([
        {"run": "echo ran >>$D/ran", "name": "s", "on": "user:never"},
        asks_on_go("handler run s user x"),
    ]));
    let agent = place.start();
    fire(&agent, "go");
    assert_eq!(
        place.await_lines("done", 3),
        ["Output: 0 bytes", "End: queued", "0"]
    );
    place.await_lines("ran", 1);
}
