//! Optional parts of a build, and errors for settings that need a missing one.

use super::settings::{KEYS, Settings};

/// An optional part: a Cargo feature.
#[derive(Debug)]
pub struct Feature {
    /// Its name, that of the Cargo feature.
    pub name: &'static str,
    /// Description for messages.
    pub what: &'static str,
    /// Whether this build has it.
    pub present: bool,
    /// Returns the first key that requires the part. Keys that only prepare for it (an interface, a facility,
    /// a switch that is off) do not require it, so that configurations that do not use the part work with all
    /// builds.
    asked_by: fn(&Settings) -> Option<&'static str>,
}

/// All optional parts, sorted by name.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: "mdns",
        what: "discovery with mDNS",
        present: cfg!(feature = "mdns"),
        asked_by: |settings| (!settings.discover.is_empty()).then_some("discover"),
    },
    Feature {
        name: "syslog",
        what: "logging to syslog",
        present: cfg!(feature = "syslog"),
        asked_by: |settings| (settings.enable_syslog == Some(true)).then_some("enable_syslog"),
    },
    Feature {
        name: "telemetry",
        what: "telemetry",
        present: cfg!(feature = "telemetry"),
        asked_by: |settings| {
            let said = |text: &str, key| (!text.is_empty()).then_some(key);
            said(&settings.statsd_addr, "statsd_addr")
                .or(said(&settings.statsite_addr, "statsite_addr"))
        },
    },
];

/// Returns the part that the flag belongs to, if this build lacks it.
pub fn missing_for_flag(flag: &str) -> Option<&'static Feature> {
    let key = KEYS.iter().find(|key| key.flag == flag)?;
    let mut missing = FEATURES.iter().filter(|feature| !feature.present);
    missing.find(|feature| feature.name == key.feature)
}

/// Refuses settings that require a part that this build lacks. Otherwise the agent would run without it, and
/// nobody would notice.
///
/// # Errors
/// If a part is missing; returns the text to print.
pub(in crate::agent) fn check(settings: &Settings) -> Result<(), String> {
    for feature in FEATURES.iter().filter(|feature| !feature.present) {
        let Some(asked) = (feature.asked_by)(settings) else {
            continue;
        };
        let mut keys = KEYS.iter();
        let flag = keys
            .find(|key| key.name == asked)
            .map_or("", |key| key.flag);
        let flag = match flag {
            "" => String::new(),
            flag => format!(" (-{flag})"),
        };
        return Err(format!(
            "This build of cottar has no {}: '{asked}'{flag} cannot be used. \
             Omit it, or use a build with the feature '{}'; 'cottar version' lists the features of a build",
            feature.what, feature.name
        ));
    }
    Ok(())
}

/// Returns the names of the parts in this build, each after a blank; ` none` if there are none.
pub fn present() -> String {
    let mut text = String::new();
    for feature in FEATURES.iter().filter(|feature| feature.present) {
        text.push(' ');
        text.push_str(feature.name);
    }
    if text.is_empty() {
        text.push_str(" none");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::config::AgentConfig;

    #[test]
    fn the_table_is_sorted_and_its_keys_exist() {
        assert!(FEATURES.is_sorted_by_key(|feature| feature.name));
        let is_known =
            |name: &str| name.is_empty() || FEATURES.iter().any(|feature| feature.name == name);
        assert!(KEYS.iter().all(|key| is_known(key.feature)));
        for feature in FEATURES {
            assert_eq!((feature.asked_by)(&Settings::default()), None);
            assert!(KEYS.iter().any(|key| key.feature == feature.name));
        }
    }

    #[test]
    fn what_asks_for_a_missing_part_is_refused_and_nothing_else() {
        for (feature, key, text) in [
            ("mdns", "'discover' (-discover)", r#"{"discover": "x"}"#),
            (
                "syslog",
                "'enable_syslog' (-syslog)",
                r#"{"enable_syslog": true}"#,
            ),
            (
                "telemetry",
                "'statsd_addr' cannot",
                r#"{"statsd_addr": "x"}"#,
            ),
            (
                "telemetry",
                "'statsite_addr' cannot",
                r#"{"statsite_addr": "x"}"#,
            ),
        ] {
            let (mut settings, _) = crate::agent::config::decode(text.as_bytes()).unwrap();
            settings.node_name = "n1".into();
            let present = FEATURES.iter().find(|f| f.name == feature).unwrap().present;
            match AgentConfig::check(&settings, b"host") {
                Ok(_) => assert!(present, "{text}"),
                Err(refused) => {
                    assert!(!present, "{text}: {}", refused.error);
                    assert!(refused.error.contains(key), "{}", refused.error);
                    assert!(refused.error.contains(&format!("feature '{feature}'")));
                }
            }
        }
        let (quiet, _) = crate::agent::config::decode(
            br#"{"node_name": "n1", "discover": "", "mdns": {"disable_ipv4": true},
                 "enable_syslog": false, "syslog_facility": "LOCAL3", "statsd_addr": ""}"#,
        )
        .unwrap();
        assert!(AgentConfig::check(&quiet, b"host").is_ok());
    }

    #[test]
    fn flags_know_their_part() {
        for (flag, feature) in [
            ("discover", "mdns"),
            ("mdns-iface", "mdns"),
            ("syslog", "syslog"),
        ] {
            let present = FEATURES.iter().find(|f| f.name == feature).unwrap().present;
            let missing = missing_for_flag(flag).map(|feature| feature.name);
            assert_eq!(missing, (!present).then_some(feature), "{flag}");
        }
        assert!(missing_for_flag("node").is_none());
    }
}
