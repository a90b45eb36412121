//! Each command line against agents of either kind: both programs print the same.

use crate::live::Finished;
use crate::live::{
    Agent, Kind, Lab, Member, await_members, eventually, free, patience, run, scenario,
};
use serde_json::Value;
use std::process::Command;

/// The part of a command's result that must be the same for both programs.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// Exit code and standard output, except for the order of rows.
    Output,
    /// Exit code and both outputs up to the help, whose wording may differ.
    Complaint,
}

/// Returns both outputs up to the help, and whether there is help.
fn before_help(finished: &Finished) -> String {
    [&finished.stdout, &finished.stderr]
        .map(|text| {
            text.split_once("Usage: ")
                .map_or(text.clone(), |(head, _)| format!("{head}Usage"))
        })
        .join("\nstderr:\n")
}

/// Sorts output that the reference prints in random order: rows, tags within a row, JSON lists.
fn settled(text: &str) -> String {
    if let Ok(mut json) = serde_json::from_str::<Value>(text) {
        sort_lists(&mut json);
        return format!("{json:#}");
    }
    let mut rows: Vec<String> = text
        .split('\n')
        .filter(|row| !row.contains("goroutines = "))
        .map(|row| {
            let cells = row.split("  ").map(|cell| {
                let mut tags: Vec<&str> = cell.split(',').collect();
                tags.sort_unstable();
                tags.join(",")
            });
            // The last row of a table is trimmed, and any row may be the last.
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    rows.sort();
    rows.join("\n")
}

fn sort_lists(json: &mut Value) {
    match json {
        Value::Array(items) => {
            items.iter_mut().for_each(sort_lists);
            items.sort_by_key(Value::to_string);
        }
        Value::Object(fields) => {
            fields.remove("goroutines");
            fields.values_mut().for_each(sort_lists);
        }
        _ => {}
    }
}

/// Runs one command line with both programs against `node` and compares the results.
fn compare(node: &Agent, same: Same, args: &[&str]) {
    let both = || {
        let [theirs, ours] = [Kind::Serf, Kind::Cottar].map(|kind| node.ask(kind, args));
        is_same(same, args, &theirs, &ours)
    };
    // The answers change over time: responses arrive late, queues drain.
    let asks = args
        .first()
        .is_some_and(|name| ["members", "query", "info"].contains(name));
    if asks {
        eventually(5.0, "the same answer", both);
    } else if let Err(why) = both() {
        panic!("{why}");
    }
}

#[track_caller]
fn assert_same(same: Same, args: &[&str], theirs: &Finished, ours: &Finished) {
    if let Err(why) = is_same(same, args, theirs, ours) {
        panic!("{why}");
    }
}

/// Removes the line with time and id that only cottar prints for an event.
fn without_addition(args: &[&str], stdout: &str) -> String {
    let is_event = args.first() == Some(&"event");
    let lines = stdout.split_inclusive('\n');
    lines
        .filter(|line| !(is_event && line.starts_with("Time: ")))
        .collect()
}

fn is_same(same: Same, args: &[&str], theirs: &Finished, ours: &Finished) -> Result<(), String> {
    let (wanted, given) = match same {
        Same::Output => (
            settled(&theirs.stdout),
            settled(&without_addition(args, &ours.stdout)),
        ),
        Same::Complaint => (before_help(theirs), before_help(ours)),
    };
    if (theirs.code, wanted) == (ours.code, given) {
        Ok(())
    } else {
        Err(format!("{args:?}: theirs {theirs:#?}, ours {ours:#?}"))
    }
}

fn pair(lab: &Lab) -> Vec<Agent> {
    let nodes = lab.start_all(|index, spec| {
        let spec = spec.tag("role", if index == 0 { "web" } else { "a-longer-role" });
        let spec = spec
            .handler("query:load=echo 0.5")
            .handler("member-join,user:deploy=cat");
        if index == 0 {
            spec.tag("dc", "east<&>")
        } else {
            spec
        }
    });
    let viewers: Vec<&Agent> = nodes.iter().collect();
    await_members(
        &viewers,
        &nodes.iter().map(Member::of).collect::<Vec<_>>(),
        5.0,
    );
    nodes
}

/// Wrong command lines, and requests for help.
const COMPLAINTS: &[&[&str]] = &[
    &["members", "-bogus"],
    &["members", "-name"],
    &["members", "-detailed=maybe"],
    &["members", "-h"],
    &["event"],
    &["event", "a", "b", "c"],
    &["event", "-coalesce=x", "y"],
    &["query"],
    &["query", "-timeout=5", "x"],
    &["query", "-relay-factor=256", "x"],
    &["query", "-relay-factor=x", "x"],
    &["join"],
    // With two names, cottar prints a specific error instead.
    &["force-leave"],
    &["tags"],
    &["leave", "-help"],
    &["info", "---x"],
];

#[test]
fn every_command_answers_alike_on_both_kinds_of_agents() {
    scenario("command lines", &["CC", "SS", "CS"], |lab| {
        let nodes = pair(lab);
        let node = &nodes[0];
        let peer = nodes[1].gossip.to_string();
        let output: &[&[&str]] = &[
            &["members"],
            &["members", "-detailed"],
            &["members", "-format=json"],
            &["members", "-format", "json", "-name=n[12]"],
            &["members", "--name", "n2"],
            &["members", "-name=nobody"],
            &["members", "-name=nobody", "-format=json"],
            &["members", "-status=alive", "-tag", "role=w.b"],
            &["members", "-status=failed"],
            &["members", "-tag=foo"],
            &["members", "-format=xml"],
            &["event", "deploy", "now"],
            &["event", "-coalesce=false", "deploy"],
            &["event", "-coalesce", "deploy", "-"],
            &["event", "big", &"x".repeat(600)],
            &["query", "-timeout=700ms", "load"],
            &["query", "-timeout=700ms", "-format=json", "load", "payload"],
            &["query", "-timeout", "700ms", "-no-ack", "-node=n2", "load"],
            &[
                "query",
                "-timeout=700ms",
                "-tag=role=web",
                "-relay-factor=1",
                "load",
            ],
            &[
                "query",
                "-timeout=700ms",
                "-node=nobody",
                "-format=json",
                "load",
            ],
            &["query", "-tag=foo", "load"],
            &["query", "-format=xml", "load"],
            &["query", "_serf_secret"],
            &["join", &peer],
            &["join", "-replay", &peer],
            &["force-leave", "nobody"],
            &["force-leave", "-prune", "nobody"],
            &["tags", "-set", "added=1", "-set", "role=web"],
            &["tags", "-delete", "added", "-delete", "never"],
            &["tags", "-set", "=x"],
            &["tags", "-set", &format!("long={}", "x".repeat(600))],
            &["info"],
            &["info", "-format=json"],
            &["info", "-format=xml"],
        ];
        for args in output {
            compare(node, Same::Output, args);
        }
        for args in COMPLAINTS {
            compare(node, Same::Complaint, args);
        }
    });
}

#[test]
fn leave_by_either_command_line_ends_either_agent() {
    scenario("leave by command line", &["CS", "SC"], |lab| {
        for (kind, other) in [(Kind::Serf, 0), (Kind::Cottar, 1)] {
            let node = lab.start(lab.spec(other));
            let left = node.ask(kind, &["leave"]);
            assert_eq!(
                (left.code, left.stdout.as_str()),
                (0, "Graceful leave complete\n")
            );
            assert_eq!(node.await_exit(10.0).code(), Some(0));
        }
    });
}

/// Runs a command line that uses no agent of cottar.
fn bare(kind: Kind, args: &[&str], env: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(kind.program());
    command
        .args(args)
        .env_remove("SERF_RPC_ADDR")
        .env_remove("SERF_RPC_AUTH");
    command.envs(env.iter().copied());
    run(&mut command, patience(20.0)).expect("a command that ends")
}

#[test]
fn errors_without_an_agent_are_the_same() {
    scenario("no agent", &["S"], |lab| {
        // Without a listener: the address was free a moment ago, and no other test gets it.
        let nobody = free();
        let flag = format!("-rpc-addr={nobody}");
        for args in [
            &["members", &flag][..],
            &["info", &flag],
            &["leave", &flag],
            &["event", &flag, "x"],
            &["members", "-rpc-addr=127.0.0.1"],
            &["members", "-rpc-addr="],
        ] {
            let [theirs, ours] = [Kind::Serf, Kind::Cottar].map(|kind| bare(kind, args, &[]));
            assert_same(Same::Output, args, &theirs, &ours);
        }
        let node = lab.start(lab.spec(0));
        let rpc = node.rpc.to_string();
        for kind in [Kind::Serf, Kind::Cottar] {
            let listed = bare(kind, &["members"], &[("SERF_RPC_ADDR", &rpc)]);
            assert!(
                listed.code == 0 && listed.stdout.contains("n1"),
                "{kind:?}: {listed:?}"
            );
            let refused = bare(
                kind,
                &["members"],
                &[("SERF_RPC_ADDR", &rpc), ("SERF_RPC_AUTH", "key")],
            );
            assert_eq!(refused.code, 1, "{kind:?}: {refused:?}");
            assert_eq!(
                refused.stdout, "Error connecting to Serf agent: Invalid authentication token\n",
                "{kind:?}"
            );
            let plain = bare(
                kind,
                &["members", "-rpc-auth="],
                &[("SERF_RPC_ADDR", &rpc), ("SERF_RPC_AUTH", "key")],
            );
            assert_eq!(plain.code, 0, "{kind:?}: {plain:?}");
        }
        for (args, code) in [
            (&[][..], 127),
            (&["help"], 127),
            (&["mem"], 127),
            (&["-h"], 0),
            (&["--help"], 0),
            (&["version"], 0),
            (&["--version"], 0),
            (&["-v"], 0),
            (&["members", "-h"], 0),
        ] {
            for kind in [Kind::Serf, Kind::Cottar] {
                let finished = bare(kind, args, &[]);
                assert_eq!(finished.code, code, "{kind:?} {args:?}: {finished:?}");
            }
        }
        for kind in [Kind::Serf, Kind::Cottar] {
            let version = bare(kind, &["version"], &[]).stdout;
            assert!(
                version.contains("\nAgent Protocol: 5 (Understands back to: 2)\n"),
                "{kind:?}: {version}"
            );
        }
    });
}

#[test]
fn agents_refuse_a_bad_start_in_the_same_words() {
    scenario("bad starts", &["S"], |lab| {
        let running = lab.start(lab.spec(0));
        let taken = running.gossip.to_string();
        let rpc_taken = running.rpc.to_string();
        let (gossip, rpc) = (free(), free());
        let (gossip, rpc) = (gossip.to_string(), rpc.to_string());
        let here = ["-bind", &gossip, "-rpc-addr", &rpc];
        let cases: &[(&[&str], &str)] = &[
            (
                &["-event-handler", "member-foo=x"],
                "Invalid event script: Event 'member-foo' invoking 'x'",
            ),
            (
                &["-event-handler", "FOO=1 env"],
                "Invalid event script: Event 'FOO' invoking '1 env'",
            ),
            (
                &["-event-handler", "member-join, member-leave=x"],
                "Event ' member-leave' invoking 'x'",
            ),
            (&["-tag", "foo"], "==> Error: Invalid tag: 'foo'"),
            (
                &["-log-level", "FOO"],
                "==> Invalid log level: FOO. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
            ),
            (&["-profile", "LAN"], "==> Unknown profile: LAN"),
            (
                &["-encrypt", "!"],
                "==> Invalid encryption key: illegal base64 data at input byte 0",
            ),
            (&["-encrypt", "YWJj"], "key size must be 16, 24 or 32 bytes"),
            (
                &["-protocol", "6"],
                "Protocol version '6' too high. Must be in range: [2, 5]",
            ),
            (
                &["-protocol", "1"],
                "Protocol version '1' too low. Must be in range: [2, 5]",
            ),
            (
                &["-retry-interval", "5"],
                "==> Error: time: missing unit in duration",
            ),
            (&["-iface", "nosuch0"], "==> Invalid network interface: "),
            (&["-bind", &taken], "address already in use"),
            (&["-rpc-addr", &rpc_taken], "address already in use"),
            (&["-join", "127.0.0.1:9"], "127.0.0.1"),
        ];
        for (args, words) in cases {
            for kind in [Kind::Serf, Kind::Cottar] {
                let mut line = vec!["agent", "-node", "refused"];
                line.extend(here);
                line.extend(*args);
                let finished = bare(kind, &line, &[]);
                assert_eq!(finished.code, 1, "{kind:?} {args:?}: {finished:?}");
                assert!(
                    finished.stdout.contains(words),
                    "{kind:?} {args:?} says nothing of \"{words}\": {finished:?}"
                );
            }
        }
    });
}
