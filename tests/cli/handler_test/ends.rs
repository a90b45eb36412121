//! How handlers end: exit statuses, time limits, interrupts, and handlers that cannot be started.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{json, run, said, text, tool};
use crate::live::{COTTAR, content, wait_until};

#[test]
fn the_exit_status_is_that_of_the_handler() {
    for (script, status) in [
        ("exit 0", 0),
        ("echo no; exit 3", 3),
        ("exit 255", 255),
        ("/nonexistent/program", 127),
        ("kill -9 $$", 128 + 9),
        ("kill $$", 128 + 15),
    ] {
        let output = run(&["-quiet", script, "user", "x"]);
        assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
    }
    // A filter with two matching words causes one run.
    let script = "user,user:x=n=$(cat n 2>/dev/null); echo run$n; echo 2 >n; exit 4$n";
    let dir = tempfile::tempdir().unwrap();
    let output = tool(dir.path(), &["-quiet", script, "user", "x"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "run\n");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr), "");
    let killed = run(&["-quiet", "kill -9 $$", "user", "x"]);
    assert!(
        text(&killed.stderr).starts_with("signal: killed after "),
        "{killed:?}"
    );
}

#[test]
fn a_time_limit_ends_the_handler_as_the_agent_would() {
    let report = json(&[
        "-handler-timeout=200ms",
        "echo a; sleep 60; echo b",
        "query",
        "x",
    ]);
    let shown = &report["runs"][0];
    assert_eq!(shown["end"], "time limit of 200ms exceeded");
    assert_eq!(
        (&shown["output"], &shown["exit_status"]),
        (&"a\n".into(), &124.into())
    );
    assert_eq!(shown["answer"], Value::Null);
    assert_eq!(report["limits"]["handler_timeout_nanos"], 200_000_000);
    // The handler and its child ignore SIGTERM.
    let script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done";
    let output = run(&["-quiet", "-handler-timeout", "200ms", script, "user", "x"]);
    assert_eq!(output.status.code(), Some(124));
    let started = text(&output.stdout);
    wait_until("the end of what it has started", || is_gone(started.trim()));
    // Open output delays the end by the grace time.
    let report = json(&["-handler-grace=300ms", "sleep 20 & echo $!", "user", "x"]);
    let took = report["runs"][0]["duration_nanos"].as_u64().unwrap();
    assert!(took >= 300_000_000, "{report}");
    let pid = report["runs"][0]["output"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
}

fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with('Z')
}

#[test]
fn an_interrupt_ends_the_handler_too() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let child = tool(
        dir.path(),
        &["echo $$ >p && mv p pid; exec sleep 60", "user", "x"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    wait_until("the handler runs", || pid.exists());
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let shown = text(&ended.stdout);
    assert!(
        shown.contains("\nEnd: stopped by signal: interrupt after "),
        "{shown}"
    );
    assert!(is_gone(content(&pid).trim()));
}

#[test]
fn a_handler_that_cannot_be_started_has_a_status_of_its_own() {
    let mut statuses = Vec::new();
    for descriptors in 5..64 {
        let limited =
            format!("ulimit -n {descriptors}; exec {COTTAR} handler test -quiet : user x");
        let mut command = Command::new("/bin/sh");
        let ended = command.args(["-c", &limited]).output().unwrap();
        let status = ended.status.code().unwrap();
        if status == 126 {
            // The report has a reason and no duration.
            let why = "cannot start /bin/sh: too many open files\n";
            assert_eq!(said(&ended), why);
        }
        statuses.push(status);
        if status == 0 {
            break;
        }
    }
    assert_eq!(statuses.pop(), Some(0));
    assert!(statuses.contains(&126), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [1, 126].contains(status)),
        "{statuses:?}"
    );
}
