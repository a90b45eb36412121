//! Parses the text of a configuration file (agent spec 4.2, 4.3).

use std::fmt;

use serde_json::{Map, Value};

use super::handlers::HandlerEntry;
use super::settings::{KEYS, Key, Settings, Slot, check_number, parse_time};
use crate::agent::files::without_mark;
use crate::ordered::sort_by;

/// Why a file cannot be used; the text is the reference's if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not valid JSON.
    Syntax(String),
    /// A JSON value of this type instead of an object.
    NoObject(&'static str),
    /// Unknown keys and values of the wrong type, one line each.
    Keys(Vec<String>),
    /// An invalid duration: the reason, and the key.
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

/// Parses a file: JSON with comments from `//` or `#` to the end of a line. The returned flag tells whether
/// there is trailing data after the first JSON value, which is ignored.
///
/// # Errors
/// If the text is not a JSON object, or has unknown keys or invalid values; see [`DecodeError`].
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

/// Replaces comments (from `//` or `#` outside of strings to the end of the line) with blanks, so that lines
/// and columns in errors stay correct.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let (mut is_string, mut is_comment, mut at) = (false, false, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\n' => is_comment = false,
            b'"' if !is_comment => is_string = !is_string,
            // The escaped character cannot end the string.
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
    /// Unknown keys with the name of their object, in the order of all entries.
    unknown: Vec<(String, Vec<String>)>,
    complaints: Vec<String>,
    bad_time: Option<(String, &'static str)>,
}

impl Reading {
    /// Reads the entries of an object; `prefix` is its name with a trailing dot, or empty.
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
            // Treated as not set.
            (_, Value::Null) | (Slot::Ignored, _) => {}
            (Slot::Text(text), Value::String(value)) => *text = value,
            (Slot::Bytes(bytes), Value::String(value)) => *bytes = value.into_bytes(),
            (Slot::Addresses(list), Value::String(value)) => {
                list.extend(Some(value).filter(|value| !value.is_empty()));
            }
            (Slot::Addresses(list), Value::Array(values)) => {
                let addresses = texts(key, values, complaints);
                list.extend(addresses.filter(|address| !address.is_empty()));
            }
            (Slot::List(list), Value::Array(values)) => {
                list.extend(texts(key, values, complaints));
            }
            (Slot::Paths(list), Value::Array(values)) => {
                list.extend(texts(key, values, complaints).map(String::into_bytes));
            }
            (Slot::Handlers(list), Value::Array(values)) => {
                for (at, value) in values.into_iter().enumerate() {
                    list.extend(handler(key, at, value, complaints));
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

/// Returns the texts of a list; reports elements of other types.
fn texts<'a>(
    key: &'a Key,
    values: Vec<Value>,
    complaints: &'a mut Vec<String>,
) -> impl Iterator<Item = String> + use<'a> {
    let values = values.into_iter().enumerate();
    values.filter_map(move |(at, value)| {
        let name = || format!("{}[{at}]", key.name);
        element(value, name, complaints)
    })
}

/// Reads a handler: an object or a text.
fn handler(
    key: &Key,
    at: usize,
    value: Value,
    complaints: &mut Vec<String>,
) -> Option<HandlerEntry> {
    if let Value::Object(object) = value {
        let entry = HandlerEntry::object(at, &object);
        return entry.map_err(|faults| complaints.extend(faults)).ok();
    }
    let name = format!("{}[{at}]", key.name);
    let text = element(value, || name.clone(), complaints)?;
    Some(HandlerEntry::in_file(name, text))
}

/// Reads a text in a list or a map; null counts as empty.
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

/// Returns the reference's name for a value's type.
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

/// Formats a value in the reference's notation.
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

/// Drops the fraction; numbers out of range saturate.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: &serde_json::Number) -> i64 {
    let fraction = || number.as_f64().unwrap_or(0.0) as i64;
    number.as_i64().unwrap_or_else(fraction)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
