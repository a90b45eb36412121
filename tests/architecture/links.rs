//! Comments name nothing in higher layers, so that a lower layer can be read alone.

use regex_lite::Regex;

use super::boundaries::MODULES;
use super::papers::comments;
use super::{module_of, sources};
use crate::arrows::climbs;

/// Returns the paths in code spans of comments that lead to modules which this file may not use.
fn upward(file: &str, source: &str) -> Vec<String> {
    let path = Regex::new(r"`(?:crate::)?([a-z_]+(?:::[A-Za-z_]+)+)").unwrap();
    let module = module_of(file);
    let top = module.first().cloned().unwrap_or_default();
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == top) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (line, text) in comments(source) {
        for cited in path.captures_iter(&text).map(|found| found[1].to_owned()) {
            let target: Vec<String> = cited.split("::").map(str::to_owned).collect();
            let is_module = MODULES.iter().any(|(name, _)| *name == target[0]);
            let is_above = target[0] != top && !allowed.contains(&&*target[0]);
            if is_module && is_above || climbs(&module, &target) {
                found.push(format!("{file}:{line}: `{cited}`"));
            }
        }
    }
    found
}

#[test]
fn no_comment_names_what_is_above_it() {
    let sources = sources();
    let files = sources.iter();
    let found: Vec<_> = files
        .flat_map(|(file, source)| upward(file, source))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn an_upward_link_is_found() {
    for (file, source, is_upward) in [
        ("src/handler/x.rs", "//! `agent::child` runs it.", true),
        ("src/handler/x.rs", "/// See [`crate::rpc::Request`].", true),
        ("src/rng.rs", "fn f() {} // As `wire::Key` has it.", true),
        ("src/agent/net/x.rs", "//! For `agent::run::Agent`.", true),
        ("src/agent/run/x.rs", "//! From `agent::net::Lost`.", false),
        ("src/handler/x.rs", "/// As [`crate::serf::Event`].", false),
        (
            "src/handler/x.rs",
            "/// A `moment::Moment`, `std::io`.",
            false,
        ),
        ("src/handler/x.rs", "let agent = \"`agent::run`\";", false),
        ("src/lib.rs", "//! `agent::net` → `wire`", false),
    ] {
        let found = upward(file, source);
        assert_eq!(!found.is_empty(), is_upward, "{file}: {source}: {found:?}");
    }
}
