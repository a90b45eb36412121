//! Parses settings from JSON values; pairs of header lines are converted to JSON values first.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Action, HandlerSettings, Input, KEYS, Key, Kind, Place, RETRY_WAIT_MAX, Retry};
use crate::go;
use crate::handler::pattern::Pattern;
use crate::handler::{Durability, EventFilter};
use crate::ordered::OrderedMap;
use crate::time::Duration;

/// Maximum number of retries of one run: with the longest delays, a day and a half.
const RETRIES_MAX: u64 = 200;
/// Limit for a name in bytes: it appears in lists and log lines.
const NAME_BYTES_MAX: usize = 64;

const DURATION: &str = "a duration such as \"10s\"";

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key '{}': {}", self.key.escape_debug(), self.reason)
    }
}

impl std::error::Error for InvalidSetting {}

/// Errors found so far.
struct Faults(Vec<InvalidSetting>);

impl Faults {
    fn add(&mut self, key: &str, reason: impl Into<String>) {
        self.0.push(InvalidSetting {
            key: key.to_owned(),
            reason: reason.into(),
        });
    }
}

pub(super) fn object(object: &Map<String, Value>) -> Result<HandlerSettings, Vec<InvalidSetting>> {
    let mut faults = Faults(Vec::new());
    match (object.contains_key("run"), object.contains_key("exec")) {
        (true, true) => faults.add("exec", "'run' is set, too: a handler has one of the two"),
        (false, false) => faults.add("run", "missing: a handler needs 'run' or 'exec'"),
        _ => {}
    }
    let settings = HandlerSettings::new(Action::Run(Arc::default()));
    set_all(settings, object, Place::Object, faults)
}

pub(super) fn header(
    action: Action,
    pairs: &[(String, String)],
) -> Result<HandlerSettings, Vec<InvalidSetting>> {
    let mut faults = Faults(Vec::new());
    let mut object = Map::new();
    for (name, text) in pairs {
        let (head, part) = match name.split_once('.') {
            Some((head, part)) => (head, Some(part)),
            None => (name.as_str(), None),
        };
        let kind = KEYS.iter().find(|key| key.name == head).map(|key| key.kind);
        if let (Some(form), None) = (header_form(head, kind), part) {
            faults.add(name, format!("must be given as {form}"));
            continue;
        }
        let value = header_value(kind, part, text);
        let has_parts = matches!(kind, Some(Kind::TextMap | Kind::Retry));
        let old = match part {
            None => object.insert(name.clone(), value),
            Some(part) if has_parts => {
                let inner = object.entry(head).or_insert_with(|| Map::new().into());
                let inner = inner.as_object_mut();
                inner.and_then(|inner| inner.insert(part.to_owned(), value))
            }
            // An unknown key, kept for the error message.
            Some(_) => object.insert(name.clone(), value),
        };
        if old.is_some() {
            faults.add(name, "is given twice");
        }
        // A template may have filled in an empty value, which must not mean every event.
        if name == "on" && text.is_empty() {
            faults.add(name, "must not be empty; '*' stands for all events");
        }
    }
    set_all(
        HandlerSettings::new(action),
        &object,
        Place::Anywhere,
        faults,
    )
}

/// Returns how a header line gives a key that has parts.
fn header_form(head: &str, kind: Option<Kind>) -> Option<String> {
    match kind {
        Some(Kind::TextMap) if head == "environment" => Some(format!("{head}.NAME=VALUE")),
        Some(Kind::TextMap) => Some(format!("{head}.TAG=EXPRESSION")),
        Some(Kind::Retry) => Some(format!("{head}.times=NUMBER {head}.wait=DURATION")),
        _ => None,
    }
}

/// Converts the text of a header line to a JSON value.
fn header_value(kind: Option<Kind>, part: Option<&str>, text: &str) -> Value {
    match (kind, part, text) {
        (Some(Kind::Switch | Kind::Journal), None, "true") => Value::Bool(true),
        (Some(Kind::Switch | Kind::Journal), None, "false") => Value::Bool(false),
        (Some(Kind::Retry), Some("times"), text) => match text.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
        _ => text.into(),
    }
}

fn set_all(
    mut settings: HandlerSettings,
    object: &Map<String, Value>,
    place: Place,
    mut faults: Faults,
) -> Result<HandlerSettings, Vec<InvalidSetting>> {
    let is_allowed = |key: &&Key| place == Place::Object || key.place == place;
    for (name, value) in object {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) if is_allowed(&key) => {
                if let Err(reason) = (key.set)(&mut settings, value) {
                    faults.add(name, reason);
                }
            }
            Some(_) => faults.add(name, "is not allowed in a header line"),
            None => {
                let known = KEYS.iter().filter(is_allowed).map(|key| key.name);
                let known: Vec<&str> = known.collect();
                faults.add(name, format!("unknown; the keys are {}", known.join(", ")));
            }
        }
    }
    match faults.0.is_empty() {
        true => Ok(settings),
        false => Err(faults.0),
    }
}

/// Splits the text after `cottar:` in a header line into `KEY=VALUE` pairs, separated by blanks. A value with
/// blanks is put in double quotes; inside them, a backslash escapes a double quote or a backslash.
///
/// # Errors
/// If the line has a syntax error.
pub fn header_pairs(line: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace());
        let (key, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(after) = after.strip_prefix('=').filter(|_| !key.is_empty()) else {
            return Err(format!("'{}' is not KEY=VALUE", rest.escape_debug()));
        };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(|| {
                format!("the quoted value of '{}' has no end", key.escape_debug())
            })?,
            None => {
                let end = after.find(|c: char| c.is_ascii_whitespace());
                let (value, after) = after.split_at(end.unwrap_or(after.len()));
                (value.to_owned(), after)
            }
        };
        if after.starts_with(|c: char| !c.is_ascii_whitespace()) {
            return Err(format!(
                "no blank after the value of '{}'",
                key.escape_debug()
            ));
        }
        pairs.push((key.to_owned(), value));
        rest = after.trim_ascii_start();
    }
    Ok(pairs)
}

/// Returns the value up to the closing quote, and the text behind the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

fn expected(what: &str) -> String {
    format!("must be {what}")
}

/// Rejects NUL, which no argument, variable or path can hold.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value.as_str() {
        Some(text) if text.contains('\0') => Err("must not contain NUL".to_owned()),
        Some(text) => Ok(text),
        None => Err(expected("a string")),
    }
}

pub(super) fn filled(value: &Value) -> Result<&str, String> {
    match text(value)? {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text),
    }
}

pub(super) fn name(value: &Value) -> Result<&str, String> {
    let name = filled(value)?;
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | ',');
    match name.len() <= NAME_BYTES_MAX && !name.contains(is_odd) && !name.starts_with('-') {
        true => Ok(name),
        false => Err(format!(
            "must be at most {NAME_BYTES_MAX} bytes without blanks, '/' or ',', and no '-' in front"
        )),
    }
}

pub(super) fn switch(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| expected("true or false"))
}

pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let text = value.as_str();
    let text = text.ok_or_else(|| expected(DURATION))?;
    let nanos = go::parse_nanos(text).map_err(|_| expected(DURATION))?;
    let nanos = u64::try_from(nanos).map_err(|_| "must not be negative".to_owned())?;
    Ok(Duration::from_nanos(nanos))
}

pub(super) fn some_time(value: &Value) -> Result<Duration, String> {
    match duration(value)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn pattern(value: &Value) -> Result<Pattern, String> {
    Pattern::new(text(value)?)
}

pub(super) fn filters(value: &Value) -> Result<Vec<EventFilter>, String> {
    EventFilter::parse_on(text(value)?.as_bytes())
}

pub(super) fn input(value: &Value) -> Result<Input, String> {
    match value.as_str() {
        Some("lines") => Ok(Input::Lines),
        Some("json") => Ok(Input::Json),
        _ => Err(expected("\"lines\" or \"json\"")),
    }
}

pub(super) fn durability(value: &Value) -> Result<Durability, String> {
    match value {
        Value::Bool(true) => Ok(Durability::Full),
        Value::Bool(false) => Ok(Durability::Off),
        Value::String(text) if text == "once" => Ok(Durability::Once),
        _ => Err(expected("true, false or \"once\"")),
    }
}

/// Parses a map of strings, each value with `read`; the error names the entry.
fn entries<T>(
    value: &Value,
    read: impl Fn(&str, &Value) -> Result<T, String>,
) -> Result<OrderedMap<Vec<u8>, T>, String> {
    let map = value.as_object();
    let map = map.ok_or_else(|| expected("an object of strings"))?;
    let entry = |(name, value): (&String, &Value)| {
        if name.is_empty() {
            return Err("a name is empty".to_owned());
        }
        let value = read(name, value);
        let value = value.map_err(|why| format!("'{}': {why}", name.escape_debug()))?;
        Ok((name.clone().into_bytes(), value))
    };
    map.iter().map(entry).collect()
}

pub(super) fn patterns(value: &Value) -> Result<OrderedMap<Vec<u8>, Pattern>, String> {
    entries(value, |_, value| pattern(value))
}

pub(super) fn environment(value: &Value) -> Result<OrderedMap<Vec<u8>, Vec<u8>>, String> {
    entries(value, |name, value| {
        if name.starts_with("SERF_") || name.starts_with("COTTAR_") {
            return Err("is reserved for the agent".to_owned());
        }
        if name.contains(['=', '\0']) {
            return Err("is not a valid variable name".to_owned());
        }
        Ok(text(value)?.into())
    })
}

pub(super) fn program(value: &Value) -> Result<Arc<[Vec<u8>]>, String> {
    let wrong = || expected("a list of strings: a program and its arguments");
    let words = value.as_array().filter(|list| !list.is_empty());
    let words: Vec<Vec<u8>> = words
        .ok_or_else(wrong)?
        .iter()
        .map(|word| match word.is_string() {
            true => Ok(text(word)?.into()),
            false => Err(wrong()),
        })
        .collect::<Result<_, String>>()?;
    let first = words.first().map(Vec::as_slice).unwrap_or_default();
    match first.is_empty() || (first.contains(&b'/') && first[0] != b'/') {
        true => Err("the program must be an absolute path or a name to look up in PATH".to_owned()),
        false => Ok(words.into()),
    }
}

pub(super) fn retry(value: &Value) -> Result<Retry, String> {
    let object = value.as_object();
    let object = object.ok_or_else(|| expected("an object with 'times' and 'wait'"))?;
    if let Some(name) = object
        .keys()
        .find(|name| !["times", "wait"].contains(&name.as_str()))
    {
        return Err(format!(
            "'{}' is unknown; the keys are 'times' and 'wait'",
            name.escape_debug()
        ));
    }
    let times = object.get("times").and_then(Value::as_u64);
    let times = times.filter(|times| (1..=RETRIES_MAX).contains(times));
    let times = times.and_then(|times| u32::try_from(times).ok());
    let wait = object
        .get("wait")
        .ok_or_else(|| "'wait' is missing".to_owned())?;
    let wait = some_time(wait).map_err(|why| format!("'wait': {why}"))?;
    if wait > RETRY_WAIT_MAX {
        return Err(format!("'wait' must be at most {RETRY_WAIT_MAX:?}"));
    }
    Ok(Retry {
        times: times.ok_or_else(|| format!("'times' must be a number from 1 to {RETRIES_MAX}"))?,
        wait,
    })
}
