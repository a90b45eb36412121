//! Queries through mixed clusters: acks, answers, filters, relays.

use crate::events::recorded;
use crate::harness::{Node, scenario};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, PartialEq)]
struct Answers {
    acks: BTreeSet<String>,
    responses: BTreeMap<String, String>,
}

fn query(node: &Node, args: &[&str]) -> Answers {
    let mut line = vec!["query", "-format=json", "-timeout=2s"];
    line.extend(args);
    let finished = node.cli(&line).success();
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let acks: Vec<String> = json["Acks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    let answers = Answers {
        acks: acks.iter().cloned().collect(),
        responses: json["Responses"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, text)| (name.clone(), text.as_str().expect("text").to_owned()))
            .collect(),
    };
    assert_eq!(
        answers.acks.len(),
        acks.len(),
        "an ack came twice: {acks:?}"
    );
    answers
}

fn all_of(names: &[&str], query: &str) -> Answers {
    Answers {
        acks: names.iter().map(|name| (*name).to_owned()).collect(),
        responses: names
            .iter()
            .map(|name| ((*name).to_owned(), format!("{name} heard {query}")))
            .collect(),
    }
}

#[test]
fn queries_are_acked_answered_and_filtered_across_kinds() {
    scenario("queries", &["CSCS", "SCSC"], |lab| {
        let (nodes, _recorders) = recorded(lab);
        let everyone = ["n1", "n2", "n3", "n4"];
        // From each kind once; the roles alternate with the kinds.
        for node in &nodes[..2] {
            assert_eq!(
                query(node, &["load", "pay\nload"]),
                all_of(&everyone, "load")
            );
            let some = query(node, &["-node=n2", "-node=n3", "some"]);
            assert_eq!(some, all_of(&["n2", "n3"], "some"));
            assert_eq!(
                query(node, &["-tag=role=we?b", "web"]),
                all_of(&["n1", "n3"], "web")
            );
            let both = query(node, &["-node=n1", "-node=n2", "-tag=role=^db$", "both"]);
            assert_eq!(both, all_of(&["n2"], "both"));
            assert_eq!(
                query(node, &["-tag=role=nothing", "none"]),
                all_of(&[], "none")
            );
            assert_eq!(query(node, &["-tag=role=(", "bad"]), all_of(&[], "bad"));
            let quiet = query(node, &["-no-ack", "quiet"]);
            assert!(quiet.acks.is_empty());
            assert_eq!(quiet.responses, all_of(&everyone, "quiet").responses);
        }
    });
}

#[test]
fn relayed_answers_arrive_once() {
    scenario("relays", &["CSCS", "SCSC"], |lab| {
        let (nodes, _recorders) = recorded(lab);
        let everyone = ["n1", "n2", "n3", "n4"];
        for node in &nodes[..2] {
            for factor in ["-relay-factor=1", "-relay-factor=2"] {
                assert_eq!(
                    query(node, &[factor, "relayed"]),
                    all_of(&everyone, "relayed")
                );
            }
            // The text form counts what came, so that a duplicate would show in the totals.
            let text = node
                .cli(&["query", "-timeout=2s", "-relay-factor=2", "count"])
                .success();
            assert!(
                text.stdout.contains("Total Acks: 4\nTotal Responses: 4\n"),
                "{text:?}"
            );
        }
    });
}

#[test]
fn reachability_and_reserved_names() {
    scenario("internal queries", &["CSC", "SCS"], |lab| {
        let (nodes, recorders) = recorded(lab);
        for node in &nodes[..2] {
            let reached = node.cli(&["reachability"]);
            assert_eq!(reached.code, 0, "{reached:?}");
            assert!(
                reached
                    .stdout
                    .contains("Successfully contacted all live nodes"),
                "{reached:?}"
            );
            let refused = node.cli(&["query", "_serf_mine"]);
            assert_eq!(refused.code, 1);
            assert_eq!(
                refused.stdout,
                "Error sending query: Queries cannot contain the '_serf_' prefix\n"
            );
            let refused = node.cli(&["query", "x", &"y".repeat(1024)]);
            assert_eq!(
                refused.stdout,
                "Error sending query: query exceeds limit of 1024 bytes\n"
            );
        }
        for recorder in &recorders {
            let internal: Vec<_> = recorder.of("query");
            assert!(
                internal.is_empty(),
                "handlers saw internal queries: {internal:?}"
            );
        }
    });
}

#[test]
fn the_default_timeout_and_the_first_answer_hold_for_both() {
    scenario("answers", &["CS", "SC"], |lab| {
        let nodes = lab.start_all(|index, spec| {
            spec.handler("query:two=echo first")
                .handler("query:two=echo second")
                .handler("query:fails=echo no; exit 3")
                .handler("query:silent=:")
                .handler("query:mixed=echo out; echo err >&2; printf end")
                .handler(&format!(
                    "query:big=printf '%{}s' x",
                    if index == 0 { 900 } else { 1024 }
                ))
        });
        for node in &nodes {
            let two = query(node, &["two"]);
            assert_eq!(two.acks.len(), 2, "{two:?}");
            assert!(
                two.responses.values().all(|answer| answer == "first\n"),
                "{two:?}"
            );
            assert_eq!(two.responses.len(), 2, "{two:?}");
            assert!(query(node, &["fails"]).responses.is_empty());
            assert!(query(node, &["silent"]).responses.is_empty());
            let mixed = query(node, &["mixed"]);
            assert!(
                mixed
                    .responses
                    .values()
                    .all(|answer| answer == "out\nerr\nend"),
                "{mixed:?}"
            );
            assert_eq!(mixed.responses.len(), 2, "{mixed:?}");
            let big = query(node, &["big"]);
            assert_eq!(big.responses.len(), 1, "{big:?}");
            assert_eq!(big.responses["n1"].len(), 900);
        }
        nodes[1].await_log("response exceeds limit of 1024 bytes", 5.0);
    });
}
