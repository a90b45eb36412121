//! The licences of the crates that are linked into the program: `dist/licences/third-party.txt`, generated
//! from the crates' licence files.

use crate::live::content;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platform that has all crates of all platforms: some crates are only for processors with AES
/// instructions.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Licence files in order of preference. MIT comes first wherever there is a choice.
const FILES: &[&str] = &[
    "LICENSE-MIT",
    "LICENSE-MIT.md",
    "LICENSE-MIT.txt",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
];

const HEAD: &str = "\
Software of others in cottar

cottar is linked with these crates, in the versions of Cargo.lock, and with the
libraries at the end. Where the authors of a crate let one choose among licences,
it is made use of under the one that it is listed with.

This list is made by \"make licences\".
";

/// Name and version.
type Crate = (String, String);

/// Content of a crate's licence file.
struct Licence {
    /// The copyright lines.
    notices: Vec<String>,
    /// The text of the licence, unchanged.
    text: String,
}

fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(args)
        .arg("--locked")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the crates that are linked in, without build and test dependencies.
fn linked() -> BTreeSet<Crate> {
    let args = "tree --edges normal,no-proc-macro --prefix none --format {p} --target";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.push(TARGET);
    let mut found = BTreeSet::new();
    for line in cargo(&args).lines() {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        if name != "cottar" {
            found.insert((name.into(), version.trim_start_matches('v').into()));
        }
    }
    found
}

/// Returns the licence expression of each crate, and the directory of its files.
fn packages() -> BTreeMap<Crate, (String, PathBuf)> {
    let args = [
        "metadata",
        "--format-version=1",
        "--filter-platform",
        TARGET,
    ];
    let known: Value = serde_json::from_str(&cargo(&args)).unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let packages = known["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let manifest = PathBuf::from(text(package, "manifest_path"));
            let directory = manifest.parent().unwrap().to_owned();
            let name = (text(package, "name"), text(package, "version"));
            (name, (text(package, "license"), directory))
        })
        .collect()
}

fn licence(directory: &Path) -> Licence {
    let mut files = FILES.iter().map(|name| directory.join(name));
    let file = files.find(|file| file.exists());
    let file = file.unwrap_or_else(|| panic!("which file is the licence in {directory:?}?"));
    let all = content(&file).replace('\r', "");
    let mut found = Licence {
        notices: Vec::new(),
        text: String::new(),
    };
    for paragraph in all.split("\n\n") {
        let paragraph = paragraph.trim_matches('\n');
        let start = paragraph.trim_start().to_lowercase();
        if start.starts_with("copyright") {
            let lines = paragraph.lines().map(|line| line.trim().to_owned());
            found.notices.extend(lines);
        } else if !matches!(start.trim(), "" | "mit license" | "the mit license (mit)") {
            let _ = write!(found.text, "{paragraph}\n\n");
        }
    }
    assert!(found.text.len() > 500, "{file:?} is not a licence");
    found
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        })
        .collect()
}

fn third_party() -> String {
    let packages = packages();
    // Texts that differ only in line breaks are the same licence.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for name in linked() {
        let (choice, directory) = packages.get(&name).unwrap();
        let licence = licence(directory);
        let words: Vec<&str> = licence.text.split_whitespace().collect();
        let (_, crates) = texts
            .entry(words.join(" "))
            .or_insert_with(|| (licence.text, Vec::new()));
        let mut entry = format!("{} {} ({choice})\n", name.0, name.1);
        for notice in licence.notices {
            let _ = writeln!(entry, "    {notice}");
        }
        crates.push(entry);
    }
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort_by_key(|(_, crates)| usize::MAX - crates.len());
    let (first, _) = texts.first().unwrap();
    assert!(first.starts_with("Permission is hereby granted, free of charge"));

    let mut out = HEAD.to_owned();
    for (index, (text, crates)) in texts.iter().enumerate() {
        let called = if index == 0 {
            "the MIT licence"
        } else {
            "this licence"
        };
        let _ = write!(out, "\n\nThese are under {called}:\n\n");
        for entry in crates {
            out.push_str(&indented(entry));
        }
        let _ = write!(out, "\nwhich is:\n\n{}", indented(text).trim_end());
        out.push('\n');
    }
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/licences/runtime.txt");
    let _ = write!(out, "\n\n{}", content(&runtime));
    out
}

/// With `COTTAR_LICENCES=write` the file is updated.
#[test]
fn the_list_is_that_of_the_crates_that_are_linked_in() {
    let made = third_party();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/licences/third-party.txt");
    if std::env::var("COTTAR_LICENCES").is_ok_and(|value| value == "write") {
        fs::write(&file, &made).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let new = made.lines().find(|line| !found.contains(line));
    assert!(
        found == made,
        "dist/licences/third-party.txt does not fit Cargo.lock ({new:?} is not in it); \"make licences\" writes it anew"
    );
}

#[test]
fn what_only_builds_or_tests_is_not_in_the_list() {
    let lock = content(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"));
    let linked: BTreeSet<String> = linked().into_iter().map(|(name, _)| name).collect();
    for name in ["tempfile", "fastrand", "version_check", "windows-sys"] {
        assert!(lock.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(!linked.contains(name), "{name}");
    }
    for name in ["aes-gcm", "libc", "mio", "subtle"] {
        assert!(linked.contains(name), "{name}");
    }
}
