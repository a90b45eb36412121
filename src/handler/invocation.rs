//! Environment and standard input of a script (agent spec 1.5, 1.6).

use std::fmt::Write as _;
use std::sync::Arc;

use super::moment::Rfc3339;
use super::{HandlerSettings, event_type};
use crate::ordered::OrderedMap;
use crate::serf::{Event, Member, MemberEvent, Tags};
use crate::wire::NodeName;

/// Local node as handlers see it when the run starts.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// Its name.
    pub name: &'a NodeName,
    /// Its current tags.
    pub tags: &'a Tags,
    /// Returns all members, for handlers that want the current state.
    pub members: &'a dyn Fn() -> Vec<Member>,
}

impl<'a> Local<'a> {
    /// Describes a node without other members.
    pub fn alone(name: &'a NodeName, tags: &'a Tags) -> Self {
        Local {
            name,
            tags,
            members: &Vec::new,
        }
    }
}

impl std::fmt::Debug for Local<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local")
            .field("name", self.name)
            .finish_non_exhaustive()
    }
}

/// One run of one script for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Text of the script or program for log lines.
    pub script: Arc<[u8]>,
    /// Settings with the action to run.
    pub settings: Arc<HandlerSettings>,
    /// Variables to set, in byte order of their names, without duplicates and without NUL.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Content of standard input.
    pub stdin: Arc<[u8]>,
}

/// Returns whether an inherited variable must be removed: its value from the agent's environment could be
/// mistaken for this event's.
pub fn is_stale(name: &[u8]) -> bool {
    const FIXED: [&[u8]; 12] = [
        b"COTTAR_ATTEMPT",
        b"COTTAR_EVENT_ID",
        b"COTTAR_EVENT_TIME",
        b"COTTAR_IN_HANDLER",
        b"COTTAR_REPLAY",
        b"SERF_EVENT",
        b"SERF_SELF_NAME",
        b"SERF_SELF_ROLE",
        b"SERF_USER_EVENT",
        b"SERF_USER_LTIME",
        b"SERF_QUERY_NAME",
        b"SERF_QUERY_LTIME",
    ];
    name.starts_with(b"SERF_TAG_") || FIXED.contains(&name)
}

/// Properties of a run apart from its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    /// The event's id.
    pub(super) id: &'a str,
    /// When this node received the event, in microseconds since 1970.
    pub(super) taken_micros: u64,
    /// Number of the attempt, from 1.
    pub(super) attempt: u32,
    /// Whether the agent ended before the last attempt did.
    pub(super) is_replay: bool,
    /// Variables from the handler's settings.
    pub(super) environment: &'a OrderedMap<Vec<u8>, Vec<u8>>,
}

/// Variables for an event, without tags that no environment can hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Environment {
    /// In byte order of their names.
    pub(super) variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Tags whose value contains NUL: their variables are left out, and for `role`, `SERF_SELF_ROLE` is
    /// empty. The handler still runs; otherwise one bad tag would stop all handlers.
    pub(super) refused_tags: Vec<Vec<u8>>,
}

/// The event's name contains NUL, so no environment can hold it. A run with a cut or missing name would do
/// the wrong thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NulInName;

impl std::fmt::Display for NulInName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the event's name contains NUL, which an environment variable cannot contain")
    }
}

/// Returns the variables for a run of any handler of this event.
pub(super) fn environment(
    event: &Event,
    local: Local<'_>,
    run: &Run<'_>,
) -> Result<Environment, NulInName> {
    let own = run.environment.iter();
    let mut variables: OrderedMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut refused_tags = Vec::new();
    let mut role = Vec::new();
    // In byte order of the tags' names: if two map to the same variable, the last one wins.
    for (key, value) in local.tags.iter() {
        if value.contains(&0) {
            refused_tags.push(key.to_vec());
            continue;
        }
        if key == b"role" {
            role = value.to_vec();
        }
        variables.insert(tag_variable(key), value.to_vec());
    }
    let mut set = |name: &str, value: Vec<u8>| variables.insert(name.into(), value);
    set("COTTAR_ATTEMPT", run.attempt.to_string().into());
    set("COTTAR_EVENT_ID", run.id.into());
    set(
        "COTTAR_EVENT_TIME",
        Rfc3339(run.taken_micros).to_string().into(),
    );
    set("COTTAR_IN_HANDLER", b"1".into());
    if run.is_replay {
        set("COTTAR_REPLAY", b"1".into());
    }
    set("SERF_EVENT", event_type(event).into());
    set("SERF_SELF_NAME", local.name.as_bytes().into());
    set("SERF_SELF_ROLE", role);
    let named = match event {
        Event::Member(_) => None,
        Event::User(event) => Some((
            "SERF_USER_EVENT",
            "SERF_USER_LTIME",
            &event.name,
            event.ltime,
        )),
        Event::Query(query) => Some((
            "SERF_QUERY_NAME",
            "SERF_QUERY_LTIME",
            &query.name,
            query.ltime,
        )),
    };
    if let Some((name_variable, time_variable, name, ltime)) = named {
        if name.contains(&0) {
            return Err(NulInName);
        }
        set(name_variable, name.clone());
        set(time_variable, ltime.to_string().into());
    }
    Ok(Environment {
        variables: variables.into_iter().collect(),
        refused_tags,
    })
}

/// Returns `SERF_TAG_` and the tag's name in upper case. Each character except `A-Z`, `0-9` and `_`, and each
/// byte that is not valid UTF-8, becomes one `_`.
fn tag_variable(tag: &[u8]) -> Vec<u8> {
    let mut variable = String::from("SERF_TAG_");
    for chunk in tag.utf8_chunks() {
        variable.extend(chunk.valid().chars().map(variable_char));
        variable.extend(chunk.invalid().iter().map(|_| '_'));
    }
    variable.into_bytes()
}

/// Some letters outside ASCII have an ASCII capital, such as the dotless i.
fn variable_char(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if upper.is_ascii_uppercase() || upper.is_ascii_digit() => upper,
        _ => '_',
    }
}

/// Returns standard input for every handler of the event: member lines, or the payload with a final newline.
pub(super) fn stdin(event: &Event) -> Arc<[u8]> {
    match event {
        Event::Member(event) => member_lines(event).into(),
        Event::User(event) => ended(&event.payload).into(),
        Event::Query(query) => ended(&query.payload).into(),
    }
}

/// Adds a missing final newline: shells' `read` fails on a last line without one.
fn ended(payload: &[u8]) -> Vec<u8> {
    let mut text = payload.to_vec();
    if text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
    text
}

fn member_lines(event: &MemberEvent) -> Vec<u8> {
    let mut text = Vec::new();
    for member in &event.members {
        member_line(&mut text, member);
    }
    text
}

/// Appends `NAME TAB ADDRESS TAB ROLE TAB k=v,k=v LF`.
fn member_line(text: &mut Vec<u8>, member: &Member) {
    push_field(text, member.name.as_bytes());
    text.push(b'\t');
    // Writing to a string cannot fail. IPv4-mapped IPv6 addresses are shown as IPv4.
    let mut address = String::new();
    let _ = write!(address, "{}", member.addr.ip().to_canonical());
    text.extend_from_slice(address.as_bytes());
    text.push(b'\t');
    let tags = member.tags();
    let role = tags.iter().find(|(key, _)| *key == b"role");
    push_field(text, role.map_or(b"", |(_, value)| value));
    text.push(b'\t');
    for (index, (key, value)) in tags.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        push_field(text, key);
        text.push(b'=');
        push_field(text, value);
    }
    text.push(b'\n');
}

/// Escapes TAB and newline and nothing else, not even the backslash.
fn push_field(text: &mut Vec<u8>, field: &[u8]) {
    for &byte in field {
        match byte {
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            _ => text.push(byte),
        }
    }
}

#[cfg(test)]
#[path = "invocation_tests.rs"]
mod tests;
