//! Queries through mixed clusters: acks, answers, filters, relays.

use crate::events::recorded;
use crate::live::{Agent, Kind, Member, await_members, scenario};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Timeout of queries, regardless of the responses: a handler on a busy machine needs its time.
const TIMEOUT: &str = "-timeout=8s";

/// Runs all commands on each of the nodes in parallel, since they mostly wait. A node gets its next command
/// once it has started to send the previous query: the reference gives concurrent queries the same Lamport
/// time.
fn all_at_once<T: Sync>(nodes: &[Agent], lines: &[T], ask: impl Fn(&Agent, &T) + Sync) {
    let ask = &ask;
    std::thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || {
                std::thread::scope(|scope| {
                    let before = sent_by(node);
                    for (index, line) in lines.iter().enumerate() {
                        scope.spawn(move || ask(node, line));
                        await_sent(node, before + index + 1);
                    }
                });
            });
        }
    });
}

fn sent_by(node: &Agent) -> usize {
    node.log().matches("Requesting query send: ").count()
}

fn await_sent(node: &Agent, queries: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while sent_by(node) < queries && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Debug, PartialEq)]
struct Answers {
    acks: BTreeSet<String>,
    responses: BTreeMap<String, String>,
}

fn query(node: &Agent, args: &[&str]) -> Answers {
    let mut line = vec!["query", "-format=json", TIMEOUT];
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

/// Runs a query, and repeats it if the reference has spoiled it: two concurrent queries of the reference can
/// get the same Lamport time, and then it drops the responses to the first.
fn query_fairly(node: &Agent, args: &[&str], as_expected: impl Fn(&Answers) -> bool) -> Answers {
    let answers = query(node, args);
    let spoiled = || node.log().contains("query reply ID mismatch");
    if !as_expected(&answers) && node.spec.kind == Kind::Serf && spoiled() {
        return query(node, args);
    }
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
        let quiet = Answers {
            acks: BTreeSet::new(),
            ..all_of(&everyone, "quiet")
        };
        let lines: &[(&[&str], Answers)] = &[
            (&["load", "pay\nload"], all_of(&everyone, "load")),
            (
                &["-node=n2", "-node=n3", "some"],
                all_of(&["n2", "n3"], "some"),
            ),
            (&["-tag=role=we?b", "web"], all_of(&["n1", "n3"], "web")),
            (
                &["-node=n1", "-node=n2", "-tag=role=^db$", "both"],
                all_of(&["n2"], "both"),
            ),
            (&["-tag=role=nothing", "none"], all_of(&[], "none")),
            (&["-no-ack", "quiet"], quiet),
        ];
        // From one node of each kind; the roles alternate with the kinds.
        all_at_once(&nodes[..2], lines, |node, (args, expected)| {
            let answers = query_fairly(node, args, |answers| answers == expected);
            assert_eq!(answers, *expected, "{args:?}");
        });
        // An invalid expression matches no node. Cottar does not even send the query.
        let bad = ["query", "-format=json", "-timeout=1s", "-tag=role=(", "bad"];
        for node in &nodes[..2] {
            match node.spec.kind {
                Kind::Serf => assert!(!node.cli(&bad).success().stdout.contains("n1")),
                Kind::Cottar => assert_eq!(node.cli(&bad).code, 1),
            }
        }
    });
}

#[test]
fn relayed_answers_arrive_once() {
    scenario("relays", &["CSCS", "SCSC"], |lab| {
        let (nodes, _recorders) = recorded(lab);
        let everyone = ["n1", "n2", "n3", "n4"];
        let factors = ["-relay-factor=1", "-relay-factor=2"];
        all_at_once(&nodes[..2], &factors, |node, factor| {
            let expected = all_of(&everyone, "relayed");
            let answers = query_fairly(node, &[factor, "relayed"], |answers| *answers == expected);
            assert_eq!(answers, expected);
            // The text output counts all responses, so that a duplicate would show in the totals.
            let text = node.cli(&["query", TIMEOUT, factor, "count"]).success();
            assert!(
                text.stdout.contains("Total Acks: 4\nTotal Responses: 4\n"),
                "{text:?}"
            );
        });
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
fn reachability_names_nodes_that_do_not_answer() {
    scenario("unreachable", &["CS", "SC", "CC"], |lab| {
        let nodes = lab.start_all(|_, spec| spec);
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        await_members(&[&nodes[0]], &members, 10.0);
        // The stopped node is listed as alive for at least the four seconds of its suspicion.
        nodes[1].signal(libc::SIGSTOP);
        let reached = nodes[0].cli(&["reachability"]);
        nodes[1].signal(libc::SIGCONT);
        assert_eq!(reached.code, 1, "{reached:?}");
        for line in [
            "Total members: 2, live members: 2\nStarting reachability test...\n",
            "Received less acks than live nodes! Missing acks from:\n\tn2\n",
        ] {
            assert!(reached.stdout.contains(line), "{reached:?}");
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
        let same = |answer: &str| Some(vec![answer.to_owned(); 2]);
        let lines = [
            ("two", same("first\n")),
            ("fails", Some(Vec::new())),
            ("silent", Some(Vec::new())),
            ("mixed", same("out\nerr\nend")),
            // One answer is as long as allowed, the other one is too long.
            ("big", None),
        ];
        all_at_once(&nodes, &lines, |node, (name, expected)| {
            let answered = expected.as_ref().map_or(1, Vec::len);
            let answers = query_fairly(node, &[name], |answers| {
                answers.acks.len() == 2 && answers.responses.len() == answered
            });
            assert_eq!(answers.acks.len(), 2, "{name}: {answers:?}");
            let responses: Vec<String> = answers.responses.values().cloned().collect();
            match expected {
                Some(expected) => assert_eq!(responses, *expected, "{name}"),
                None => {
                    assert_eq!(responses.len(), 1, "{answers:?}");
                    assert_eq!(answers.responses["n1"].len(), 900);
                }
            }
        });
        nodes[1].await_log("response exceeds limit of 1024 bytes", 5.0);
    });
}

#[test]
fn an_expression_that_ours_cannot_use_is_a_warning() {
    scenario("Unicode class", &["SC"], |lab| {
        let asker = lab.start(lab.spec(0));
        let ours = lab.start(lab.spec(1).tag("t", "web").join(&asker));
        await_members(&[&asker], &[&asker, &ours].map(Member::of), 10.0);
        asker
            .cli(&["query", "-timeout=1s", r"-tag=t=\pL+", "who"])
            .success();
        let words = r"Not answering a query from n1: invalid expression '\pL+': ";
        ours.await_log(&format!("[WARN] serf: {words}"), 10.0);
        let quoted = query(&asker, &[r"-tag=t=^\Qweb\E$", "who"]);
        assert!(quoted.acks.contains("n2"), "{quoted:?}");
    });
}
