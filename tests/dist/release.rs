//! Release checks: one version everywhere, a complete manifest, and sources that name their commit.

use crate::live::content;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn file(name: &str) -> String {
    content(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
}

/// Returns the rest of the first line that starts with `start`.
fn after(name: &str, start: &str) -> String {
    let text = file(name);
    let mut rest = text.lines().filter_map(|line| line.strip_prefix(start));
    rest.next()
        .unwrap_or_else(|| panic!("no {start:?} in {name}"))
        .to_owned()
}

#[test]
fn every_file_has_the_version_of_the_manifest() {
    let debian = after("dist/debian/changelog", "cottar (");
    assert_eq!(debian.split('-').next(), Some(VERSION), "dist/debian");
    for (name, start) in [
        ("dist/CHANGELOG.md", "## "),
        ("dist/rpm/cottar.spec", "Version:        "),
        ("dist/arch/PKGBUILD", "pkgver="),
        ("dist/alpine/APKBUILD", "pkgver="),
        ("dist/openwrt/Makefile", "PKG_VERSION:="),
    ] {
        assert_eq!(after(name, start), VERSION, "{name}");
    }
}

#[test]
fn the_crate_has_all_metadata_and_no_stray_files() {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(["package", "--list", "--allow-dirty", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    // Cargo warns about missing metadata here.
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let list = String::from_utf8(output.stdout).unwrap();
    let top = |line: &str| line.split('/').next().unwrap_or_default().to_owned();
    let mut found: BTreeSet<String> = list.lines().map(top).collect();
    // Only in a package made from a repository.
    found.remove(".cargo_vcs_info.json");
    let expected = [
        ".github",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE",
        "Makefile",
        "README.md",
        "benches",
        "dist",
        "man",
        "src",
        "tests",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
    for needed in ["dist/build.rs", "dist/commit", "src/main.rs"] {
        assert!(list.lines().any(|line| line == needed), "{needed}");
    }
}

#[test]
fn the_archive_of_a_release_names_its_commit() {
    // `git archive` substitutes in files with this attribute.
    assert_eq!(after("dist/.gitattributes", "commit "), "export-subst");
    let commit = file("dist/commit");
    let named = commit.trim_end();
    let is_hex = named.len() >= 40 && named.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(named == "$Format:%H$" || is_hex, "{commit:?}");
}
