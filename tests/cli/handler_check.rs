//! `handler check`: its output for directories of handlers, and its exit status.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::run::run;

const GOOD: &str = "#!/bin/sh\n# cottar: on=member-join,user:deploy\n";

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The lines of the output, with paths relative to the test's folder.
fn lines(text: &str, dir: &Path) -> Vec<String> {
    let prefix = format!("{}/", dir.to_str().unwrap());
    let lines = text.lines().skip(1);
    let words = lines.map(|line| line.split("  ").filter(|cell| !cell.is_empty()));
    words
        .map(|cells| {
            let cells: Vec<_> = cells.map(str::trim).collect();
            cells.join(" | ").replace(&prefix, "")
        })
        .collect()
}

#[test]
fn every_file_is_named_with_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let (one, two) = (root.join("one"), root.join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    write(&one.join("20-b"), GOOD, 0o755);
    write(&one.join("10-a"), GOOD, 0o755);
    write(&one.join("README"), "words", 0o644);
    let at = |dir: &Path| dir.to_str().unwrap().to_owned();
    let got = run(&["handler", "check", &at(&one)]);
    assert_eq!((got.status, got.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        lines(&got.text(), &root),
        [
            "one/10-a | runs | member-join,user:deploy",
            "one/20-b | runs | member-join,user:deploy",
            "one/README | skipped | it is not executable",
        ]
    );
    write(&two.join("10-a"), "#!/bin/sh\n# cottar: on=usr\n", 0o755);
    write(&two.join("30-c"), "#!/bin/sh\n", 0o755);
    write(&two.join("40-d"), GOOD, 0o775);
    write(&two.join("50-e"), GOOD, 0o755);
    symlink("/dev/null", two.join("20-b")).unwrap();
    let file = at(&two.join("50-e"));
    let got = run(&["handler", "check", &at(&one), &file, &at(&two), "/no/such"]);
    assert_eq!((got.status, got.stderr.as_str()), (Some(1), ""));
    assert_eq!(
        lines(&got.text(), &root),
        [
            "/no/such | refused | no such file or directory",
            "two/10-a | refused | key 'on': 'usr' is not an event type; use member-join, member-leave, \
             member-failed, member-update, member-reap, user, user:NAME, query, query:NAME, *, sync",
            "two/20-b | skipped | it is disabled by a link to /dev/null",
            "two/30-c | undeclared | no 'cottar: on=EVENTS' in its first comment lines",
            "two/40-d | refused | other users can write to two/40-d (mode 0775)",
            "two/50-e | runs | member-join,user:deploy",
            "one/README | skipped | it is not executable",
            "one/10-a | skipped | replaced by two/10-a",
            "one/20-b | skipped | replaced by two/20-b",
            "two/50-e | runs | member-join,user:deploy",
        ]
    );
    let got = run(&["handler", "check", "-format=json", &at(&one)]);
    let json: Value = serde_json::from_slice(&got.stdout).unwrap();
    let first = &json["files"][0];
    assert_eq!(first["file"], at(&one.join("10-a")));
    assert_eq!(
        (&first["state"], &first["reason"]),
        (&"runs".into(), &Value::Null)
    );
    assert_eq!(first["on"], "member-join,user:deploy");
    let last = &json["files"][2];
    assert_eq!(
        (&last["state"], &last["on"]),
        (&"skipped".into(), &Value::Null)
    );
    assert_eq!(last["reason"], "it is not executable");
}

#[test]
fn a_single_wrong_file_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    for (text, status) in [
        (GOOD.to_owned(), 0),
        ("#!/bin/sh\necho\n".to_owned(), 1),
        (
            format!("#!/bin/sh\n# cottar: on={}\n", "user,".repeat(1024)),
            1,
        ),
    ] {
        write(&path, &text, 0o755);
        let got = run(&["handler", "check", path.to_str().unwrap()]);
        assert_eq!(got.status, Some(status), "{got:?}");
    }
}

#[test]
fn a_file_is_tested_with_its_settings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-x");
    let file = path.to_str().unwrap();
    let header = "on=user:deploy settle=1m environment.MODE=\"dry run\" input=json timeout=5s";
    let text = format!("#!/bin/sh\n# cottar: {header}\ncut -c 2-8\necho $MODE $#\nexit 3\n");
    write(&path, &text, 0o755);
    let got = run(&["handler", "test", "-quiet", file, "user", "deploy", "1"]);
    assert_eq!(
        (got.text().as_str(), got.status),
        ("\"event\"\ndry run 0\n", Some(3))
    );
    let got = run(&["handler", "test", file, "user", "deploy", "1"]);
    assert!(got.text().contains(&format!("Script: {file}\n")), "{got:?}");
    assert!(got.text().contains("\nLimits: 5s of time, "), "{got:?}");
    let got = run(&["handler", "test", file, "user", "other"]);
    assert_eq!(got.status, Some(125), "{got:?}");
    write(&path, &text.replace("json", "jason"), 0o755);
    let got = run(&["handler", "test", file, "user", "deploy"]);
    let why = format!("{file}: key 'input': must be \"lines\" or \"json\"\n");
    assert_eq!((got.stderr.as_str(), got.status), (why.as_str(), Some(1)));
    // Without header lines, the argument is shell text.
    write(&path, "#!/bin/sh\necho plain\n", 0o775);
    let got = run(&["handler", "test", "-quiet", file, "query", "q"]);
    assert_eq!((got.text().as_str(), got.status), ("plain\n", Some(0)));
}
