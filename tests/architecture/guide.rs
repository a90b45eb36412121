//! Checks the contributors' pages: each path that they name exists, and each make target.

use std::fs;
use std::path::Path;

use regex_lite::Regex;

const PAGES: [&str; 3] = [
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "README.md",
];
const MAKEFILES: [&str; 3] = ["Makefile", "dist/checks.mk", "dist/install.mk"];
/// Beginnings of paths that a page gives in full.
const FOLDERS: &str = "src|tests|man|benches|dist";

/// Returns the paths in a page that do not exist. Those in the tables of what to change may be relative to
/// `src`.
fn missing_paths(page: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let path = Regex::new(&format!(
        r"`((?:{FOLDERS}|agent|cli|handler|os|rpc|serf|swim|wire)/[\w./-]+)`"
    ))
    .unwrap();
    path.captures_iter(page)
        .map(|found| found[1].to_owned())
        .filter(|path| !exists(path) && !exists(&format!("src/{path}")))
        .collect()
}

/// Returns the targets after `make` in a page's code that no makefile has.
fn missing_goals(page: &str, makefiles: &str) -> Vec<String> {
    let goal =
        Regex::new(r"(?m)(?:`|^    |^`?[A-Z_]+=\w+ |`[A-Z_]+=\w+ )make ([a-z][a-z-]*)").unwrap();
    goal.captures_iter(page)
        .map(|found| found[1].to_owned())
        .filter(|goal| {
            let rule = Regex::new(&format!(r"(?m)^(?:[a-z-]+ )*{goal}(?: [a-z-]+)*:")).unwrap();
            !rule.is_match(makefiles)
        })
        .collect()
}

#[test]
fn paths_and_goals_in_the_pages_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let makefiles = MAKEFILES.map(read).concat();
    for name in PAGES {
        let page = read(name);
        // Files that a build creates need not exist yet.
        let exists = |path: &str| root.join(path).exists();
        assert_eq!(missing_paths(&page, exists), [""; 0], "{name}");
        assert_eq!(missing_goals(&page, &makefiles), [""; 0], "{name}");
    }
    assert!(!missing_goals("`make check`", "").is_empty());
}

#[test]
fn missing_paths_and_goals_are_found() {
    let exists = |path: &str| path == "src/cli/table.rs";
    let page = "`cli/table.rs`, `src/cli/table.rs`, `src/cli/tables.rs` and `rpc/x.rs`";
    assert_eq!(
        missing_paths(page, exists),
        ["src/cli/tables.rs", "rpc/x.rs"]
    );
    let page = "Run `make check`, `X=1 make ask` or\n\n    make demo PREFIX=/usr\n";
    assert_eq!(
        missing_goals(page, "check demos: fmt\nall:\n"),
        ["ask", "demo"]
    );
}
