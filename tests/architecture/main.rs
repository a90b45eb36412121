//! Checks that read the sources: which modules use which, what they must not name, and how they are written.
//! Comments, string literals and test modules count only where a check says so.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod arrows;
mod boundaries;
mod guide;
mod lengths;
mod links;
mod papers;
mod paths;
mod tokens;
mod unsafe_code;
mod versions;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{tokens, without_tests};

/// The only folder that may contain `unsafe`.
const UNSAFE_FOLDER: &str = "src/os/sys/";

/// `src/swim/table.rs` becomes `["swim", "table"]`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(
        module.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        module.pop();
    }
    module
}

fn read(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    files.sort();
    files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            (name.to_owned(), fs::read_to_string(file).unwrap())
        })
        .collect()
}

fn sources() -> Vec<(String, String)> {
    read("src")
}

/// Returns the files that are compiled only for tests, according to their declarations.
fn test_files(sources: &[(String, String)]) -> BTreeSet<String> {
    let mut test_files = BTreeSet::new();
    for (file, source) in sources {
        let folder = match file.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => file.trim_end_matches(".rs").to_owned(),
        };
        let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for name in without_tests(&tokens(source)).1 {
            test_files.insert(format!("{folder}/{name}.rs"));
            // Including its submodules.
            let below = format!("{folder}/{name}/");
            let files = sources.iter().map(|(file, _)| file);
            test_files.extend(files.filter(|file| file.starts_with(&below)).cloned());
            // With a path attribute, files are relative to the declaring file.
            let stem = file.trim_end_matches(".rs").rsplit('/').next().unwrap();
            test_files.insert(format!("{beside}/{stem}_{name}.rs"));
        }
    }
    test_files
}

#[test]
fn test_modules_in_files_of_their_own_are_known() {
    let sources = [
        ("src/a/mod.rs", "#[cfg(test)] mod tests; mod b;"),
        (
            "src/a/b.rs",
            "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;",
        ),
        ("src/a/tests/mod.rs", "mod c;"),
        ("src/a/tests/c.rs", ""),
    ];
    let sources = sources.map(|(file, source)| (file.to_owned(), source.to_owned()));
    let exempt = test_files(&sources);
    assert!(exempt.contains("src/a/tests.rs") && exempt.contains("src/a/b_tests.rs"));
    assert!(exempt.contains("src/a/tests/mod.rs") && exempt.contains("src/a/tests/c.rs"));
    assert!(!exempt.contains("src/a/b.rs"));
}
