//! Scenarios that this machine cannot play: left out with a line that says so, and counted.
//!
//! `COTTAR_INTEROP=require` turns each of them into a failure. `COTTAR_SKIPPED` names a file for them, a
//! line each, from which `make check` makes its last line.

use super::program::{on_path, reference};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether a scenario must be left out for want of something, which is then noted.
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

/// The same for the right to make namespaces, which are named as `unshare` does.
#[track_caller]
pub fn lacks_namespaces(scenario: &str, kinds: &[&str]) -> bool {
    let tried = Command::new("unshare")
        .args(kinds)
        .arg("true")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let may = tried.is_ok_and(|status| status.success());
    lacks(scenario, "right to make namespaces", may)
}

/// Notes that a scenario is left out, and why.
#[track_caller]
pub fn skip(scenario: &str, why: &str) {
    let is_required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(
        !is_required,
        "{scenario}: COTTAR_INTEROP=require, but {why}"
    );
    note(scenario, why);
}

/// Notes that a scenario is left out for a reason that is always allowed.
pub fn note(scenario: &str, why: &str) {
    // Past the test harness's capture, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED {scenario}: {why}");
    if let Some(path) = std::env::var_os("COTTAR_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the file that COTTAR_SKIPPED names");
        let why = why.replace(['\n', '\t'], " ");
        // In one piece: other tests write there, too.
        let line = format!("{scenario}\t{why}\n");
        file.write_all(line.as_bytes())
            .expect("room for a skipped scenario");
    }
}
