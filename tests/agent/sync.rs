//! `sync` handlers, and the variables with the agent's RPC addresses.

use std::fs;

use serde_json::{Value, json};

use crate::live::{Agent, COTTAR, Kind, Spec, arg};
use crate::settings::{Place, asks_on_go, fire};

const SYNCED: &str =
    "echo \"$SERF_EVENT $(cut -f1 | sort | xargs)\" >>$D/ran; exit $(cat $D/status)";

fn place() -> Place {
    let place = Place::new(&json!([
        {"run": SYNCED, "on": "sync", "name": "a"},
        {"run": format!("echo b; {SYNCED}"), "on": "sync,user:u", "name": "b"},
        {"run": "sleep 60", "on": "user:block", "name": "slow", "timeout": "2s"},
        {"run": ":", "on": "*", "name": "plain"},
    ]));
    fs::write(place.path("status"), "0").unwrap();
    place
}

/// Runs `handler sync`; returns its exit status and output.
fn status(agent: &Agent, args: &[&str]) -> (i32, String) {
    let finished = agent.ask(Kind::Cottar, &[&["handler sync"], args].concat());
    (finished.code, finished.stdout + &finished.stderr)
}

#[test]
fn a_sync_on_demand_waits_for_its_run() {
    let place = place();
    let agent = place.start();
    place.await_lines("ran", 2);
    let (done, said) = agent.call("handler sync", &["a"]);
    assert!(done, "{said}");
    assert_eq!(said.trim_end(), "NAME  END\na     exit status 0");
    assert_eq!(place.lines("ran")[2..], ["sync n1"]);
    // All handlers; the command exits with the first status that is not 0.
    fs::write(place.path("status"), "3").unwrap();
    let (code, said) = status(&agent, &["-format=json"]);
    assert_eq!(code, 3, "{said}");
    let mut said: Value = serde_json::from_str(&said).unwrap();
    for run in said["runs"].as_array_mut().unwrap() {
        assert!(run["duration_nanos"].take().as_u64() > Some(0), "{run}");
    }
    let run = |name: &str, output: &str| {
        json!({
            "name": name, "end": "exit status 3", "status": 3, "output": output,
            "output_bytes": output.len(), "duration_nanos": null,
        })
    };
    assert_eq!(said, json!({"runs": [run("a", ""), run("b", "b\n")]}));
    assert_eq!(place.lines("ran").len(), 5);
    for (name, words) in [
        ("nobody", "no handler has the name 'nobody'"),
        (
            "plain",
            "handler 'plain' does not have 'sync' in its filter",
        ),
        ("", "The name is empty"),
    ] {
        let (code, said) = status(&agent, &[name]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(words), "{said}");
    }
    // The command waits for runs before its own, but not for a paused handler.
    assert!(agent.call("handler pause", &["b"]).0);
    let (code, said) = status(&agent, &["b"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("handler 'b' is paused"), "{said}");
    fire(&agent, "block");
    agent.wait_for("Received event: user-event: block");
    fs::write(place.path("status"), "0").unwrap();
    let (code, said) = status(&agent, &[]);
    assert_eq!(code, 125, "{said}");
    assert!(said.contains("b     paused\na     exit status 0"), "{said}");
    assert!(agent.text().contains("time limit of 2s exceeded"));
    // The paused handler gets its sync when it is resumed.
    assert!(agent.call("handler resume", &["b"]).0);
    place.await_lines("ran", 7);
}

#[test]
fn a_sync_in_a_handler_does_not_wait_for_itself() {
    let place = Place::new(&json!([
        {"run": "echo ran >>$D/ran", "on": "sync", "name": "s"},
        asks_on_go("handler sync s"),
    ]));
    let agent = place.start();
    place.await_lines("ran", 1);
    fire(&agent, "go");
    assert_eq!(
        place.await_lines("done", 3),
        ["NAME  END", "s     queued", "0"]
    );
    place.await_lines("ran", 2);
}

#[test]
fn a_sync_lists_the_live_members() {
    let place = Place::new(&json!([
        {"run": SYNCED, "on": "sync", "name": "a", "where": {"role": "web|"}},
        {"exec": ["sh", "-c", "cat >>$D/json"], "on": "sync", "input": "json", "name": "j"},
    ]));
    fs::write(place.path("status"), "0").unwrap();
    let agent = place.start();
    let other = Spec::new(Kind::Cottar, "n2")
        .tag("role", "web")
        .args(["-profile=local"])
        .join(&agent)
        .start();
    // At once, because there is no address to join, and again when another member is known.
    assert_eq!(place.await_lines("ran", 2), ["sync n1", "sync n1 n2"]);
    other.crash();
    agent.wait_for("EventMemberFailed: n2");
    assert!(agent.call("handler sync", &[]).0);
    assert_eq!(place.lines("ran")[2..], ["sync n1"]);
    let last = place.lines("json").pop().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["event"], "sync");
    let member = |at: usize| (&last["members"][at]["name"], &last["members"][at]["status"]);
    assert_eq!(member(0), (&json!("n1"), &json!("alive")));
    assert_eq!(member(1), (&json!("n2"), &json!("failed")));
}

#[test]
fn events_that_a_sync_covers_are_not_handled_again() {
    let place = Place::new(&json!([
        {"run": SYNCED, "on": "sync,member-join,user:u", "name": "a"},
        {"run": "echo $SERF_EVENT >>$D/others", "on": "*"},
    ]));
    fs::write(place.path("status"), "0").unwrap();
    let agent = place.start();
    assert_eq!(place.await_lines("ran", 1), ["sync n1"]);
    // The node's own join is coalesced for a second.
    place.await_lines("others", 1);
    fire(&agent, "u");
    assert_eq!(place.await_lines("ran", 2)[1..], ["user "]);
    let _other = Spec::new(Kind::Cottar, "n2").join(&agent).start();
    assert_eq!(place.await_lines("ran", 3)[2..], ["sync n1 n2"]);
    let others = place.await_lines("others", 3);
    assert_eq!(others, ["member-join", "user", "member-join"]);
    fire(&agent, "u");
    assert_eq!(place.await_lines("ran", 4)[3..], ["user "]);
}

#[test]
fn clients_in_a_handler_ask_the_agent_that_runs_it() {
    let write = "env | grep -E '^(SERF_RPC|COTTAR_(IN_|RPC_))' | sort >$D/env; ";
    let ask = format!("{write} {COTTAR} members >$D/members 2>&1; mv $D/members $D/done");
    let handlers = json!([{"run": ask, "on": "user", "directory": "/"}]);
    // Over TCP, over the socket, and with variables in the agent's own environment.
    let place = Place::new(&handlers);
    let agent = place
        .spec("n1")
        .env("COTTAR_RPC_ADDR", "127.0.0.1:1")
        .start();
    fire(&agent, "go");
    assert!(place.await_lines("done", 1)[0].starts_with("n1 "));
    let tcp = format!("SERF_RPC_ADDR={}", agent.rpc);
    assert_eq!(place.lines("env"), ["COTTAR_IN_HANDLER=1", &tcp]);

    let place = Place::new(&handlers);
    let agent = place
        .spec("n2")
        .env("SERF_RPC_ADDR", "127.0.0.1:1")
        .current_dir(&place.path(""))
        .args(["-rpc-addr=unix:own.sock"])
        .start();
    fire(&agent, "go");
    assert!(place.await_lines("done", 1)[0].starts_with("n2 "));
    let socket = format!("COTTAR_RPC_ADDR=unix:{}", arg(&place.path("own.sock")));
    assert_eq!(
        place.lines("env"),
        ["COTTAR_IN_HANDLER=1", &socket, "SERF_RPC_ADDR=127.0.0.1:1"]
    );
}
