//! An event as a JSON object: what a handler with `input=json` reads, and what `monitor -event` prints
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

/// What is known of an event; what is `None` or empty is left out.
#[derive(Clone, Debug, Default)]
pub struct EventObject<'a> {
    /// Its type.
    pub event: &'a [u8],
    /// Its id.
    pub id: Option<&'a [u8]>,
    /// The run repeats one that the agent has not seen the end of.
    pub replay: bool,
    /// From 1.
    pub attempt: u32,
    /// When it came, in microseconds since 1970.
    pub taken_micros: Option<u64>,
    /// The local node: its name, and its tags as an object.
    pub local: Option<(&'a [u8], Json)>,
    /// Whom it is about, each as [`member`] makes it.
    pub members: Option<Vec<Json>>,
    /// The name of the user event or query.
    pub name: Option<&'a [u8]>,
    /// Its time.
    pub ltime: Option<u64>,
    /// Its payload.
    pub payload: &'a [u8],
    /// Who asks.
    pub from: Option<&'a [u8]>,
    /// Until when an answer is of use, in microseconds since 1970.
    pub deadline_micros: Option<u64>,
}

impl EventObject<'_> {
    /// The object.
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
            // Times go beyond what the other numbers take.
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

/// A member as `members -format json` shows it. `protocol`: the highest version that it understands, the
/// lowest, and the one that it speaks.
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

/// Standard input of one run of a handler that asks for JSON: the object on one line.
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
        tags(&known.tags),
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
