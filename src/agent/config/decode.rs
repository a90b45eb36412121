//! One configuration file's text (agent spec 4.2, 4.3).

use std::fmt;

use serde_json::{Map, Value};

use super::handlers::HandlerEntry;
use super::settings::{KEYS, Key, Settings, Slot, check_number, parse_time};
use crate::agent::files::without_mark;
use crate::ordered::sort_by;

/// Why a file cannot be used, in the reference's words where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It is no JSON.
    Syntax(String),
    /// It is JSON, but of another type than an object; the type.
    NoObject(&'static str),
    /// Keys that nobody knows, and values of the wrong type; a line each.
    Keys(Vec<String>),
    /// A time that cannot be read: why, and the key.
    Time(String, &'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Syntax(why) => f.write_str(why),
            DecodeError::NoObject(found) => write!(f, "'' expected a map, got '{found}'"),
            DecodeError::Keys(complaints) => {
                writeln!(f, "{} error(s) decoding:", complaints.len())?;
                complaints
                    .iter()
                    .try_for_each(|complaint| write!(f, "\n* {complaint}"))
            }
            DecodeError::Time(why, key) => write!(f, "{why} (key '{key}')"),
        }
    }
}

/// Reads a file's text: JSON, and comments from `//` or `#` to the end of a line. The flag tells whether anything but blanks follows the first JSON value; that is
/// ignored.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(text: &[u8]) -> Result<(Settings, bool), DecodeError> {
    let text = without_mark(text).map_err(DecodeError::Syntax)?;
    let text = &without_comments(text)[..];
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let value = match values.next() {
        None => return Err(DecodeError::Syntax("EOF".to_owned())),
        Some(Ok(value)) => value,
        Some(Err(error)) if error.is_eof() => {
            return Err(DecodeError::Syntax("unexpected EOF".to_owned()));
        }
        Some(Err(error)) => return Err(DecodeError::Syntax(error.to_string())),
    };
    let rest = text.get(values.byte_offset()..).unwrap_or_default();
    let followed = !rest.iter().all(u8::is_ascii_whitespace);
    let settings = match value {
        Value::Object(entries) => decode_entries(entries)?,
        Value::Null => Settings::default(),
        other => return Err(DecodeError::NoObject(kind_of(&other))),
    };
    Ok((settings, followed))
}

/// Blanks in the place of what stands behind `//` and `#` outside of strings, up to the end of the line: lines
/// and columns in errors stay right.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let (mut is_string, mut is_comment, mut at) = (false, false, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\n' => is_comment = false,
            b'"' if !is_comment => is_string = !is_string,
            // Whatever it is, it ends no string.
            b'\\' if is_string => at += 1,
            b'#' if !is_string => is_comment = true,
            b'/' if !is_string && text.get(at + 1) == Some(&b'/') => is_comment = true,
            _ => {}
        }
        if is_comment {
            if let Some(byte) = text.get_mut(at) {
                *byte = b' ';
            }
        }
        at += 1;
    }
    text
}

fn decode_entries(entries: Map<String, Value>) -> Result<Settings, DecodeError> {
    let mut reading = Reading::default();
    reading.object("", entries);
    let Reading {
        settings,
        unknown,
        mut complaints,
        bad_time,
    } = reading;
    for (object, keys) in unknown {
        complaints.push(format!("'{object}' has invalid keys: {}", keys.join(", ")));
    }
    if !complaints.is_empty() {
        sort_by(&mut complaints, String::cmp);
        return Err(DecodeError::Keys(complaints));
    }
    match bad_time {
        Some((why, key)) => Err(DecodeError::Time(why, key)),
        None => Ok(settings),
    }
}

#[derive(Default)]
struct Reading {
    settings: Settings,
    /// Unknown keys, sorted as all entries come, by the object that they stand in.
    unknown: Vec<(String, Vec<String>)>,
    complaints: Vec<String>,
    bad_time: Option<(String, &'static str)>,
}

impl Reading {
    /// The entries of an object; `prefix` names it, with a dot behind.
    fn object(&mut self, prefix: &str, entries: Map<String, Value>) {
        let mut unknown = Vec::new();
        for (name, value) in entries {
            let full = format!("{prefix}{}", name.to_ascii_lowercase());
            if let Some(key) = KEYS.iter().find(|key| key.name == full) {
                self.value(key, value);
                continue;
            }
            let inner = format!("{full}.");
            if !KEYS.iter().any(|key| key.name.starts_with(&inner)) {
                unknown.push(name);
                continue;
            }
            match value {
                Value::Object(entries) => self.object(&inner, entries),
                Value::Null => {}
                other => {
                    let found = kind_of(&other);
                    self.complaints
                        .push(format!("'{full}' expected a map, got '{found}'"));
                }
            }
        }
        if !unknown.is_empty() {
            let object = prefix.trim_end_matches('.').to_owned();
            self.unknown.push((object, unknown));
        }
    }

    fn value(&mut self, key: &'static Key, value: Value) {
        let complaints = &mut self.complaints;
        match (key.slot(&mut self.settings), value) {
            // As good as not there.
            (_, Value::Null) | (Slot::Ignored, _) => {}
            (Slot::Text(text), Value::String(value)) => *text = value,
            (Slot::Bytes(bytes), Value::String(value)) => *bytes = value.into_bytes(),
            (Slot::Addresses(list), Value::String(value)) => {
                list.extend(Some(value).filter(|value| !value.is_empty()));
            }
            (Slot::Addresses(list), Value::Array(values)) => {
                for (at, value) in values.into_iter().enumerate() {
                    let name = || format!("{}[{at}]", key.name);
                    let address = element(value, name, complaints);
                    list.extend(address.filter(|address| !address.is_empty()));
                }
            }
            (Slot::List(list), Value::Array(values)) => {
                for (at, value) in values.into_iter().enumerate() {
                    let name = || format!("{}[{at}]", key.name);
                    list.extend(element(value, name, complaints));
                }
            }
            (Slot::Paths(list), Value::Array(values)) => {
                for (at, value) in values.into_iter().enumerate() {
                    let name = || format!("{}[{at}]", key.name);
                    list.extend(element(value, name, complaints).map(String::into_bytes));
                }
            }
            (Slot::Handlers(list), Value::Array(values)) => {
                for (at, value) in values.into_iter().enumerate() {
                    if let Value::Object(object) = value {
                        match HandlerEntry::object(at, &object) {
                            Ok(entry) => list.push(entry),
                            Err(faults) => complaints.extend(faults),
                        }
                        continue;
                    }
                    let name = format!("{}[{at}]", key.name);
                    let text = element(value, || name.clone(), complaints);
                    list.extend(text.map(|text| HandlerEntry::in_file(name, text)));
                }
            }
            (Slot::Map(map), Value::Object(entries)) => {
                for (name, value) in entries {
                    let shown = || format!("{}[{name}]", key.name);
                    if let Some(value) = element(value, shown, complaints) {
                        map.insert(name.into_bytes(), value.into_bytes());
                    }
                }
            }
            (Slot::Switch(switch), Value::Bool(value)) => *switch = Some(value),
            (Slot::Number(number), Value::Number(value)) => {
                match check_number(key, whole(&value)) {
                    Ok(value) => *number = value,
                    Err(why) => complaints.push(why),
                }
            }
            (Slot::Duration(time) | Slot::Limit(time), Value::String(value)) => {
                match parse_time(key, &value) {
                    Ok(value) => *time = value.or(*time),
                    Err(why) => self.bad_time = self.bad_time.take().or(Some((why, key.name))),
                }
            }
            (Slot::List(_) | Slot::Paths(_) | Slot::Handlers(_), value) => {
                complaints.push(format!(
                    "'{}': source data must be an array or slice, got {}",
                    key.name,
                    kind_of(&value)
                ));
            }
            (Slot::Map(_), value) => complaints.push(format!(
                "'{}' expected a map, got '{}'",
                key.name,
                kind_of(&value)
            )),
            (slot, value) => {
                let expected = match slot {
                    Slot::Switch(_) => "bool",
                    Slot::Number(_) => "int",
                    _ => "string",
                };
                complaints.push(wrong_type(key.name, expected, &value));
            }
        }
    }
}

/// A text in a list or a map; null counts as an empty one.
fn element(
    value: Value,
    name: impl Fn() -> String,
    complaints: &mut Vec<String>,
) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null => Some(String::new()),
        other => {
            complaints.push(wrong_type(&name(), "string", &other));
            None
        }
    }
}

fn wrong_type(name: &str, expected: &str, value: &Value) -> String {
    let found = match value {
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        other => kind_of(other),
    };
    let shown = show(value);
    format!(
        "'{name}' expected type '{expected}', got unconvertible type '{found}', value: '{shown}'"
    )
}

/// What the reference calls a value's type.
const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// A value in the reference's notation.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let shown: Vec<_> = values.iter().map(show).collect();
            format!("[{}]", shown.join(" "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let shown: Vec<_> = entries.map(|(k, v)| format!("{k}:{}", show(v))).collect();
            format!("map[{}]", shown.join(" "))
        }
        other => other.to_string(),
    }
}

/// Without its fraction; what does not fit is the nearest that does.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: &serde_json::Number) -> i64 {
    let fraction = || number.as_f64().unwrap_or(0.0) as i64;
    number.as_i64().unwrap_or_else(fraction)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        let settings = read(
            r#"{"event_handlers": ["user=a", {"run": "b", "name": "x", "hold": "5s"}, null]}"#,
        );
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
            "3 error(s) decoding:\n\n* 'event_handlers[1] (x)' key 'run': missing: a handler has \
             'run' or 'exec'\n* 'event_handlers[2]' key 'hold': must be a duration such as \"10s\"\n\
             * 'event_handlers[3]' expected type 'string', got unconvertible type 'float64', value: '5'"
        );
        let twice = r#"{"event_handlers": [{"run": "a", "name": "x"}, {"run": "b", "name": "x"}]}"#;
        assert_eq!(
            parse_handlers(&read(twice).event_handlers).unwrap_err(),
            "Invalid event handler: event_handlers[1] (x): key 'name': event_handlers[0] (x) has it, too"
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
        // A single slash is none, nor is what C has.
        for text in ["{/}", "{ /* */ }", "{} / x"] {
            let is_plain = decode(text.as_bytes()).is_ok_and(|(_, followed)| !followed);
            assert!(!is_plain, "{text}");
        }
        // The place of an error is that in the file.
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
            assert_eq!(why, "it is UTF-16, and must be UTF-8");
        }
    }

    #[test]
    fn what_follows_is_noticed() {
        for (text, expected) in [("{} \n", false), ("{} x", true), ("{}{}", true)] {
            assert_eq!(decode(text.as_bytes()).unwrap().1, expected, "{text}");
        }
    }

    #[test]
    fn anything_at_all_is_read_or_refused() {
        let deep = "[".repeat(100_000);
        for text in [deep.as_bytes(), b"\xff\xfe{}", b"{\"a\xff\": 1}", b"\0"] {
            assert!(decode(text).is_err());
        }
    }
}
