//! The harness of all suites: skipped scenarios are counted, failing tests print the output of their agents,
//! and no agent outlives its test.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::live::namespace::output;
use crate::live::{Agent, Finished, PATIENCE, arg, content, free, run, wait_until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/skipped.sh");

/// The last line of `make check`, with the number of skipped scenarios.
fn counted(file: &Path) -> String {
    output(&["sh", SCRIPT, "count", arg(file)]).unwrap()
}

/// Runs a test of this program on a machine without the reference.
fn without_the_reference(test: &str, file: &Path, interop: &str) -> Finished {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test])
        .env("COTTAR_SERF", "/nonexistent/serf")
        .env("COTTAR_SKIPPED", file)
        .env("COTTAR_INTEROP", interop);
    run(&mut command, PATIENCE).unwrap()
}

#[test]
fn a_scenario_that_is_skipped_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("skipped");
    let first = "files::tags_and_keys::keys_changed_by_the_reference_are_kept";
    for test in [
        first,
        "files::rejoin::snapshots_are_shared_with_the_reference",
        first,
    ] {
        let ended = without_the_reference(test, &file, "").success();
        assert!(ended.stdout.contains("1 passed"), "{ended:?}");
        assert!(ended.stderr.contains("SKIPPED "), "{ended:?}");
    }
    assert_eq!(counted(&file), "skipped: 2 scenarios: no `serf` (2)\n");
    // With COTTAR_INTEROP=require, a skip is a failure.
    let ended = without_the_reference(first, &file, "require");
    assert_ne!(ended.code, 0);
    let why = "COTTAR_INTEROP=require, but no `serf`";
    assert!(ended.stdout.contains(why), "{ended:?}");
    assert_eq!(content(&file).lines().count(), 3);
}

#[test]
fn skipped_scenarios_are_counted_by_their_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("skipped");
    std::fs::write(&file, "").unwrap();
    assert_eq!(counted(&file), "skipped: 0 scenarios\n");
    let note = |scenario: &str, why: &str, interop: &str| {
        let mut command = Command::new("sh");
        command
            .args([SCRIPT, "note", scenario, why])
            .env("COTTAR_SKIPPED", &file)
            .env("COTTAR_INTEROP", interop);
        run(&mut command, PATIENCE).unwrap().code
    };
    assert_eq!(note("manual pages", "no `mandoc`", ""), 0);
    assert_eq!(counted(&file), "skipped: 1 scenario: no `mandoc` (1)\n");
    for (scenario, why) in [
        ("a story", "no `serf`"),
        ("another", "no `serf`"),
        ("a story", "no `serf`"),
    ] {
        assert_eq!(note(scenario, why, ""), 0);
    }
    let all = "skipped: 3 scenarios: no `serf` (2), no `mandoc` (1)\n";
    assert_eq!(counted(&file), all);
    assert_eq!(note("one more", "no `fish`", "require"), 1);
    assert_eq!(counted(&file), all);
}

#[test]
#[ignore = "fails, for the next one to see how"]
fn fails_on_purpose() {
    let agent = Agent::start(&["-node=shown"]);
    agent.wait_for("EventMemberJoin: shown");
    panic!("the process is {}", agent.pid());
}

#[test]
fn a_test_that_fails_shows_what_its_agents_printed() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "harness::fails_on_purpose", "--ignored"]);
    let ended = run(&mut command, PATIENCE).unwrap();
    assert_eq!(ended.code, 101, "{ended:?}");
    let (_, shown) = ended.stdout.split_once("--- stdout of ").unwrap();
    assert!(shown.contains("[INFO] serf: EventMemberJoin: shown"));
    let (_, rest) = ended.stdout.split_once("the process is ").unwrap();
    let pid = rest.split_whitespace().next().unwrap();
    let process = Path::new("/proc").join(pid);
    wait_until("the end of the agent", || !process.exists());
}

#[test]
fn waits_fail_at_once_if_the_agent_has_ended() {
    let started = Instant::now();
    let agent = Agent::spawn(&["-profile=none"]);
    let waiting = || agent.wait_for("what it never says");
    let why = std::panic::catch_unwind(std::panic::AssertUnwindSafe(waiting));
    let why = *why.unwrap_err().downcast::<String>().unwrap();
    assert!(why.contains("(exit status: 1)"), "{why}");
    assert!(why.contains("==> Unknown profile: none\n"), "{why}");
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn addresses_are_given_once() {
    let mut all: Vec<_> = (0..100).map(|_| free()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 100);
}
