//! Optional features: what a build contains, what it reports, and its errors when a missing feature is
//! requested.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod live;

use std::process::Command;

use live::{Agent, COTTAR, arg, refused};

/// Each feature, whether this build has it, its flag, and a configuration file that requests it.
const FEATURES: [(&str, bool, &[&str], &str); 3] = [
    (
        "mdns",
        cfg!(feature = "mdns"),
        &["-discover=features"],
        r#"{"discover": "features"}"#,
    ),
    (
        "syslog",
        cfg!(feature = "syslog"),
        &["-syslog"],
        r#"{"enable_syslog": true}"#,
    ),
    (
        "telemetry",
        cfg!(feature = "telemetry"),
        &[],
        r#"{"statsd_addr": "127.0.0.1:9"}"#,
    ),
];

fn printed(args: &[&str]) -> String {
    let output = Command::new(COTTAR).args(args).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn version_lists_the_included_features() {
    let present = FEATURES.iter().filter(|(_, present, ..)| *present);
    let mut names: Vec<_> = present.map(|(name, ..)| *name).collect();
    if names.is_empty() {
        names.push("none");
    }
    let line = format!("\nFeatures: {}\n", names.join(" "));
    assert!(printed(&["version"]).contains(&line));
}

#[test]
fn help_names_the_excluded_features() {
    let help = printed(&["agent", "-help"]);
    let after = |flag: &str| {
        let from = help.find(&format!("\n  -{flag}")).unwrap();
        let text = &help[from..];
        text[..text.find("\n\n").unwrap_or(text.len())].to_owned()
    };
    let mdns = [
        "discover",
        "mdns-disable-ipv4",
        "mdns-disable-ipv6",
        "mdns-iface",
    ];
    for flag in mdns {
        assert_eq!(after(flag).contains("Not in this"), !cfg!(feature = "mdns"));
    }
    assert_eq!(
        after("syslog").contains("Not in this"),
        !cfg!(feature = "syslog")
    );
    assert!(!after("node").contains("Not in this"));
}

#[test]
fn excluded_features_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, present, flags, key) in FEATURES {
        if present {
            continue;
        }
        let file = folder.path().join(name);
        std::fs::write(&file, key).unwrap();
        let from_file = ["-config-file", arg(&file)];
        for line in [flags, &from_file] {
            if line.is_empty() {
                continue;
            }
            let (status, text) = refused(line);
            assert_eq!(status, 1, "{line:?}: {text}");
            assert!(
                text.contains("This build of cottar has no")
                    && text.contains(&format!("the feature '{name}'")),
                "{line:?}: {text}"
            );
        }
    }
}

#[test]
fn settings_that_ask_for_no_feature_suit_every_build() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet");
    let text = r#"{"enable_syslog": false, "syslog_facility": "LOCAL3", "discover": "",
                   "mdns": {"disable_ipv4": true}, "statsd_addr": "", "statsite_addr": ""}"#;
    std::fs::write(&file, text).unwrap();
    let agent = Agent::start(&["-node=quiet", "-config-file", arg(&file)]);
    agent.signal(libc::SIGUSR1);
    if !cfg!(feature = "telemetry") {
        agent.wait_for("This build has no telemetry");
    }
    assert!(agent.sees("quiet", "alive"));
    // A reload that requests a missing feature changes nothing.
    if let Some((_, _, _, key)) = FEATURES.iter().find(|(_, present, ..)| !present) {
        std::fs::write(&file, key).unwrap();
        agent.reload("This build of cottar has no");
        assert!(agent.sees("quiet", "alive"));
    }
    assert_eq!(agent.end(libc::SIGINT), 0);
}
