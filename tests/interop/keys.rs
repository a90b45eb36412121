//! Gossip keys in mixed clusters, managed with either command line through either kind of agent.

use crate::live::{Agent, Kind, Lab, Member, await_members, eventually, scenario};
use base64::Engine as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

const FIRST: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const SECOND: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const THIRD: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

const BOTH: [Kind; 2] = [Kind::Serf, Kind::Cottar];

fn await_all(nodes: &[Agent]) {
    let viewers: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&viewers, &members, 10.0);
}

/// Returns the keys as `keys -list` prints them, each with its number of nodes.
fn listed(node: &Agent, kind: Kind) -> BTreeSet<(String, String)> {
    let output = node.ask(kind, &["keys", "-list"]).success();
    let head = "==> Asking all members for installed keys...\n\
                ==> Keys gathered, listing cluster keys...\n\n";
    let table = output
        .stdout
        .strip_prefix(head)
        .expect("the two lines first");
    let rows = table.lines().filter(|row| !row.trim().is_empty());
    rows.map(|row| {
        let (key, count) = row.trim().split_once(' ').expect("a key and a count");
        (key.to_owned(), count.trim().to_owned())
    })
    .collect()
}

fn on_all(keys: &[&str], nodes: usize) -> BTreeSet<(String, String)> {
    let count = format!("[{nodes}/{nodes}]");
    keys.iter()
        .map(|key| ((*key).to_owned(), count.clone()))
        .collect()
}

#[test]
fn keys_are_rotated_from_either_side_by_either_command_line() {
    scenario("key rotation", &["CSC", "SCS"], |lab| {
        let nodes = lab.start_all(|_, spec| spec.key(FIRST));
        await_all(&nodes);
        let (mut old, mut new) = (FIRST, SECOND);
        // Each combination of agent and command line rotates the keys once.
        for (asker, kind) in [
            (&nodes[0], Kind::Serf),
            (&nodes[1], Kind::Serf),
            (&nodes[0], Kind::Cottar),
            (&nodes[1], Kind::Cottar),
        ] {
            assert_eq!(listed(asker, kind), on_all(&[old], 3), "before {kind:?}");
            for (flag, key, doing, done) in [
                ("-install", new, "Installing key", "installed key"),
                ("-use", new, "Changing primary key", "changed primary key"),
                ("-remove", old, "Removing key", "removed key"),
            ] {
                let output = asker.ask(kind, &["keys", flag, key]).success();
                assert_eq!(
                    output.stdout,
                    format!("==> {doing} on all members...\n==> Successfully {done}!\n")
                );
                if flag == "-install" {
                    assert_eq!(listed(asker, kind), on_all(&[old, new], 3));
                }
            }
            assert_eq!(listed(asker, kind), on_all(&[new], 3), "after {kind:?}");
            (old, new) = (new, if new == SECOND { THIRD } else { SECOND });
        }
        // All nodes are still alive, and they understand new messages.
        await_all(&nodes);
        for node in &nodes {
            assert!(!node.log().contains("EventMemberFailed"), "{}", node.log());
        }
        nodes[0].event("still", "here");
        for node in &nodes {
            node.await_log("Received event: user-event: still", 5.0);
        }
    });
}

#[test]
fn refused_key_changes_are_reported_alike() {
    // The output in clusters of each size, which must not depend on the program or the agent.
    let told = Mutex::new(BTreeMap::new());
    scenario("refused keys", &["CS", "SC", "C", "S"], |lab| {
        // A cluster of two has keys, the single node has none.
        let key = (lab.size() > 1).then_some(FIRST);
        let nodes = lab.start_all(|_, spec| match key {
            Some(key) => spec.key(key),
            None => spec,
        });
        await_all(&nodes);
        let asker = &nodes[0];
        for args in [
            &["keys", "-remove", FIRST][..],
            &["keys", "-use", SECOND],
            &["keys", "-install", "AAAA"],
            &["keys", "-install", "no base64"],
            &["keys", "-list"],
            &["keys", "-list", "-use", FIRST],
            &["keys"],
        ] {
            let [theirs, ours] = BOTH.map(|kind| asker.ask(kind, args));
            assert_eq!(ours.code, theirs.code, "{args:?}: {theirs:?}, {ours:?}");
            assert_eq!(ours.code == 0, key.is_some() && args == ["keys", "-list"]);
            let shown = |text: &str| {
                let head = text.split("Usage: ").next().unwrap_or_default();
                let mut rows: Vec<String> = head.lines().map(|row| row.trim_end().into()).collect();
                rows.sort();
                rows
            };
            let ours = shown(&ours.stdout);
            assert_eq!(ours, shown(&theirs.stdout), "{args:?}");
            let mut told = told.lock().expect("never poisoned");
            let first = told
                .entry((lab.size(), args.to_vec()))
                .or_insert_with(|| ours.clone());
            assert_eq!(*first, ours, "{args:?}");
        }
    });
}

/// Returns forty keys of 32 bytes.
fn forty_keys() -> Vec<String> {
    let encode = |key: [u8; 32]| base64::engine::general_purpose::STANDARD.encode(key);
    (1..=40).map(|byte| encode([byte; 32])).collect()
}

fn start_with_keyring(lab: &Lab, keys: &[String]) -> Vec<Agent> {
    let text = serde_json::to_string(keys).expect("JSON");
    lab.start_all(|index, spec| {
        let path = lab.path().join(format!("keyring-{index}"));
        std::fs::write(&path, &text).expect("a keyring file");
        spec.args(["-keyring-file", path.to_str().expect("text")])
    })
}

#[test]
fn long_lists_of_keys_are_cut_to_fit() {
    scenario("forty keys", &["CS", "SC", "CC"], |lab| {
        let keys = forty_keys();
        let nodes = start_with_keyring(lab, &keys);
        await_all(&nodes);
        // As captured from the reference: the first 17 keys fit into an answer.
        let first: Vec<&str> = keys.iter().take(17).map(String::as_str).collect();
        for node in &nodes {
            for kind in BOTH {
                assert_eq!(listed(node, kind), on_all(&first, 2), "{kind:?}");
            }
        }
    });
}

/// Returns settings for a node with a key, for one step of the migration from plaintext to encryption.
fn round(lab: &Lab, round: usize) -> String {
    let text = [
        r#"{"encrypt_verify_incoming": false, "encrypt_verify_outgoing": false}"#,
        r#"{"encrypt_verify_incoming": false}"#,
        "{}",
    ][round];
    let path = lab.path().join(format!("round-{round}.json"));
    std::fs::write(&path, text).expect("a configuration");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_cluster_moves_from_plaintext_to_encryption() {
    scenario("transition", &["S"], |lab| {
        let file = |number| ["-config-file".to_owned(), round(lab, number)];
        let ours = |name: &str| crate::live::Spec::new(Kind::Cottar, name);
        let joined = |nodes: &[&Agent]| {
            let members: Vec<Member> = nodes.iter().map(|node| Member::of(node)).collect();
            await_members(nodes, &members, 10.0);
        };
        // First step: the node has a key, in a cluster without encryption.
        let plain = lab.start(lab.spec(0).name("plain"));
        let one = lab.start(ours("one").key(FIRST).args(file(0)).join(&plain));
        joined(&[&plain, &one]);
        plain.event("plain", "text");
        one.await_log("Received event: user-event: plain", 5.0);
        drop(plain);
        // Second step: the node encrypts. The reference's nodes with a key understand it, and it exchanges
        // messages with nodes of the first step.
        let two = lab.start(ours("two").key(FIRST).args(file(1)));
        let sealed = lab.start(lab.spec(0).name("sealed").key(FIRST).join(&two));
        joined(&[&two, &sealed]);
        let first = lab.start(ours("first").key(FIRST).args(file(0)));
        let second = lab.start(ours("second").key(FIRST).args(file(1)).join(&first));
        joined(&[&first, &second]);
        first.event("from-first", "");
        second.event("from-second", "");
        for node in [&first, &second] {
            node.await_log("Received event: user-event: from-first", 5.0);
            node.await_log("Received event: user-event: from-second", 5.0);
        }
        // Last step: the node refuses plaintext, but accepts messages of nodes of the second step.
        let third = lab.start(ours("third").key(FIRST).args(file(2)).join(&two));
        joined(&[&two, &sealed, &third]);
        let refused = first.cli(&["join", &third.gossip.to_string()]);
        assert_eq!(refused.code, 1, "{refused:?}");
        eventually(5.0, "the refusal in the log", || {
            let log = third.log();
            let said = log.contains("is not encrypted");
            said.then_some(()).ok_or(log)
        });
    });
}
