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

/// Returns the violations in a file, each with its line.
fn breaches(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let top = module.first().cloned().unwrap_or_default();
    let (tokens, _) = without_tests(&tokens(source));
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| found.push(format!("{file}:{line}: {what}"));
    for (line, token) in &tokens {
        if token.word() == Some("unsafe") && !file.starts_with(UNSAFE_FOLDER) {
            report(*line, "unsafe outside of the one folder for it".into());
        }
        if let Some(tree) = token.word().filter(|word| TREES.contains(word)) {
            report(*line, format!("{tree} where crate::ordered is smaller"));
        }
    }
    if top == "swim" {
        for (line, token) in &tokens {
            if let Some(word) = token.word().filter(|word| is_serfs(word)) {
                report(*line, format!("swim names {word}"));
            }
        }
    }
    let reads_clock = file == CLOCK_FILE || file.starts_with(UNSAFE_FOLDER);
    if !reads_clock {
        for (line, token) in &tokens {
            if let Some(word) = token.word().filter(|word| CLOCK_WORDS.contains(word)) {
                report(*line, format!("{word} outside of {CLOCK_FILE}"));
            }
        }
    }
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == top) else {
        return found;
    };
    let core = !SHELL.contains(&&*top);
    for (line, _) in tokens.iter().filter(|(_, t)| t.word() == Some("display")) {
        report(
            *line,
            "Path::display replaces bytes: os::error::shown escapes them".into(),
        );
    }
    if core {
        for (line, token) in &tokens {
            match token.word() {
                Some(word) if CORE_WORDS.contains(&word) => {
                    report(*line, format!("the core names {word}"));
                }
                _ => {}
            }
        }
    }
    for Use { line, path } in uses(&tokens, &module) {
        let mut segments = path.split("::");
        let (first, second) = (segments.next().unwrap_or_default(), segments.next());
        if first == "crate" {
            let used = second.unwrap_or_default();
            if used == "*" {
                report(line, "everything of the package is taken".into());
            }
            let known = MODULES.iter().any(|(name, _)| *name == used);
            if known && used != top && !allowed.contains(&used) {
                report(line, format!("{top} uses {used}"));
            }
        }
        for (from, closed) in CLOSED {
            if *from == top && within(&path, closed) {
                report(line, format!("{top} uses {closed}"));
            }
        }
        if !reads_clock && CLOCK_PATHS.iter().any(|stem| within(&path, stem)) {
            report(line, format!("{path} outside of {CLOCK_FILE}"));
        }
        if !core {
            continue;
        }
        if SHELL_PACKAGES.contains(&first) && second.is_some() {
            report(line, format!("the core uses {first}"));
        }
        if CORE_PATHS.iter().any(|stem| within(&path, stem)) {
            report(line, format!("the core uses {path}"));
        }
        if let Some(stem) = path.strip_suffix("::*") {
            if CORE_GLOBS.contains(&stem) {
                report(line, format!("the core takes all of {stem}"));
            }
        }
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

#[test]
fn a_breach_is_found() {
    for (file, source) in [
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
    ] {
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
