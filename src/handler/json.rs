//! JSON object for an event: the input of a handler with `input=json`, and the output of `monitor -event`
//! (handlers spec 3).

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::invocation::Run;
use super::moment::{Moment, Rfc3339};
use super::{Local, event_type};
use crate::json::Json;
use crate::serf::{Event, Member, Tags};

/// Known properties of an event; `None` and empty ones are left out.
#[derive(Clone, Debug, Default)]
pub struct EventObject<'a> {
    /// Its type: `user`, `query`, `member-join` and so on.
    pub event: &'a [u8],
    /// Its id.
    pub id: Option<&'a [u8]>,
    /// Whether the run repeats one whose end the agent has not seen.
    pub replay: bool,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// When this node received the event, in microseconds since 1970.
    pub taken_micros: Option<u64>,
    /// Local node: its name, and its tags as an object.
    pub local: Option<(&'a [u8], Json)>,
    /// Members of a member event, each as [`member`] returns it.
    pub members: Option<Vec<Json>>,
    /// Name of the user event or query.
    pub name: Option<&'a [u8]>,
    /// Its Lamport time.
    pub ltime: Option<u64>,
    /// Its payload.
    pub payload: &'a [u8],
    /// Name of the node that asks a query.
    pub from: Option<&'a [u8]>,
    /// Deadline for answers, in microseconds since 1970.
    pub deadline_micros: Option<u64>,
}

impl EventObject<'_> {
    /// Builds the object.
    pub fn json(self) -> Json {
        let time = |micros: u64| Json::text(Rfc3339(micros).to_string());
        let local = self
            .local
            .map(|(name, tags)| Json::object(vec![("name", Json::text(name)), ("tags", tags)]));
        let (payload, base64) = match std::str::from_utf8(self.payload) {
            Ok("") => (None, None),
            Ok(text) => (Some(Json::text(text)), None),
            Err(_) => (None, Some(Json::text(STANDARD.encode(self.payload)))),
        };
        let fields = [
            ("event", Some(Json::text(self.event))),
            ("id", self.id.map(Json::text)),
            ("replay", Some(Json::Bool(self.replay))),
            ("attempt", Some(Json::Number(self.attempt.into()))),
            ("time", self.taken_micros.map(time)),
            ("self", local),
            ("members", self.members.map(Json::List)),
            ("name", self.name.map(Json::text)),
            // Lamport times exceed the range of the other numbers.
            ("ltime", self.ltime.map(|t| Json::Decimal(t.to_string()))),
            ("payload", payload),
            ("payload_base64", base64),
            ("from", self.from.map(Json::text)),
            ("deadline", self.deadline_micros.map(time)),
        ];
        let known = fields.into_iter();
        Json::object(
            known
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
        )
    }
}

/// Returns a member as `members -format json` shows it. `protocol` is the highest version it supports, the
/// lowest, and the one in use.
pub fn member(
    name: &[u8],
    addr: Option<SocketAddr>,
    port: u16,
    tags: Json,
    status: &[u8],
    protocol: [u8; 3],
) -> Json {
    let addr = addr.map_or_else(|| "?".to_owned(), |addr| addr.to_string());
    let versions = ["max", "min", "version"].into_iter().zip(protocol);
    let versions = versions.map(|(key, version)| (key, Json::Number(version.into())));
    Json::object(vec![
        ("name", Json::text(name)),
        ("addr", Json::text(addr)),
        ("port", Json::Number(port.into())),
        ("tags", tags),
        ("status", Json::text(status)),
        ("protocol", Json::object(versions.collect())),
    ])
}

/// Returns standard input for one run of a handler with `input=json`: the object on one line.
pub(super) fn stdin(event: &Event, local: Local<'_>, run: &Run<'_>, at: Moment) -> Arc<[u8]> {
    let mut object = EventObject {
        event: event_type(event).as_bytes(),
        id: Some(run.id.as_bytes()),
        replay: run.is_replay,
        attempt: run.attempt,
        taken_micros: Some(run.taken_micros),
        local: Some((local.name.as_bytes(), tags(local.tags))),
        ..EventObject::default()
    };
    match event {
        Event::Member(event) => {
            object.members = Some(event.members.iter().map(known_member).collect());
        }
        Event::User(event) => {
            object.name = Some(&event.name);
            object.ltime = Some(event.ltime.0);
            object.payload = &event.payload;
        }
        Event::Query(query) => {
            object.name = Some(&query.name);
            object.ltime = Some(query.ltime.0);
            object.payload = &query.payload;
            object.from = query.source_node.as_ref().map(|node| node.as_bytes());
            object.deadline_micros = Some(at.unix_micros_of(query.deadline));
        }
    }
    let mut line = object.json().line();
    line.push('\n');
    line.into_bytes().into()
}

fn known_member(known: &Member) -> Json {
    let (ip, port) = (known.addr.ip().to_canonical(), known.addr.port());
    let versions = &known.versions;
    member(
        known.name.as_bytes(),
        Some(SocketAddr::new(ip, port)),
        port,
        tags(&known.tags()),
        known.status.as_str().as_bytes(),
        [
            versions.delegate_max,
            versions.delegate_min,
            versions.delegate_current,
        ],
    )
}

fn tags(tags: &Tags) -> Json {
    let entries = tags
        .iter()
        .map(|(key, value)| (key.to_vec(), Json::text(value)));
    Json::Object(entries.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "json_tests.rs"]
mod tests;
