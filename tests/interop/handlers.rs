//! Environment and input of handlers: the same from both kinds of agent, for the same events.

use crate::live::{Agent, Lab, Member, Spec, await_members, await_status, scenario};
use crate::live::{Record, Recorder};
use std::collections::BTreeSet;

/// A run: its event, its variables, its input or one line of it.
type Run = (String, Vec<(String, String)>, String);

/// Removes legitimate differences between two observers from their runs: their names, the address that only
/// cottar provides, and the distribution of member lines over runs, since neither batches nor the order of
/// lines is fixed.
fn normal(records: &[Record]) -> BTreeSet<Run> {
    let mut runs = BTreeSet::new();
    for record in records {
        let env: Vec<(String, String)> = record
            .env
            .iter()
            .filter(|(name, _)| {
                !["SERF_SELF_NAME", "SERF_EVENT", "SERF_RPC_ADDR"].contains(&name.as_str())
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let event = record.event().to_owned();
        let text = String::from_utf8_lossy(&record.stdin).into_owned();
        if event.starts_with("member-") {
            assert!(
                text.ends_with('\n'),
                "a member line without its end: {record:?}"
            );
            for line in text.lines() {
                let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
                assert_eq!(fields.len(), 4, "{record:?}");
                let mut tags: Vec<&str> = fields[3].split(',').collect();
                tags.sort_unstable();
                fields[3] = tags.join(",");
                runs.insert((event.clone(), env.clone(), fields.join("\t")));
            }
        } else {
            runs.insert((event, env, text));
        }
    }
    runs
}

/// The node that the events are about.
fn subject(lab: &Lab) -> Spec {
    lab.spec(2)
        .name("sub ject")
        .tag("role", "r\to")
        .tag("k", "a\tb\nc,d=e")
        .tag("backslash", "\\t")
}

/// Each node sends three user events and a query.
fn fire_and_ask(senders: &[&Agent]) {
    for (index, sender) in senders.iter().enumerate() {
        sender.event(&format!("plain-{index}"), "one\ntwo");
        sender.event(&format!("empty {index}"), "");
        sender.event(&format!("ends-{index}"), "line\n");
        sender
            .cli(&["query", "-timeout=1s", &format!("q:{index}"), "what\tnow"])
            .success();
    }
}

/// Compares the runs for events about the subject, and counts those for user events and queries.
fn same_runs(theirs: &[Record], ours: &[Record]) {
    // The first observer started alone: it saw its own join before the second one existed.
    let only_about = |records: &[Record], about: &str| {
        normal(records)
            .into_iter()
            .filter(|(event, _, line)| !event.starts_with("member-") || line.starts_with(about))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(only_about(theirs, "sub ject"), only_about(ours, "sub ject"));
    // Each user event and each query in one run.
    for records in [theirs, ours] {
        let count = |event| {
            records
                .iter()
                .filter(|record| record.event() == event)
                .count()
        };
        assert_eq!((count("user"), count("query")), (9, 3));
    }
}

#[test]
fn both_kinds_give_handlers_the_same() {
    scenario("handler contract", &["SCS", "SCC"], |lab| {
        let recorders = [0, 1].map(|index| Recorder::new(lab.path(), &format!("n{}", index + 1)));
        let observer = |index: usize| {
            lab.spec(index)
                .tag("role", "observer")
                .tag("Data-Center.x", "eu\t1")
                .tag("9z", "nine")
                .tag("umlaut-\u{fc}", "\u{fc}")
                .recorded(&recorders[index])
                .env("SERF_INHERITED", "kept")
        };
        let mut observers = vec![lab.start(observer(0))];
        observers.push(lab.start(observer(1).join(&observers[0])));
        let node = lab.start(subject(lab).join(&observers[0]));
        let mut everyone: Vec<Member> = observers.iter().map(Member::of).collect();
        everyone.push(Member::of(&node));
        let viewers: Vec<&Agent> = observers.iter().collect();
        await_members(&viewers, &everyone, 5.0);
        let settled = |kind: &str, count: usize| {
            for recorder in &recorders {
                recorder.await_records(count, 12.0, |record| {
                    record.event() == kind
                        && String::from_utf8_lossy(&record.stdin).contains("sub ject\t")
                });
            }
        };
        settled("member-join", 1);
        fire_and_ask(&[&node, &observers[0], &observers[1]]);
        let counted = |kind: &str, count: usize| {
            for recorder in &recorders {
                recorder.await_records(count, 5.0, |record| record.event() == kind);
            }
        };
        counted("user", 9);
        counted("query", 3);
        node.cli(&["tags", "-set", "k=new", "-delete", "backslash"])
            .success();
        settled("member-update", 1);
        let node = node;
        node.crash();
        await_status(&viewers, "sub ject", "failed", 12.0);
        settled("member-failed", 1);
        viewers[0].cli(&["force-leave", "sub ject"]).success();
        settled("member-leave", 1);
        viewers[1]
            .cli(&["force-leave", "-prune", "sub ject"])
            .success();
        settled("member-reap", 1);

        let [theirs, ours] = recorders.each_ref().map(Recorder::records);
        for record in &ours {
            assert_eq!(record.var("SERF_INHERITED"), "kept", "{record:?}");
            let rpc = observers[1].rpc.to_string();
            assert_eq!(record.var("SERF_RPC_ADDR"), rpc, "{record:?}");
        }
        same_runs(&theirs, &ours);
    });
}
