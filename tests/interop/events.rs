//! User events through mixed clusters.

use cottar::cli::client::Client;
use cottar::rpc::Request;

use crate::live::{Agent, Lab, Member, Recorder, await_members, eventually, scenario};

/// A cluster in which every node records its events and has joined the first.
pub fn recorded(lab: &Lab) -> (Vec<Agent>, Vec<Recorder>) {
    let recorders: Vec<Recorder> = (0..lab.size())
        .map(|index| Recorder::new(lab.path(), &format!("n{}", index + 1)))
        .collect();
    let nodes = lab.start_all(|index, spec| {
        spec.tag("role", if index % 2 == 0 { "web" } else { "db" })
            .tag("place", &index.to_string())
            .recorded(&recorders[index])
    });
    let viewers: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&viewers, &members, 5.0);
    (nodes, recorders)
}

#[test]
fn user_events_reach_everyone_once_from_either_kind() {
    scenario("user events", &["CSC", "SCS"], |lab| {
        let (nodes, recorders) = recorded(lab);
        let payloads = [
            "",
            "plain",
            "with\nlines\n",
            "no newline at the end",
            "\u{e9}\u{1f980} tab\there",
        ];
        for (index, node) in nodes.iter().enumerate() {
            for (round, payload) in payloads.iter().enumerate() {
                node.event(&format!("deploy-{index}-{round}"), payload);
            }
        }
        // A last event from every node gives duplicates time to show up.
        for (index, node) in nodes.iter().enumerate() {
            node.event(&format!("last-{index}"), "");
        }
        let expected = nodes.len() * (payloads.len() + 1);
        for recorder in &recorders {
            recorder.await_records(expected, 15.0, |record| record.event() == "user");
            let mut seen: Vec<(String, Vec<u8>)> = recorder
                .of("user")
                .into_iter()
                .map(|record| (record.var("SERF_USER_EVENT").to_owned(), record.stdin))
                .collect();
            seen.sort();
            let mut due: Vec<(String, Vec<u8>)> = Vec::new();
            for index in 0..nodes.len() {
                due.push((format!("last-{index}"), Vec::new()));
                for (round, payload) in payloads.iter().enumerate() {
                    let mut input = payload.as_bytes().to_vec();
                    if !input.is_empty() && !input.ends_with(b"\n") {
                        input.push(b'\n');
                    }
                    due.push((format!("deploy-{index}-{round}"), input));
                }
            }
            due.sort();
            assert_eq!(seen, due);
        }
    });
}

#[test]
fn coalesced_events_of_one_name_leave_only_the_last() {
    scenario("coalescing", &["CS", "SC"], |lab| {
        let (nodes, recorders) = recorded(lab);
        for (index, node) in nodes.iter().enumerate() {
            let name = format!("restart-{index}");
            // Over one connection, so that the pauses are shorter than the one that ends a coalescing batch.
            let mut client = Client::connect(&node.rpc.to_string(), "").expect("a connection");
            for round in 0..4 {
                let event = Request::Event {
                    name: name.clone().into_bytes(),
                    payload: Some(format!("round {round}").into_bytes()),
                    coalesce: true,
                };
                client.execute(&event).expect("an event");
            }
            for recorder in &recorders {
                let runs =
                    recorder.await_records(1, 8.0, |record| record.var("SERF_USER_EVENT") == name);
                assert_eq!(runs[0].stdin, b"round 3\n", "{runs:?}");
                assert_eq!(runs.len(), 1, "{runs:?}");
            }
        }
    });
}

#[test]
fn an_event_over_the_limit_is_refused_in_the_same_words() {
    scenario("event limits", &["C", "S"], |lab| {
        let node = lab.start(lab.spec(0));
        let refused = node.cli(&["event", "x", &"y".repeat(512)]);
        assert_eq!(refused.code, 1);
        assert_eq!(
            refused.stdout,
            "Error sending event: user event exceeds configured limit of 512 bytes before encoding\n"
        );
        let refused = node.cli(&["event", "x", &"y".repeat(500)]);
        assert_eq!(refused.code, 1);
        assert_eq!(
            refused.stdout,
            "Error sending event: encoded user event exceeds configured limit of 512 bytes after encoding\n"
        );
        node.cli(&["event", "x", &"y".repeat(480)]).success();
    });
}

#[test]
fn old_events_are_replayed_only_on_request() {
    scenario("replay", &["CSSS", "SCCC"], |lab| {
        let first = lab.start(lab.spec(0));
        let companion = lab.start(lab.spec(1).join(&first));
        first.event("before", "you came");
        // While the event is still being gossiped, it may reach the joining node before the state exchange
        // does, and then it is not old.
        for node in [&first, &companion] {
            node.await_log("Received event: user-event: before", 5.0);
            eventually(10.0, "the end of the event's gossip", || {
                let info = node.cli(&["info", "-format=json"]).success().stdout;
                let json: serde_json::Value = serde_json::from_str(&info).expect("JSON");
                if json["serf"]["event_queue"] == "0" {
                    Ok(())
                } else {
                    Err(info)
                }
            });
        }
        let [keen, calm] = [2, 3].map(|index| Recorder::new(lab.path(), &index.to_string()));
        let keen_node = lab.start(lab.spec(2).recorded(&keen).args(["-replay"]).join(&first));
        let calm_node = lab.start(lab.spec(3).recorded(&calm).join(&first));
        first.event("after", "you came");
        for recorder in [&keen, &calm] {
            recorder.await_records(1, 5.0, |record| record.var("SERF_USER_EVENT") == "after");
        }
        let names = |recorder: &Recorder| -> Vec<String> {
            let mut names: Vec<String> = recorder
                .of("user")
                .iter()
                .map(|record| record.var("SERF_USER_EVENT").to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&keen), ["after", "before"], "{}", keen_node.log());
        assert_eq!(names(&calm), ["after"], "{}", calm_node.log());
    });
}

/// Cottar's acks carry additional data for a minute after an event, and its pings for some seconds. The
/// reference must neither drop these messages nor log anything about the data.
#[test]
fn the_reference_accepts_additions_without_log_lines() {
    scenario("digests", &["SC", "CS", "SCS"], |lab| {
        let nodes = lab.start_all(|_, spec| spec.log_level("debug"));
        let viewers: Vec<&Agent> = nodes.iter().collect();
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        await_members(&viewers, &members, 5.0);
        for (index, node) in nodes.iter().enumerate() {
            node.event(&format!("deploy-{index}"), "payload");
        }
        // The reference's probes, one per second, are answered with additional data, and cottar understands
        // its answers: both ends know the distance.
        let places =
            |node: &Agent, other: &Agent| node.cli(&["rtt", &node.spec.name, &other.spec.name]);
        for (node, other) in [(0, 1), (1, 0)] {
            let (node, other) = (&nodes[node], &nodes[other]);
            eventually(20.0, "a round trip", || {
                let found = places(node, other);
                match found.code == 0 {
                    true => Ok(()),
                    false => Err(format!("{found:?}")),
                }
            });
        }
        await_members(&viewers, &members, 5.0);
        for node in &nodes {
            let log = node.log();
            for word in ["[WARN]", "[ERR]", "unsupported", "Rejected", "Suspect"] {
                let lines = log.lines().filter(|line| line.contains(word));
                let lines: Vec<_> = lines.filter(|line| !line.contains("mDNS")).collect();
                assert!(lines.is_empty(), "{}: {lines:?}", node.spec.name);
            }
        }
    });
}
