//! Events as JSON: handlers with `input=json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::live::{Agent, arg, content, wait_until};

/// Starts an agent with these handlers in a configuration file, and these flags.
fn agent(dir: &Path, handlers: &Value, flags: &[&str]) -> Agent {
    let config = dir.join("config.json");
    fs::write(&config, json!({"event_handlers": handlers}).to_string()).unwrap();
    let fixed = ["-node=n1", "-profile=local", "-config-file", arg(&config)];
    Agent::start(&[&fixed, flags].concat())
}

/// The JSON objects in a file, one per line, without an incomplete last line.
fn objects(path: &Path) -> Vec<Value> {
    let text = content(path);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    whole.lines().map(parse).collect()
}

#[test]
fn a_handler_reads_its_event_as_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let handler = json!([
        {"run": format!("cat >>{}", seen.display()), "input": "json"},
        {"run": "cat", "on": "query:both", "input": "json", "name": "second"},
    ]);
    let flags = ["-tag=role=web", "-tag=a,b=x\ty=\u{2028}<&>"];
    let agent = agent(dir.path(), &handler, &flags);
    let next = |count: usize| {
        wait_until("an object", || objects(&seen).len() >= count);
        objects(&seen).swap_remove(count - 1)
    };
    let join = next(1);
    let (_, members) = agent.call("members", &["-format=json"]);
    let members: Value = serde_json::from_str(&members).unwrap();
    assert_eq!(join["members"], members["members"]);
    let own_tags = json!({"role": "web", "a,b": "x\ty=\u{2028}<&>"});
    assert_eq!(join["self"], json!({"name": "n1", "tags": own_tags}));
    assert_eq!(join["event"], "member-join");
    assert_eq!(
        (&join["replay"], &join["attempt"]),
        (&json!(false), &json!(1))
    );
    assert!(join["id"].as_str().unwrap().starts_with("member-join:"));
    assert!(join.get("name").is_none() && join.get("payload").is_none());

    let (_, said) = agent.call(
        "event",
        &[
            "-coalesce=false",
            "-format=json",
            "de\tploy",
            "1.2\u{2028}\n",
        ],
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    let user = next(2);
    assert_eq!(user["event"], "user");
    assert_eq!((&user["id"], &user["ltime"]), (&said["id"], &said["ltime"]));
    assert_eq!(
        (&user["name"], &user["payload"]),
        (&json!("de\tploy"), &json!("1.2\u{2028}\n"))
    );
    assert!(user["time"].as_str().unwrap().ends_with('Z') && user.get("members").is_none());

    // Each handler of an event gets the input format of its settings; the second one answers.
    let (_, answer) = agent.call(
        "query",
        &["-timeout=5s", "-expect=1", "-fields=payload", "both"],
    );
    let query = next(3);
    assert!(answer.contains("\"from\": \"n1\""), "{answer}");
    assert_eq!(
        (&query["from"], &query["name"]),
        (&json!("n1"), &json!("both"))
    );
    let at = |field: &str| query[field].as_str().unwrap().to_owned();
    assert!(at("deadline") > at("time"), "{query}");
    assert!(query.get("payload").is_none() && query.get("payload_base64").is_none());
}
