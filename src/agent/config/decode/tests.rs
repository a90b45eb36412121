use super::*;
use crate::agent::config::parse_handlers;
use crate::time::Duration;

fn read(text: &str) -> Settings {
    let (settings, followed) = decode(text.as_bytes()).unwrap();
    assert!(!followed);
    settings
}

fn refused(text: &str) -> String {
    decode(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn every_type_is_read() {
    let settings = read(
        r#"{"node_name": "a", "tags": {"x": "1"}, "start_join": ["b", "c"], "protocol": 4.7,
            "replay_on_join": false, "retry_interval": "1m", "LOG_LEVEL": "debug",
            "mdns": {"Interface": "eth0", "disable_ipv4": true},
            "MsgpackUseNewTimeFormat": 3, "profile": null}"#,
    );
    assert_eq!(settings.node_name, b"a");
    assert_eq!(settings.tags, [(b"x".to_vec(), b"1".to_vec())].into());
    assert_eq!(settings.start_join, ["b", "c"]);
    assert_eq!(settings.protocol, 4);
    assert_eq!(settings.replay_on_join, Some(false));
    assert_eq!(settings.retry_interval, Some(Duration::from_secs(60)));
    assert_eq!(settings.log_level, "debug");
    assert_eq!(settings.mdns_interface, "eth0");
    assert_eq!(settings.mdns_disable_ipv4, Some(true));
    assert_eq!(settings.profile, "");
    assert_eq!(read("null"), Settings::default());
    assert_eq!(read(r#"{"protocol": 1e300}"#).protocol, i64::MAX);
}

#[test]
fn what_is_wrong_is_said_in_the_references_words() {
    let cases = [
        ("", "EOF"),
        (" \n", "EOF"),
        (r#"{"a":"#, "unexpected EOF"),
        ("{bad", "key must be a string at line 1 column 2"),
        ("[]", "'' expected a map, got 'slice'"),
        ("5", "'' expected a map, got 'float64'"),
        (
            r#"{"retry_interval": "5"}"#,
            "time: missing unit in duration \"5\" (key 'retry_interval')",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected, "{text}");
    }
    let keys = [
        (
            r#"{"zed": 1, "nope": 2, "NodeName": ""}"#,
            "'' has invalid keys: NodeName, nope, zed",
        ),
        (r#"{"mdns": {"x": 1}}"#, "'mdns' has invalid keys: x"),
        (r#"{"mdns": "x"}"#, "'mdns' expected a map, got 'string'"),
        (r#"{"tags": ["a"]}"#, "'tags' expected a map, got 'slice'"),
        (
            r#"{"start_join": "x"}"#,
            "'start_join': source data must be an array or slice, got string",
        ),
        (
            r#"{"node_name": {"a": [1, "b"]}}"#,
            "'node_name' expected type 'string', got unconvertible type \
             'map[string]interface {}', value: 'map[a:[1 b]]'",
        ),
        (
            r#"{"tags": {"a": 1}}"#,
            "'tags[a]' expected type 'string', got unconvertible type 'float64', value: '1'",
        ),
        (
            r#"{"protocol": "5"}"#,
            "'protocol' expected type 'int', got unconvertible type 'string', value: '5'",
        ),
        (
            r#"{"retry_interval": 5}"#,
            "'retry_interval' expected type 'string', got unconvertible type 'float64', value: '5'",
        ),
        (
            r#"{"replay_on_join": 1}"#,
            "'replay_on_join' expected type 'bool', got unconvertible type 'float64', value: '1'",
        ),
    ];
    for (text, expected) in keys {
        assert_eq!(
            refused(text),
            format!("1 error(s) decoding:\n\n* {expected}"),
            "{text}"
        );
    }
    assert_eq!(
        refused(r#"{"protocol": true, "start_join": [1], "nope": 1}"#),
        "3 error(s) decoding:\n\n* '' has invalid keys: nope\n\
         * 'protocol' expected type 'int', got unconvertible type 'bool', value: 'true'\n\
         * 'start_join[0]' expected type 'string', got unconvertible type 'float64', value: '1'"
    );
}

#[test]
fn handlers_are_strings_or_objects() {
    let settings =
        read(r#"{"event_handlers": ["user=a", {"run": "b", "name": "x", "hold": "5s"}, null]}"#);
    let places: Vec<_> = settings
        .event_handlers
        .iter()
        .map(|h| &h.place[..])
        .collect();
    assert_eq!(
        places,
        [
            "event_handlers[0]",
            "event_handlers[1] (x)",
            "event_handlers[2]"
        ]
    );
    let handlers = parse_handlers(&settings.event_handlers).unwrap();
    assert_eq!(handlers[1].hold, Duration::from_secs(5));
    let text = r#"{"event_handlers": ["a", {"name": "x"}, {"run": "", "hold": 1}, 5]}"#;
    assert_eq!(
        refused(text),
        "3 error(s) decoding:\n\n* 'event_handlers[1] (x)' key 'run': missing: a handler needs \
         'run' or 'exec'\n* 'event_handlers[2]' key 'hold': must be a duration such as \"10s\"\n\
         * 'event_handlers[3]' expected type 'string', got unconvertible type 'float64', value: '5'"
    );
    let twice = r#"{"event_handlers": [{"run": "a", "name": "x"}, {"run": "b", "name": "x"}]}"#;
    assert_eq!(
        parse_handlers(&read(twice).event_handlers).unwrap_err(),
        "Invalid event handler: event_handlers[1] (x): key 'name': already used by event_handlers[0] (x)"
    );
}

#[test]
fn comments_are_passed_over_outside_of_strings() {
    let settings = read(
        "# one line \" { \\\n{ // to the end \" of it\n\"rpc_auth\": \"#a//b\\\"#\\\\\", // \r\n\
         #\"rpc_addr\": \"no\",\n\t\"node_name\"://\n\"n\"#}\n}//\n# end",
    );
    assert_eq!(settings.rpc_auth, "#a//b\"#\\");
    assert!(settings.rpc_addr.is_empty());
    assert_eq!(settings.node_name, b"n");
    assert_eq!(read("{}#"), Settings::default());
    // Neither a single slash nor a C comment is a comment.
    for text in ["{/}", "{ /* */ }", "{} / x"] {
        let is_plain = decode(text.as_bytes()).is_ok_and(|(_, followed)| !followed);
        assert!(!is_plain, "{text}");
    }
    // Line and column of an error are those in the file.
    let why = refused("{ # comment\n// more\n  \"a\": oops}");
    assert!(why.ends_with("at line 3 column 8"), "{why}");
}

#[test]
fn files_of_other_systems_are_read_or_named() {
    let text = "\u{feff}{\r\n\"node_name\": \"n\"\r\n}\r\n";
    assert_eq!(read(text).node_name, b"n");
    assert_eq!(refused("\u{feff}"), "EOF");
    for mark in [b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"] {
        let why = decode(mark).unwrap_err().to_string();
        assert_eq!(why, "it is UTF-16 instead of UTF-8");
    }
}

#[test]
fn trailing_data_is_reported() {
    for (text, expected) in [("{} \n", false), ("{} x", true), ("{}{}", true)] {
        assert_eq!(decode(text.as_bytes()).unwrap().1, expected, "{text}");
    }
}

#[test]
fn hostile_input_never_panics() {
    let deep = "[".repeat(100_000);
    for text in [deep.as_bytes(), b"\xff\xfe{}", b"{\"a\xff\": 1}", b"\0"] {
        assert!(decode(text).is_err());
    }
}
