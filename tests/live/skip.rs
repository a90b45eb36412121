//! Scenarios that this machine cannot run: each is skipped with a line of output, and counted.
//!
//! `COTTAR_INTEROP=require` turns each skip into a failure. `COTTAR_SKIPPED` names a file to which each skip
//! appends a line; `make check` prints the count from it.

use super::program::{on_path, reference};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether a scenario must be skipped because `what` is missing; records the skip if so.
#[track_caller]
pub fn lacks(scenario: &str, what: &str, is_there: bool) -> bool {
    if !is_there {
        skip(scenario, &format!("no {what}"));
    }
    !is_there
}

/// The same for the reference.
#[track_caller]
pub fn lacks_reference(scenario: &str) -> bool {
    lacks(scenario, "`serf`", reference().is_some())
}

/// The same for a program on the path.
#[track_caller]
pub fn lacks_program(scenario: &str, name: &str) -> bool {
    lacks(scenario, &format!("`{name}`"), on_path(name).is_some())
}

/// The same for the right to create namespaces; `kinds` are flags of `unshare`.
#[track_caller]
pub fn lacks_namespaces(scenario: &str, kinds: &[&str]) -> bool {
    let tried = Command::new("unshare")
        .args(kinds)
        .arg("true")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let may = tried.is_ok_and(|status| status.success());
    lacks(scenario, "permission to create namespaces", may)
}

/// Records that a scenario is skipped, and why; fails the test if nothing may be skipped.
#[track_caller]
pub fn skip(scenario: &str, why: &str) {
    let is_required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(
        !is_required,
        "{scenario}: COTTAR_INTEROP=require, but {why}"
    );
    note(scenario, why);
}

/// Records a skip that is allowed even if nothing else may be skipped.
pub fn note(scenario: &str, why: &str) {
    // Bypasses the test harness's capture of output, so that it is visible.
    let _ = writeln!(std::io::stderr(), "SKIPPED {scenario}: {why}");
    if let Some(path) = std::env::var_os("COTTAR_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the file that COTTAR_SKIPPED names");
        let why = why.replace(['\n', '\t'], " ");
        // In one write, because other tests append to the file at the same time.
        let line = format!("{scenario}\t{why}\n");
        file.write_all(line.as_bytes())
            .expect("room for a skipped scenario");
    }
}
