//! Replays exchanges that were captured between real clients and real agents: the replies must be equivalent.

use log::Level;
use std::collections::BTreeMap;

use cottar::agent::observe::ring::Line;
use cottar::time::Duration;

use crate::harness::Agent;
use crate::rpc_vectors;
use crate::value::{Value, decode_all};

/// Exchanges that differ on purpose (agent spec 5, items 13 and 15).
const BETTER: [&str; 2] = ["members-filtered-bad-regex", "auth-missing-with-body"];

/// Fields whose values differ each time.
const VOLATILE: [&str; 1] = ["LTime"];

struct Exchange {
    name: String,
    open_after: bool,
    /// The frames of an exchange: whether the client sent it, and its bytes.
    frames: Vec<(bool, Vec<u8>)>,
}

fn exchanges(driver: &str) -> Vec<Exchange> {
    rpc_vectors::recorded(driver, 37)
        .iter()
        .map(|exchange| Exchange {
            name: exchange["name"].as_str().unwrap().to_owned(),
            open_after: exchange["connection_after"] == "open",
            frames: rpc_vectors::frames(exchange),
        })
        .collect()
}

/// Groups messages by sequence number: streams and replies may interleave, but each keeps its order.
fn by_number(values: Vec<Value>) -> BTreeMap<i128, Vec<Value>> {
    let mut messages: BTreeMap<i128, Vec<Value>> = BTreeMap::new();
    let mut last = 0;
    for mut value in values {
        if let Some((seq, _)) = value.header() {
            last = seq;
        }
        normalise(&mut value);
        messages.entry(last).or_default().push(value);
    }
    messages
}

fn normalise(value: &mut Value) {
    let Value::Map(map) = value else { return };
    // Log lines are compared by form only: date, level and component.
    if let Some(Value::Text(line)) = map.get_mut(&Value::text("Log")) {
        let shape = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[A-Z]+\] [a-z.]+: .";
        let text = String::from_utf8(std::mem::take(line)).unwrap();
        assert!(
            regex_lite::Regex::new(shape).unwrap().is_match(&text),
            "{text}"
        );
    }
    for key in VOLATILE {
        map.remove(&Value::text(key));
    }
    // Version 0.9.4 and the newer version have different texts for this.
    if let Some(Value::Text(error)) = map.get_mut(&Value::text("Error")) {
        let text = String::from_utf8_lossy(error).into_owned();
        let text = text.replace("failed to join 127.0.0.1:28999", "Failed to join 127.0.0.1");
        let text = text.replace("Failed to join 127.0.0.1:28999", "Failed to join 127.0.0.1");
        *error = text.into_bytes();
    }
    // The newer version sends an empty answer as empty bytes, the older one as nil.
    if map.get(&Value::text("Type")) == Some(&Value::text("response"))
        && map.get(&Value::text("Payload")) == Some(&Value::Bytes(vec![]))
    {
        map.insert(Value::text("Payload"), Value::Nil);
    }
    for group in ["runtime", "serf"] {
        let Some(Value::Map(figures)) = map.get_mut(&Value::text(group)) else {
            continue;
        };
        for (key, figure) in figures {
            let fixed = [
                b"members".as_slice(),
                b"failed",
                b"left",
                b"encrypted",
                b"os",
            ];
            assert!(matches!(figure, Value::Text(_)), "{key:?}: {figure:?}");
            if !matches!(key, Value::Text(key) if fixed.contains(&&**key)) {
                *figure = Value::Nil;
            }
        }
    }
}

/// Replays on one agent the exchanges captured from one agent, each on a connection of its own.
fn replay(driver: &str) {
    let mut agent = Agent::new(None);
    for exchange in exchanges(driver) {
        let name = &*exchange.name;
        if name == "auth-ok" {
            agent = Agent::with_keyring(Some("s3"), Some(b"0123456789abcdef"));
        }
        if name == "monitor" {
            // Log lines of the agent around the core, which does not exist in this test.
            let lines = [
                ("agent", "Serf agent starting"),
                ("serf", "x"),
                ("agent", "y"),
            ];
            for (target, message) in lines {
                let message = format_args!("{message}");
                agent.logger.note(Line::now(Level::Info, target, message));
            }
        }
        if BETTER.contains(&name) {
            continue;
        }
        let session = agent.connect();
        let mut frames = exchange.frames.into_iter().peekable();
        while let Some((client, request)) = frames.next() {
            assert!(client, "{name}: the agent speaks first");
            agent.send(session, &request);
            let mut expected = Vec::new();
            while let Some((_, reply)) = frames.next_if(|(client, _)| !client) {
                expected.extend(decode_all(&reply));
            }
            let mut got = agent.take(session);
            let until = agent.now + Duration::from_secs(20);
            while got.len() < expected.len() && agent.step(until) {
                got.extend(agent.take(session));
            }
            assert_eq!(by_number(got), by_number(expected), "{driver}: {name}");
        }
        agent.run();
        assert!(agent.take(session).is_empty(), "{name}: more than captured");
        let open = !agent.peers[&session].closed;
        assert_eq!(open, exchange.open_after, "{driver}: {name}");
        assert_eq!(agent.shutdown, name == "leave", "{name}");
        if !agent.peers[&session].closed {
            agent.disconnect(session);
        }
        if agent.shutdown {
            agent = Agent::new(None);
        }
    }
}

fn is_error(value: &Value, error: &str) -> bool {
    value.header().is_some_and(|(_, text)| text == error)
}

#[test]
fn exchanges_of_the_deployed_version() {
    replay("driver_0_9_4");
}

#[test]
fn exchanges_of_the_newer_version() {
    replay("driver_0_10_2_dev");
}

#[test]
fn faults_of_the_captured_agents_are_not_repeated() {
    for driver in ["driver_0_9_4", "driver_0_10_2_dev"] {
        for exchange in exchanges(driver) {
            let secret = exchange.name.starts_with("auth").then_some("s3");
            let mut agent = Agent::new(secret);
            let session = agent.connect();
            for (client, request) in &exchange.frames {
                if *client {
                    agent.send(session, request);
                }
            }
            let got = agent.take(session);
            match &*exchange.name {
                "members-filtered-bad-regex" => {
                    let (_, error) = got[1].header().unwrap();
                    assert!(error.starts_with("Failed to compile regex: "), "{error}");
                    assert_eq!(got[2].get("Members"), Some(&Value::List(vec![])));
                    assert_eq!(got.len(), 3);
                }
                "auth-missing-with-body" => {
                    assert_eq!(got.len(), 2, "one answer to the one command");
                    assert!(is_error(&got[1], "Authentication required"));
                }
                _ => continue,
            }
            assert!(!agent.peers[&session].closed);
        }
    }
}

/// Where the order of bytes is fixed, this program sends the same bytes as the deployed version.
#[test]
fn bytes_are_the_same_where_their_order_is_fixed() {
    let same = [
        "handshake",
        "handshake-missing",
        "members",
        "members-filtered-none",
        "event",
        "stream-bad-filter",
        "query-timeout-as-int32",
        "list-keys-unencrypted",
        "install-key-bad-base64",
        "get-coordinate",
        "get-coordinate-unknown",
        "monitor-bad-level",
    ];
    for exchange in exchanges("driver_0_9_4") {
        if !same.contains(&&*exchange.name) {
            continue;
        }
        let mut agent = Agent::new(None);
        let session = agent.connect();
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for (client, bytes) in &exchange.frames {
            if *client {
                agent.send(session, bytes);
            } else {
                expected.extend_from_slice(bytes);
            }
        }
        let until = agent.now + Duration::from_secs(20);
        got.extend(agent.take_bytes(session));
        while got.len() < expected.len() && agent.step(until) {
            got.extend(agent.take_bytes(session));
        }
        assert_eq!(got, expected, "{}", exchange.name);
    }
}
