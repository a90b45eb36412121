//! `agent -check`: reports all errors and changes no file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::live::{COTTAR, free};
use crate::start;

/// Runs the check; returns its exit status and output.
fn check(args: &[&str]) -> (i32, String) {
    let mut command = Command::new(COTTAR);
    let output = command.args(["agent", "-check"]).args(args).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text)
}

/// The files of a directory, with their content.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn every_error_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        format!("-config-file={}", path(name))
    };
    let broken = write("broken", "{");
    let unknown = write("unknown", r#"{"nope": 1, "protocol": "x"}"#);
    let values = write(
        "values",
        r#"{"label_accept": ["", "good"], "allow_gossip": ["10.0.0.0/8", "10.0.0.0/99"],
            "event_handlers": ["query:=x", "member-nonsense=x"], "log_level": "loud"}"#,
    );
    fs::write(path("tags"), "[]").unwrap();
    let (code, text) = check(&[
        &broken,
        &unknown,
        &format!("-config-file={}", path("missing")),
        &values,
        &format!("-label={}", "x".repeat(300)),
        "-node=n",
        "-profile=moon",
        "-retry-interval=5",
        "-tag=broken",
        "-bind=300.1.1.1:x",
        &format!("-tags-file={}", path("tags")),
        &format!("-keyring-file={}", path("keys")),
        &format!("-snapshot={}", path("no/snapshot")),
        &format!("-journal={}", path("values")),
    ]);
    assert_eq!(code, 1, "{text}");
    for part in [
        "Error decoding '*broken': unexpected EOF",
        "Error decoding '*unknown': 2 error(s) decoding:",
        "Error reading '*missing': open *missing: no such file or directory",
        "Error: Invalid tag: 'broken'",
        "Error: time: missing unit in duration \"5\"",
        "Invalid event script: Event 'member-nonsense' invoking 'x'",
        "Invalid bind address: ",
        "Invalid label: it has 300 bytes",
        "Invalid network '10.0.0.0/99'",
        "Invalid log level: LOUD",
        "Unknown profile: moon",
        "Failed to decode tags file: it must hold an object of strings",
        "stat *keys: no such file or directory",
        "failed to open snapshot: create *no/snapshot: no such file or directory",
        "Failed to setup journal: open *values: not a directory",
    ] {
        let wanted = part.replace('*', &path(""));
        let lines = text.lines().filter(|line| line.contains(&wanted));
        assert_eq!(lines.count(), 1, "{wanted} in:\n{text}");
    }
    let verdict = text.lines().last().unwrap();
    assert!(
        verdict.starts_with("==> The agent would not start: 1"),
        "{verdict}"
    );
}

#[test]
fn errors_of_the_core_and_of_the_ports_are_found() {
    for (flags, part) in [
        (
            &["-encrypt=YWJj"][..],
            "key size must be 16, 24 or 32 bytes",
        ),
        (&["-protocol=9"], "Protocol version '9' too high"),
        (
            &["-rpc-addr=nowhere"],
            "Error starting RPC listener: listen tcp: address nowhere: missing port",
        ),
        (&["-bind=192.0.2.1:x"], "unknown port"),
        (&["-iface=nope0"], "no such network interface"),
        (
            &[
                "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==",
                "-keyring-file=/dev/null",
            ],
            "Encryption key not allowed while using a keyring",
        ),
    ] {
        let (code, text) = check(&[&["-node=n", "-bind=127.0.0.1"], flags].concat());
        assert_eq!(code, 1, "{flags:?}");
        assert!(text.contains(part), "{flags:?}: {text}");
        assert!(
            text.contains("==> The agent would not start: 1 error\n"),
            "{text}"
        );
    }
    let tag = format!("-tag=t={}", "x".repeat(600));
    let (code, text) = check(&["-node=n", "-bind=127.0.0.1", &tag]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn all_errors_of_the_rpc_server_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("file").display().to_string();
    fs::write(&taken, "precious").unwrap();
    let file = dir.path().join("rpc.json").display().to_string();
    let text = format!(
        r#"{{"rpc_addr": ["unix:{taken}", "unix:"], "rpc_socket_group": "nope",
            "rpc_control_group": "neither"}}"#
    );
    fs::write(&file, text).unwrap();
    let (code, text) = check(&["-node=n", "-bind=127.0.0.1", "-config-file", &file]);
    assert_eq!(code, 1, "{text}");
    let start = "==> Error starting RPC listener: ";
    let expected = [
        format!("{start}listen unix {taken}: the file exists and is not a socket"),
        format!("{start}listen unix : no path after 'unix:'"),
        format!("{start}Invalid rpc_socket_group 'nope': there is no such group"),
        format!("{start}Invalid rpc_control_group 'neither': there is no such group"),
        "==> The agent would not start: 4 errors".to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_check_beside_a_running_agent_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("keys"), r#"["MDEyMzQ1Njc4OWFiY2RlZg=="]"#).unwrap();
    let flags = [
        format!("-tags-file={}", path("tags")),
        format!("-keyring-file={}", path("keys")),
        format!("-snapshot={}", path("snapshot")),
        format!("-journal={}", path("journal")),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = start("busy", &flags);
    assert!(agent.call("tags", &["-set=a=b"]).0);
    let places = [
        format!("-bind={}", agent.gossip),
        format!("-rpc-addr={}", agent.rpc),
    ];
    let all = [&flags[..], &["-node=busy", &places[0], &places[1]]].concat();
    // Compares only names: the running agent may write to its files meanwhile.
    let names = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let (code, text) = check(&all);
    assert_eq!((code, &text[..]), (0, "==> The agent would start\n"));
    assert_eq!(names(), before);
    assert!(agent.sees("busy", "alive"));
}

#[test]
fn damaged_files_cause_a_warning_and_are_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot");
    let torn = "alive: n2 127.0.0.1:7946\nclock: 5\nevent-clock: ";
    fs::write(&file, torn).unwrap();
    let snapshot = format!("-snapshot={}", file.display());
    let bind = format!("-bind={}", free());
    let before = contents(dir.path());
    let (code, text) = check(&[
        "-node=n",
        &bind,
        &snapshot,
        "-role=web",
        "-allow=192.0.2.0/24",
    ]);
    assert_eq!(code, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[0],
        "==> Deprecation warning: 'Role' has been replaced with 'Tags'"
    );
    let warning = format!("==> Warning: '{}': ", file.display());
    assert!(lines[1].starts_with(&warning), "{text}");
    assert!(lines[2].contains("is not in an allowed network"), "{text}");
    assert_eq!(lines[3], "==> The agent would start");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn files_with_comments_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("commented.json");
    let text = "# The web tier.\n{\n  // its tags\n  \"tags\": {\"url\": \"http://x/#y\"} # here\n}\n// end\n";
    fs::write(&file, text).unwrap();
    let agent = start("n", &["-config-file", file.to_str().unwrap()]);
    assert!(agent.member("n").contains("url=http://x/#y"));
    assert!(!agent.text().contains("Warning"));
}
