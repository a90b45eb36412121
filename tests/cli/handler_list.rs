//! `handler list`, and agents that cannot list their handlers.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use cottar::cli::client::Client;
use cottar::rpc::Request;
use serde_json::Value;

use crate::handler_test::said;
use crate::live::{Agent, COTTAR, Hold, Kind, Spec, arg, free, lacks_reference, wait_until};

/// The error of a failing `handler list`.
fn no_list(rpc: SocketAddr) -> String {
    let rpc = format!("-rpc-addr={rpc}");
    let line = ["handler", "list", &rpc];
    let output = Command::new(COTTAR).args(line).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    said(&output)
}

/// The entry of a handler in `handler list`, by its script.
fn listed(agent: &Agent, script: &str) -> Value {
    let (worked, text) = agent.call("handler list", &["-format=json"]);
    assert!(worked, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let list = report["handlers"].as_array().unwrap();
    list.iter()
        .find(|h| h["script"] == script)
        .cloned()
        .unwrap_or_default()
}

fn counts(agent: &Agent, script: &str) -> [u64; 4] {
    let handler = listed(agent, script);
    ["runs", "failures", "timeouts", "drops"].map(|name| handler[name].as_u64().unwrap_or(99))
}

#[test]
fn the_list_has_the_outcomes_of_each_handler() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    let write = |handlers: &str| {
        fs::write(&config, format!("{{\"event_handlers\": [{handlers}]}}")).unwrap();
    };
    write("\"user:ok=:\", \"user:bad=exit 3\", \"user:hang,query=exec sleep 60\"");
    let file = format!("-config-file={}", arg(&config));
    let agent = Agent::start(&["-node=n1", "-handler-timeout=200ms", &file]);
    assert_eq!(listed(&agent, ":")["last_nanos"], Value::Null);
    for name in ["ok", "bad", "ok", "hang"] {
        assert!(agent.call("event", &["-coalesce=false", name]).0);
    }
    agent.wait_for("Script ':' ran for 'user-event: ok': exit status 0, ");
    agent.wait_for("[INFO] agent: Script 'exit 3' ran for 'user-event: bad': exit status 3, ");
    let hung = "Script 'exec sleep 60' ran for 'user-event: hang': time limit of 200ms exceeded, ";
    agent.wait_for(hung);
    assert_eq!(counts(&agent, ":"), [2, 0, 0, 0]);
    assert_eq!(counts(&agent, "exit 3"), [1, 1, 0, 0]);
    assert_eq!(counts(&agent, "exec sleep 60"), [1, 1, 1, 0]);
    let hung = listed(&agent, "exec sleep 60");
    assert!(
        hung["last_nanos"].as_u64().unwrap() >= 200_000_000,
        "{hung}"
    );
    assert_eq!(hung["last_nanos"], hung["longest_nanos"]);
    // The text lists them in order; a handler with two filters is one entry.
    let (_, table) = agent.call("handler list", &[]);
    let filters: Vec<&str> = table
        .lines()
        .map(|l| l.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(
        filters,
        ["FILTER", "user:ok", "user:bad", "user:hang,query"]
    );
    assert!(
        table.lines().nth(2).unwrap().ends_with("  exit 3"),
        "{table}"
    );

    write("\"user:new=true\", \"user:ok=:\"");
    agent.signal(libc::SIGHUP);
    wait_until("the new list", || {
        listed(&agent, "true")["filter"] == "user:new"
    });
    assert_eq!(counts(&agent, ":"), [2, 0, 0, 0]);
    assert_eq!(listed(&agent, "exit 3"), Value::Null);
}

#[test]
fn the_list_needs_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    fs::write(&config, "{\"rpc_auth\": \"key\"}").unwrap();
    let agent = Agent::start(&["-node=n1", &format!("-config-file={}", arg(&config))]);
    let refused = no_list(agent.rpc);
    assert!(refused.contains("Authentication required"), "{refused}");
    let (worked, text) = agent.call("handler list", &["-rpc-auth=key", "-format=json"]);
    assert!(worked && text == "{\n  \"handlers\": []\n}\n", "{text}");
}

#[test]
fn the_list_counts_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    fs::write(&config, "{\"user_event_size_limit\": 9216}").unwrap();
    let file = format!("-config-file={}", arg(&config));
    let hold = Hold::new();
    let slow = hold.script();
    let handlers = [
        format!("-event-handler=user:slow={slow}"),
        "-event-handler=user:much=:".into(),
    ];
    let agent = Agent::start(&["-node=n1", &file, &handlers[0], &handlers[1]]);
    assert!(agent.call("event", &["-coalesce=false", "slow"]).0);
    agent.wait_for("slow, execution exceeding 1s");
    let mut client = Client::connect(&agent.rpc.to_string(), "").unwrap();
    let sent = 2_000;
    for _ in 0..sent {
        let event = Request::Event {
            name: b"much".to_vec(),
            payload: Some(vec![b'x'; 9_000]),
            coalesce: false,
        };
        client.execute(&event).unwrap();
    }
    agent.wait_for("Handler queue is full");
    let [runs, _, _, dropped] = counts(&agent, ":");
    assert!(runs == 0 && dropped > 0, "{dropped}");
    assert_eq!(counts(&agent, &slow)[3], 0);
    hold.release();
    wait_until("the rest runs", || counts(&agent, ":")[0] == sent - dropped);
    assert_eq!(counts(&agent, ":")[3], dropped);
    let (_, info) = agent.call("info", &[]);
    assert!(
        info.contains(&format!("dropped_user_events = {dropped}\n")),
        "{info}"
    );
}

#[test]
fn an_agent_of_serf_cannot_list() {
    if lacks_reference("an_agent_of_serf_cannot_list") {
        return;
    }
    let agent = Spec::bare(Kind::Serf).name("n1").start();
    let refused = no_list(agent.rpc);
    let words = "This agent does not support 'handler list': ";
    assert!(refused.starts_with(words), "{refused}");
    for line in [&["handler sync"][..], &["handler run", "x", "user", "y"]] {
        let refused = agent.ask(Kind::Cottar, line);
        let words = format!(
            "This agent does not support '{}': it is a Serf agent or an older cottar\n",
            line[0]
        );
        assert_eq!((refused.code, refused.stderr), (1, words));
    }
}

#[test]
fn the_list_needs_an_agent() {
    let refused = no_list(free());
    let words = "Error connecting to Serf agent: dial tcp";
    assert!(refused.starts_with(words), "{refused}");
}
