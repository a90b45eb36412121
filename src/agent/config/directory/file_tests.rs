use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::os::error::shown;

/// Returns a file's verdict and reason.
fn described(path: &Path) -> String {
    let found = fs::metadata(path).unwrap();
    match examine(path, &found, sys::effective_user()) {
        Verdict::Handler(settings) => {
            let filter = settings.filter();
            format!("runs for {}", Escaped(&filter))
        }
        Verdict::Skipped(why) => format!("skipped: {why}"),
        Verdict::Undeclared(why) => format!("undeclared: {why}"),
        Verdict::Refused(why) => format!("refused: {why}"),
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const GOOD: &str = "#!/bin/sh\n# cottar: on=member-join,user:deploy settle=2s\n";

#[test]
fn names_of_leftovers() {
    for name in [
        ".x",
        ".",
        "..",
        "x~",
        "x.bak",
        "x.orig",
        "x.rej",
        "x.swp",
        "x.tmp",
        "x.dpkg-new",
        "x.dpkg-dist",
        "x.dpkg-old",
        "x.rpmnew",
        "x.rpmorig",
        "x.rpmsave",
        "x.ucf-dist",
        "a.b.bak",
    ] {
        assert!(is_leftover(name.as_bytes()), "{name}");
    }
    for name in [
        "x", "10-first", "x.sh", "x.py", "bak", "x.backup", "dpkg-new", "x.bak.sh", "x~y",
    ] {
        assert!(!is_leftover(name.as_bytes()), "{name}");
    }
}

#[test]
fn settings_come_from_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-x");
    write(&path, GOOD, 0o755);
    let found = fs::metadata(&path).unwrap();
    let Verdict::Handler(settings) = examine(&path, &found, sys::effective_user()) else {
        panic!("{}", described(&path));
    };
    assert_eq!(settings.settle, crate::time::Duration::from_secs(2));
    assert_eq!(settings.action.base_name(), "10-x");
    let words = [path.as_os_str().as_bytes().to_vec()];
    assert_eq!(settings.action, Action::Exec(words.into()));
    assert_eq!(described(&path), "runs for member-join,user:deploy");
    write(&path, "#!/bin/sh\n# cottar: on=*\n", 0o755);
    assert_eq!(described(&path), "runs for *");
}

#[test]
fn what_is_no_handler_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("plain"), GOOD, 0o644);
    write(&at("x.dpkg-old"), GOOD, 0o755);
    fs::create_dir(at("dir")).unwrap();
    symlink("/dev/null", at("off")).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    let made = Command::new("mkfifo").arg(at("fifo")).status().unwrap();
    assert!(made.success());
    fs::set_permissions(at("fifo"), fs::Permissions::from_mode(0o755)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (name, why) in [
        ("plain", "it is not executable"),
        ("x.dpkg-old", "it has the name of a hidden or backup file"),
        ("dir", "it is a directory"),
        ("off", "it is disabled by a link to /dev/null"),
        ("zero", "it is not a regular file"),
        ("fifo", "it is not a regular file"),
        ("socket", "it is not a regular file"),
    ] {
        assert_eq!(described(&at(name)), format!("skipped: {why}"), "{name}");
    }
    let undeclared = "undeclared: no 'cottar: on=EVENTS' in its first comment lines";
    for text in [
        "",
        "\x7fELF\0\0",
        "#!/bin/sh\n",
        "#!/bin/sh\n\n# cottar: on=user\n",
        "#!/bin/sh\n# cottar: settle=2s\n",
    ] {
        write(&at("x"), text, 0o755);
        assert_eq!(described(&at("x")), undeclared, "{text:?}");
    }
}

/// File contents, and why they are refused.
#[rustfmt::skip]
const BAD: &[(&str, &str)] = &[
    ("#!/bin/sh\n# cottar: on=usr\n", "key 'on': 'usr' is not an event type; use member-join, "),
    ("#!/bin/sh\n# cottar: on=user hodl=2s\n", "key 'hodl': unknown; the keys are "),
    ("#!/bin/sh\n# cottar: on=user run=x hold=1\n", "key 'hold': must be a duration such as \"10s\"; key 'run': is not allowed"),
    ("#!/bin/sh\n# cottar: on=user on=query\n", "key 'on': is given twice"),
    ("#!/bin/sh\n# cottar: on=user where.role=(\n", "key 'where': 'role': "),
    ("#!/bin/sh\n# cottar: on=user input\n", "line 2: 'input' is not KEY=VALUE"),
    ("# cottar: on=user\necho\n", "it does not begin with '#!' and an interpreter, "),
    ("#!/no/such arg\n# cottar: on=user\n", "its interpreter '/no/such': no such file or directory"),
    ("#!/bin/sh\r\n# cottar: on=user\r\n", "its interpreter '/bin/sh\\r': no such file or directory (the file has Windows line ends)"),
    ("#!/usr/bin/env sh\r\n# cottar: on=user\r\n", "its interpreter '/usr/bin/env': its argument ends with '\\r' (the file has Windows line ends)"),
    ("#!/etc/passwd\n# cottar: on=user\n", "its interpreter '/etc/passwd': this user may not execute it"),
    ("\u{feff}#!/bin/sh\n# cottar: on=user\n", "it begins with a byte order mark, "),
    ("#!/bin/sh\n# cottar: on=\n", "key 'on': must not be empty; '*' stands for all events"),
    ("#!\n# cottar: on=user\n", "its interpreter '': no such file or directory"),
    ("#! /bin\n# cottar: on=user\n", "its interpreter '/bin': not a file"),
];

#[test]
fn bad_files_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let long = format!("#!/bin/sh\n# cottar: on=user:{}\n", "x".repeat(5 << 10));
    let too_long = "the comment lines at the beginning have more than 4096 bytes";
    for (text, expected) in BAD.iter().chain(&[(&*long, too_long)]) {
        write(&path, text, 0o755);
        let described = described(&path);
        let why = described
            .strip_prefix("refused: ")
            .unwrap_or_else(|| panic!("{described}"));
        assert!(why.starts_with(expected), "{text:?}: {why}");
    }
}

#[test]
fn what_others_may_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let (path, link, target) = (root.join("x"), root.join("link"), root.join("t/target"));
    fs::create_dir(root.join("t")).unwrap();
    write(&target, GOOD, 0o755);
    symlink(&target, &link).unwrap();
    assert_eq!(described(&link), "runs for member-join,user:deploy");
    for mode in [0o775, 0o757] {
        write(&path, GOOD, mode);
        let why = format!(
            "refused: other users can write to {} (mode {mode:04o})",
            shown(&path)
        );
        assert_eq!(described(&path), why);
        let folder = root.join("t");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let why = format!(
            "refused: other users can write to {} (mode {mode:04o})",
            shown(&folder)
        );
        assert_eq!(described(&link), why);
    }
}
