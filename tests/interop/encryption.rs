//! Encrypted clusters of both kinds, and keys that do not match.

use crate::live::{Agent, Member, await_members, eventually, scenario};

const KEY_16: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const KEY_24: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const KEY_32: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const WRONG: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";

fn converse(nodes: &[Agent]) {
    let viewers: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&viewers, &members, 5.0);
    for (index, sender) in nodes.iter().enumerate() {
        let name = format!("secret-{index}");
        sender.event(&name, "over the wire");
        for node in nodes {
            node.await_log(&format!("Received event: user-event: {name}"), 5.0);
        }
        let total = format!("Total Acks: {}", nodes.len());
        eventually(10.0, "an ack from everybody", || {
            let answer = sender.cli(&["query", "-timeout=1s", &format!("ask-{index}")]);
            let all = answer.stdout.contains(&total);
            all.then_some(()).ok_or_else(|| format!("{answer:?}"))
        });
    }
}

#[test]
fn keys_of_every_length_work() {
    scenario("keys", &["CS", "SC"], |lab| {
        for (key, compression) in [
            (KEY_16, true),
            (KEY_24, true),
            (KEY_32, true),
            (KEY_32, false),
        ] {
            let nodes = lab.start_all(|_, spec| {
                let flags: &[&str] = if compression {
                    &[]
                } else {
                    &["-disable-compression"]
                };
                spec.key(key).args(flags.iter().copied())
            });
            converse(&nodes);
        }
    });
}

#[test]
fn a_wrong_key_and_no_key_are_refused_and_logged() {
    scenario("wrong key", &["CS", "SC"], |lab| {
        let node = lab.start(lab.spec(0).key(KEY_16));
        let stranger = lab.start(lab.spec(1).key(WRONG));
        let plain = lab.start(lab.spec(1).name("plain"));
        for intruder in [&stranger, &plain] {
            let joined = intruder.cli(&["join", &node.gossip.to_string()]);
            assert_eq!(joined.code, 1, "{joined:?}");
            assert!(
                joined.stdout.contains("Error joining the cluster"),
                "{joined:?}"
            );
            let joined = node.cli(&["join", &intruder.gossip.to_string()]);
            assert_eq!(joined.code, 1, "{joined:?}");
        }
        for (what, words) in [
            (
                "a payload under another key",
                ["no installed keys could decrypt", "decrypt"],
            ),
            (
                "a payload without encryption",
                ["not encrypted", "is not encrypted"],
            ),
        ] {
            eventually(
                5.0,
                &format!("{what} in the log of {}", node.spec.name),
                || {
                    let log = node.log().to_lowercase();
                    if words.iter().any(|word| log.contains(word)) {
                        Ok(())
                    } else {
                        Err(log)
                    }
                },
            );
        }
        for node in [&node, &stranger, &plain] {
            await_members(&[node], &[Member::of(node)], 2.0);
        }
    });
}

#[test]
fn a_labelled_node_and_the_reference_refuse_each_other() {
    scenario("label", &["CS"], |lab| {
        let labelled = lab.start(lab.spec(0).args(["-label=blue"]));
        let reference = lab.start(lab.spec(1));
        let joined = reference.cli(&["join", &labelled.gossip.to_string()]);
        assert_eq!(joined.code, 1, "{joined:?}");
        labelled.await_log("has no label, this cluster's is 'blue'", 5.0);
        let joined = labelled.cli(&["join", &reference.gossip.to_string()]);
        assert_eq!(joined.code, 1, "{joined:?}");
        // Older versions do not know labels.
        reference.wait("a refusal", |text| {
            text.contains("label") || text.contains("invalid msgType (244)")
        });
        for node in [&labelled, &reference] {
            await_members(&[node], &[Member::of(node)], 2.0);
        }
    });
}
