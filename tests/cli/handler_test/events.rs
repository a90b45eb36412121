//! A handler gets the same environment and input from `handler test` as from an agent.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{STALE, text, tool};
use crate::live::{Agent, Kind, Spec, content, wait_until};

/// A handler that records its environment and input, in one file for each type of event.
const WITNESS: &str =
    "{ env | LC_ALL=C sort; echo -; cat; } >seen && mv seen $SERF_EVENT; echo done";

/// Waits for the record of an event about `about`, and removes it.
fn witnessed(dir: &Path, event: &str, about: &str) -> String {
    let path = dir.join(event);
    wait_until(&format!("{event} about {about}"), || {
        content(&path).contains(about)
    });
    let text = content(&path);
    fs::remove_file(&path).unwrap();
    text
}

/// Variable with the address of the agent that runs a handler; the tool runs handlers without an agent.
const AGENT_ADDR: &str = "SERF_RPC_ADDR=";

/// Removes the id and the time of the event, which differ each time, and the agent's address.
fn without_own(seen: &str) -> String {
    let own = ["COTTAR_EVENT_ID=", "COTTAR_EVENT_TIME=", AGENT_ADDR];
    let lines = seen
        .lines()
        .filter(|line| own.iter().all(|name| !line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The flags of the node, of the agent and of the tool alike.
const OWN: [&str; 3] = ["-node=n1", "-tag=role=web", "-tag=data-center=a\tb"];

/// Compares what an agent's handler got for an event about `about` with what it gets from the tool for the
/// made up event.
fn check(dir: &Path, event: &str, about: &str, made_up: &[&str]) {
    let live = witnessed(dir, event, about);
    // Flags come first.
    let (flags, words): (Vec<&str>, Vec<&str>) = made_up
        .iter()
        .partition(|argument| argument.starts_with('-'));
    let with = |flag: &str| {
        let line = [&OWN[..], &flags, &[flag, WITNESS, event], &words].concat();
        tool(dir, &line).output().unwrap()
    };
    let output = with("-quiet");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "done\n");
    let given = witnessed(dir, event, "");
    assert_eq!(without_own(&given), without_own(&live), "{event}");
    // The environment and input that it prints are those that the handler gets.
    let output = with("-format=json");
    fs::remove_file(dir.join(event)).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = &report["runs"][0];
    let (env, stdin) = live.split_once("\n-\n").unwrap();
    assert_eq!(shown["stdin"], stdin, "{event}");
    let mut variables: Vec<String> = shown["env"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !name.starts_with("COTTAR_"))
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
        .collect();
    variables.push("SERF_OTHER=kept".to_owned());
    variables.sort();
    let given: Vec<&str> = env
        .lines()
        .filter(|line| line.starts_with("SERF_") && !line.starts_with(AGENT_ADDR))
        .collect();
    assert_eq!(variables, given, "{event}");
}

#[test]
fn every_event_is_given_as_an_agent_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let handler = format!("-event-handler={WITNESS}");
    let mut spec = Spec::bare(Kind::Cottar).args(OWN);
    for (name, value) in STALE {
        spec = spec.env(name, value);
    }
    let spec = spec.args(["-profile=local", &handler]).current_dir(dir);
    let agent = spec.start();
    let check = |event: &str, about: &str, made_up: &[&str]| check(dir, event, about, made_up);

    let me = "n1,127.0.0.1,role=web,data-center=a\tb";
    check("member-join", "n1\t", &[me]);
    let join = format!("-join={}", agent.gossip);
    let peer = ["-node=n2", "-tag=k=a,b=c\nd", "-profile=local", &join];
    let peer = Agent::start(&peer);
    check("member-join", "n2\t", &["n2,127.0.0.1,k=a\\,b=c\nd"]);
    peer.call("tags", &["-set=role=db", "-delete=k"]);
    check("member-update", "n2\t", &["n2,127.0.0.1,role=db"]);
    peer.end(libc::SIGKILL);
    check("member-failed", "n2\t", &["n2,127.0.0.1,role=db"]);
    assert!(agent.call("force-leave", &["n2"]).0);
    check("member-leave", "n2\t", &["n2,127.0.0.1,role=db"]);
    assert!(agent.call("force-leave", &["-prune", "n2"]).0);
    check("member-reap", "n2\t", &["n2,127.0.0.1,role=db"]);

    assert!(
        agent
            .call("event", &["-coalesce=false", "deploy it", "v=1\nv=2"])
            .0
    );
    check("user", "v=2", &["deploy it", "v=1\nv=2"]);
    assert!(agent.call("event", &["-coalesce=false", "empty"]).0);
    check("user", "=empty", &["-ltime=2", "-coalesce=false", "empty"]);
    assert!(agent.call("query", &["-timeout=1s", "load", "x\n"]).0);
    check("query", "=load", &["load", "x\n"]);
}
