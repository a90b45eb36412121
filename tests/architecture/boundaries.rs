//! Checks which modules use which, and what the core and the agent must not name.

use crate::paths::{Use, uses, within};
use crate::tokens::{tokens, without_tests};
use crate::{UNSAFE_FOLDER, module_of, sources, test_files};

/// A module, and the other modules that it may use. The first ones are the core.
pub const MODULES: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("rng", &["time"]),
    ("ordered", &[]),
    ("json", &[]),
    ("count", &[]),
    ("go", &["time"]),
    ("wire", &["time", "rng", "ordered"]),
    ("swim", &["time", "rng", "ordered", "count", "wire"]),
    (
        "serf",
        &["time", "rng", "ordered", "count", "go", "wire", "swim"],
    ),
    (
        "handler",
        &[
            "time", "rng", "ordered", "count", "go", "json", "wire", "swim", "serf",
        ],
    ),
    ("rpc", &["time", "ordered", "go", "wire", "serf"]),
    ("os", &["time", "wire", "handler"]),
    (
        "agent",
        &[
            "time", "rng", "ordered", "count", "go", "wire", "swim", "serf", "handler", "rpc", "os",
        ],
    ),
    (
        "cli",
        &[
            "time", "rng", "ordered", "count", "go", "json", "wire", "swim", "serf", "handler",
            "rpc", "os", "agent",
        ],
    ),
];

const SHELL: &[&str] = &["os", "agent", "cli"];

/// Additional restrictions: items of another module that a module may not use.
const CLOSED: &[(&str, &str)] = &[("swim", "crate::wire::serf")];

/// Words that only the layer above SWIM may use, since SWIM carries opaque bytes. Parts of names, in the
/// singular.
const SERF_WORDS: &[&str] = &[
    "coalesce", "event", "intent", "lamport", "query", "serf", "tag",
];

/// Each instantiation of the standard library's trees costs several kilobytes of machine code; the crate's
/// own collections cost a few hundred bytes.
const TREES: &[&str] = &["BTreeMap", "BTreeSet"];

/// Names that the core must not contain.
const CORE_WORDS: &[&str] = &[
    "DefaultHasher",
    "HashMap",
    "HashSet",
    "RandomState",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "eprint",
    "eprintln",
    "print",
    "println",
    "thread_local",
];

/// Packages that only the shell may use.
const SHELL_PACKAGES: &[&str] = &[
    "env_logger",
    "getrandom",
    "lexopt",
    "libc",
    "mio",
    "signal_hook",
];

/// Paths that the core must not use, including everything below them.
const CORE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
];

/// The only file that may read the clocks, besides the system calls that it uses.
const CLOCK_FILE: &str = "src/os/clock.rs";

/// Names that read a clock or lead to one.
const CLOCK_WORDS: &[&str] = &["SystemTime", "UNIX_EPOCH", "monotonic_micros"];

const CLOCK_PATHS: &[&str] = &["std::time::Instant", "std::time::*"];

/// Paths from which the core must not import by glob, since that would hide what it uses.
const CORE_GLOBS: &[&str] = &[
    "std",
    "std::collections",
    "std::io",
    "std::net",
    "std::time",
];

/// The place of a file, in the terms of the rules.
struct Place<'a> {
    /// The module below the crate's root.
    top: &'a str,
    in_core: bool,
    has_unsafe: bool,
    reads_clock: bool,
}

impl<'a> Place<'a> {
    fn of(file: &str, module: &'a [String]) -> Self {
        let top = module.first().map_or("", String::as_str);
        let has_unsafe = file.starts_with(UNSAFE_FOLDER);
        Place {
            top,
            in_core: is_known(top) && !SHELL.contains(&top),
            has_unsafe,
            reads_clock: has_unsafe || file == CLOCK_FILE,
        }
    }
}

fn is_known(module: &str) -> bool {
    MODULES.iter().any(|(name, _)| *name == module)
}

/// Returns what is wrong with a word at this place.
fn wrong_with_word(place: &Place, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    if word == "unsafe" && !place.has_unsafe {
        found.push("unsafe outside of the one folder for it".into());
    }
    if TREES.contains(&word) {
        found.push(format!("{word} where crate::ordered is smaller"));
    }
    if place.top == "swim" && is_serfs(word) {
        found.push(format!("swim names {word}"));
    }
    if CLOCK_WORDS.contains(&word) && !place.reads_clock {
        found.push(format!("{word} outside of {CLOCK_FILE}"));
    }
    if word == "display" && is_known(place.top) {
        found.push("Path::display replaces bytes: os::error::shown escapes them".into());
    }
    if place.in_core && CORE_WORDS.contains(&word) {
        found.push(format!("the core names {word}"));
    }
    found
}

/// Returns what is wrong with a path that is used at this place.
fn wrong_with_path(place: &Place, path: &str) -> Vec<String> {
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == place.top) else {
        return Vec::new();
    };
    let top = place.top;
    let mut found = Vec::new();
    let mut segments = path.split("::");
    let (first, second) = (segments.next().unwrap_or_default(), segments.next());
    if first == "crate" {
        let used = second.unwrap_or_default();
        if used == "*" {
            found.push("everything of the package is taken".into());
        }
        if is_known(used) && used != top && !allowed.contains(&used) {
            found.push(format!("{top} uses {used}"));
        }
    }
    for (from, closed) in CLOSED {
        if *from == top && within(path, closed) {
            found.push(format!("{top} uses {closed}"));
        }
    }
    if !place.reads_clock && CLOCK_PATHS.iter().any(|stem| within(path, stem)) {
        found.push(format!("{path} outside of {CLOCK_FILE}"));
    }
    if place.in_core {
        if SHELL_PACKAGES.contains(&first) && second.is_some() {
            found.push(format!("the core uses {first}"));
        }
        if CORE_PATHS.iter().any(|stem| within(path, stem)) {
            found.push(format!("the core uses {path}"));
        }
        let all_of = path.strip_suffix("::*");
        if let Some(stem) = all_of.filter(|stem| CORE_GLOBS.contains(stem)) {
            found.push(format!("the core takes all of {stem}"));
        }
    }
    found
}

/// Returns the violations in a file, each with its line.
fn breaches(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let place = Place::of(file, &module);
    let (tokens, _) = without_tests(&tokens(source));
    let mut found = Vec::new();
    for (line, token) in &tokens {
        let wrong = token.word().map(|word| wrong_with_word(&place, word));
        let wrong = wrong.into_iter().flatten();
        found.extend(wrong.map(|what| format!("{file}:{line}: {what}")));
    }
    for Use { line, path } in uses(&tokens, &module) {
        let wrong = wrong_with_path(&place, &path).into_iter();
        found.extend(wrong.map(|what| format!("{file}:{line}: {what}")));
    }
    found
}

/// Whether a name has a part of [`SERF_WORDS`], as in `UserEvent`, `event_queue` or `QUERIES`.
fn is_serfs(name: &str) -> bool {
    let mut parts = vec![String::new()];
    for (index, c) in name.char_indices() {
        let after_small = name[..index].ends_with(|before: char| before.is_lowercase());
        if c == '_' || c.is_uppercase() && after_small {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| c != '_') {
            part.extend(c.to_lowercase());
        }
    }
    parts.iter().any(|part| {
        let singular = match part.strip_suffix("ies") {
            Some(stem) => format!("{stem}y"),
            None => part.trim_end_matches('s').to_owned(),
        };
        SERF_WORDS.contains(&&*singular)
    })
}

#[test]
fn the_sources_keep_the_rules() {
    let sources = sources();
    let exempt = test_files(&sources);
    let breaches: Vec<String> = sources
        .iter()
        .filter(|(file, _)| !exempt.contains(file))
        .flat_map(|(file, source)| breaches(file, source))
        .collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
    // Guards against a checker that does not find the core.
    for module in ["time", "rng", "wire", "swim", "serf"] {
        let seen = sources
            .iter()
            .any(|(file, _)| module_of(file)[..] == [module]);
        assert!(seen, "no source of {module}");
    }
}

/// Files that each break a rule.
const BREACHES: &[(&str, &str)] = &[
    ("src/wire/x.rs", "use crate::swim::Swim;"),
    ("src/wire/x.rs", "use crate::{rng::Rng, serf};"),
    ("src/wire/mod.rs", "fn f() { super::swim::f() }"),
    (
        "src/wire/a/b.rs",
        "fn f() { super::super::super::swim::f() }",
    ),
    ("src/wire/x.rs", "mod m { use super::super::super::swim; }"),
    ("src/swim/x.rs", "pub(crate) use crate::serf::Tags as T;"),
    ("src/swim/x.rs", "use crate::wire::serf::Tags;"),
    ("src/swim/x.rs", "use crate::wire::{limits, serf::{Tags}};"),
    ("src/swim/x.rs", "enum Sample { Event(u8) }"),
    ("src/swim/x.rs", "fn f(queries: u8) {}"),
    ("src/swim/x.rs", "struct UserEvent;"),
    ("src/swim/x.rs", "const INTENT_QUEUE: u8 = 0;"),
    ("src/serf/x.rs", "type A = crate::handler::Queue;"),
    ("src/handler/x.rs", "use crate::agent::net;"),
    ("src/handler/x.rs", "use crate::*;"),
    ("src/rpc.rs", "use crate::cli::flags;"),
    ("src/agent/x.rs", "fn f() { path.display() }"),
    ("src/rpc/x.rs", "use crate::swim::Node;"),
    ("src/agent/x.rs", "use crate::cli;"),
    ("src/swim/x.rs", "use std::fs;"),
    ("src/swim/x.rs", "use std::{sync::Arc, fs::File};"),
    ("src/swim/x.rs", "use std::{io::{self, stdout}};"),
    ("src/swim/x.rs", "fn f() { ::std::thread::sleep(d) }"),
    ("src/swim/x.rs", "fn f() -> String { std::env::var(n) }"),
    ("src/swim/x.rs", "use std::process::{Command, Stdio};"),
    ("src/time.rs", "use std::time::{Duration, Instant};"),
    ("src/time.rs", "use std::time::*;"),
    ("src/rng.rs", "use std::time::SystemTime;"),
    ("src/rng.rs", "fn f() { getrandom::getrandom(b) }"),
    (
        "src/wire/x.rs",
        "use std::collections::{VecDeque, HashMap};",
    ),
    ("src/wire/x.rs", "use std::collections::*;"),
    ("src/wire/x.rs", "use std::collections::BTreeMap;"),
    (
        "src/cli/x.rs",
        "fn f() { std::collections::BTreeSet::new(); }",
    ),
    ("src/main.rs", "type A = BTreeMap<u8, u8>;"),
    ("src/ordered/x.rs", "use crate::time::Instant;"),
    (
        "src/wire/x.rs",
        "fn f(s: &'a str) { let c = '\"'; HashSet::new(); }",
    ),
    ("src/wire/x.rs", "use std::net::{IpAddr, TcpStream};"),
    ("src/serf/x.rs", "use mio::net::UdpSocket;"),
    ("src/serf/x.rs", "fn f() { libc::getpid(); }"),
    ("src/serf/x.rs", "fn f() { println!(\"x\") }"),
    (
        "src/serf/x.rs",
        "#[cfg(test)] mod t { fn g() {} } fn f() { std::process::abort() }",
    ),
    (
        "src/serf/x.rs",
        "#[cfg(test)] use a::{b}; fn f() { std::process::abort() }",
    ),
    (
        "src/serf/x.rs",
        "/* a /* b */ c */ r#\"\"#; fn f() { std::process::abort() }",
    ),
    ("src/agent/x.rs", "fn f() { std::time::Instant::now(); }"),
    ("src/cli/x.rs", "use std::time::{Duration, Instant};"),
    ("src/os/signals.rs", "use std::time::*;"),
    ("src/agent/x.rs", "use std::time::SystemTime as T;"),
    ("src/agent/x.rs", "use crate::os::sys::monotonic_micros;"),
    ("src/agent/net.rs", "fn f() { unsafe { g() } }"),
    ("src/os/sys.rs", "fn f() { unsafe { g() } }"),
    ("src/main.rs", "unsafe fn f() {}"),
];

#[test]
fn a_breach_is_found() {
    for (file, source) in BREACHES {
        assert!(!breaches(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (file, source) in [
        ("src/swim/x.rs", "use crate::wire::{self, limits, Message};"),
        (
            "src/cli/x.rs",
            "#[cfg(test)]\nuse std::collections::BTreeMap;",
        ),
        ("src/rpc/x.rs", "use crate::ordered::OrderedMap;"),
        (
            "src/cli/x.rs",
            "use std::time::Duration; use crate::time::Instant;",
        ),
        ("src/os/clock.rs", "use std::time::{Instant, SystemTime};"),
        (
            "src/swim/x.rs",
            "// use std::fs;\n/* HashMap */ /// TcpStream\nfn f() {}",
        ),
        (
            "src/swim/x.rs",
            "const A: &str = \"std::fs \\\" HashMap\"; const B: char = '\\'';",
        ),
        (
            "src/swim/x.rs",
            "const A: &str = r#\"crate::agent \" unsafe\"#;",
        ),
        ("src/swim/x.rs", "fn f(stage: Stage, serve: u8) {}"),
        ("src/serf/x.rs", "fn f() { VersionVector::serf(4); }"),
        (
            "src/swim/x.rs",
            "use crate::time::{Duration, Instant}; use std::net::SocketAddr;",
        ),
        (
            "src/swim/x.rs",
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use std::fs; }",
        ),
        (
            "src/swim/x.rs",
            "use super::{table, super::wire::NodeName};",
        ),
        (
            "src/wire/mod.rs",
            "pub mod serf; mod m { use super::serf; }",
        ),
        (
            "src/serf/x.rs",
            "#![forbid(unsafe_code)] fn f(process: u8) { process.env() }",
        ),
        ("src/os/sys/x.rs", "fn f() { unsafe { libc::kill(1, 2) } }"),
        (
            "src/agent/net.rs",
            "use std::{fs, net::TcpStream}; use mio::Poll;",
        ),
    ] {
        assert_eq!(breaches(file, source), [""; 0], "{file}: {source}");
    }
}
