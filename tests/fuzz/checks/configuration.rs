//! Texts that an administrator writes: configuration files, headers of handlers, handler specifications,
//! keys.

use cottar::agent::config::{self, AgentConfig, Settings, parse_handlers};
use cottar::agent::files::key::decode_key;
use cottar::handler::HandlerSettings;
use cottar::handler::header::read_header;

use super::input;
use crate::supply::peak_bytes;

/// The input is a byte for the kind of text, then the text.
pub fn check(input: &[u8]) {
    let Some((&kind, text)) = input.split_first() else {
        return;
    };
    let (peak, ()) = peak_bytes(|| match kind % 4 {
        0 => file(text),
        1 => handler(text),
        2 => header(text),
        _ => drop(decode_key(&String::from_utf8_lossy(text))),
    });
    // A compiled expression in `where` may take 256 KiB.
    let budget = (512 << 10) + 400 * text.len();
    assert!(peak < budget, "{peak} of {budget} bytes held");
}

fn file(text: &[u8]) {
    let settings = match config::decode(text) {
        Ok((settings, _)) => settings,
        Err(why) => return assert!(!why.to_string().is_empty()),
    };
    // Merging keys over defaults, in either order, must not change them.
    let merged = Settings::default().merged(settings.clone());
    assert_eq!(merged, settings);
    assert_eq!(Settings::default().overruled_by(settings.clone()), settings);
    assert!(settings.changed_keys(&settings).is_empty());
    if let Err(why) = parse_handlers(&settings.event_handlers) {
        assert!(!why.is_empty());
    }
    if let Err(refused) = AgentConfig::check(&settings, b"host") {
        assert!(!refused.error.is_empty());
    }
}

fn handler(text: &[u8]) {
    if let Ok(settings) = HandlerSettings::from_text(text) {
        let _ = (settings.filter(), settings.action.base_name());
    }
}

fn header(text: &[u8]) {
    if let Ok(pairs) = read_header(text) {
        for (key, value) in pairs {
            assert!(!key.contains('\n') && !value.contains('\n'));
        }
    }
}

/// Returns files with every kind of value, and handlers in both forms.
pub fn corpus() -> Vec<Vec<u8>> {
    let keys = config::settings::KEYS.iter().map(|key| {
        let value = match key.type_name() {
            kind if kind.contains("number") => "5",
            kind if kind.contains("bool") || kind.contains("switch") => "true",
            kind if kind.contains("list") => "[\"a\"]",
            kind if kind.contains("map") || kind.contains("object") => "{\"a\": \"b\"}",
            _ => "\"5s\"",
        };
        let text = match key.name.split_once('.') {
            Some((object, key)) => format!("{{\"{object}\": {{\"{key}\": {value}}}}}"),
            None => format!("{{\"{}\": {value}}}", key.name),
        };
        input(0, text.as_bytes())
    });
    let files = [
        r#"{"node_name": "a", "tags": {"x": "1"}, "start_join": ["b", "c"], "protocol": 4.7,
            "replay_on_join": false, "retry_interval": "1m", "LOG_LEVEL": "debug", // comment
            "mdns": {"Interface": "eth0", "disable_ipv4": true}, "profile": null} # end"#,
        r#"{"event_handlers": ["user:deploy=./x", {"run": "b", "name": "x", "hold": "5s", "on":
            ["member-join"], "where": {"role": "web"}, "retry": 3, "timeout": "1m"}, null]}"#,
        "\u{feff}{}",
    ]
    .map(|text| input(0, text.as_bytes()));
    let handlers =
        ["member-join,user:deploy=./x", "*=echo a=b", "echo"].map(|text| input(1, text.as_bytes()));
    let headers = [
        "#!/bin/sh\n# cottar: on=user settle=2s\n# cottar: where.role=\"a b\"\n\necho",
        "// cottar: input=json",
    ]
    .map(|text| input(2, text.as_bytes()));
    let key = input(3, b"T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=");
    keys.chain(files)
        .chain(handlers)
        .chain(headers)
        .chain([key])
        .collect()
}
