//! Encodes and decodes requests.

use super::{Query, Request, Runs, SyntheticEvent};
use crate::rpc::TextMap;
use crate::wire::msgpack::{Dialect, Error, Reader, Writer};

impl Request {
    /// Decodes the body of a command; `value` is ignored if the command has none. Returns `None` for an
    /// unknown command.
    ///
    /// # Errors
    /// If the body is not a map, array or nil, or a field has the wrong type.
    #[rustfmt::skip]
    pub fn decode(command: &[u8], value: &[u8]) -> Result<Option<Self>, Error> {
        let mut reader = Reader::new(value);
        let body = &mut reader;
        Ok(Some(match command {
            b"handshake" => handshake(body)?,
            b"auth" => Request::Auth { key: text(body, "AuthKey")? },
            b"event" | b"cottar-event" => event(command, body)?,
            b"force-leave" => force_leave(body)?,
            b"join" => join(body)?,
            b"members" => Request::Members,
            b"members-filtered" => members_filtered(body)?,
            b"tags" => tags(body)?,
            b"stream" => Request::Stream { filter: text(body, "Type")? },
            b"cottar-stream" => Request::OwnStream { filter: text(body, "Type")? },
            b"monitor" => Request::Monitor { level: text(body, "LogLevel")? },
            b"stop" => stop(body)?,
            b"leave" => Request::Leave,
            b"query" => Request::Query(Query::decode(body)?),
            b"respond" => respond(body)?,
            b"install-key" => Request::InstallKey { key: text(body, "Key")? },
            b"use-key" => Request::UseKey { key: text(body, "Key")? },
            b"remove-key" => Request::RemoveKey { key: text(body, "Key")? },
            b"list-keys" => Request::ListKeys,
            b"stats" => Request::Stats,
            b"get-coordinate" => Request::Coordinate { node: text(body, "Node")? },
            b"cottar-handlers" => Request::Handlers,
            b"cottar-handler-queue" => Request::HandlerQueue,
            b"cottar-handler-drop" => Request::DropQueue { target: text(body, "Target")? },
            b"cottar-handler-pause" => Request::PauseHandler { name: text(body, "Name")?, is_paused: true },
            b"cottar-handler-resume" => Request::PauseHandler { name: text(body, "Name")?, is_paused: false },
            b"cottar-handler-run" | b"cottar-handler-sync" => run_handlers(command, body)?,
            _ => return Ok(None),
        }))
    }
}

impl Request {
    /// Encodes header and body as the reference does: keys in byte order.
    pub fn encode(&self, seq: u64) -> Vec<u8> {
        let mut writer = Writer::new(Dialect::Rpc);
        writer.map(2).key("Command").text(self.command());
        writer.key("Seq").uint(seq);
        match self.only_text() {
            Some((key, text)) => drop(writer.map(1).key(key).text(text)),
            None => self.encode_body(&mut writer),
        }
        writer.into_bytes()
    }

    /// Returns name and value of the field, if the body has a single text field.
    fn only_text(&self) -> Option<(&'static str, &[u8])> {
        match self {
            Request::Auth { key } => Some(("AuthKey", key)),
            Request::Stream { filter } | Request::OwnStream { filter } => Some(("Type", filter)),
            Request::Monitor { level } => Some(("LogLevel", level)),
            Request::InstallKey { key } | Request::UseKey { key } | Request::RemoveKey { key } => {
                Some(("Key", key))
            }
            Request::DropQueue { target } => Some(("Target", target)),
            Request::PauseHandler { name, .. } => Some(("Name", name)),
            Request::Coordinate { node } => Some(("Node", node)),
            _ => None,
        }
    }

    fn encode_body(&self, w: &mut Writer) {
        match self {
            // No body, or a single text field, which is already written.
            Request::Members
            | Request::Leave
            | Request::ListKeys
            | Request::Stats
            | Request::Handlers
            | Request::HandlerQueue
            | Request::Auth { .. }
            | Request::Stream { .. }
            | Request::OwnStream { .. }
            | Request::Monitor { .. }
            | Request::InstallKey { .. }
            | Request::UseKey { .. }
            | Request::RemoveKey { .. }
            | Request::DropQueue { .. }
            | Request::PauseHandler { .. }
            | Request::Coordinate { .. } => {}
            Request::Handshake { version } => {
                w.map(1).key("Version").int((*version).into());
            }
            Request::Event {
                name,
                payload,
                coalesce,
            }
            | Request::OwnEvent {
                name,
                payload,
                coalesce,
            } => {
                w.map(3).key("Coalesce").bool(*coalesce);
                w.key("Name").text(name);
                w.key("Payload").bytes_or_nil(payload.as_deref());
            }
            Request::ForceLeave { node, prune } => {
                w.map(2).key("Node").text(node).key("Prune").bool(*prune);
            }
            Request::Join { existing, replay } => {
                w.map(2).key("Existing");
                write_texts(w, existing);
                w.key("Replay").bool(*replay);
            }
            Request::MembersFiltered { tags, status, name } => {
                w.map(3).key("Name").text(name).key("Status").text(status);
                w.key("Tags");
                write_text_map(w, tags);
            }
            Request::Tags { set, delete } => {
                w.map(2).key("DeleteTags");
                write_texts(w, delete);
                w.key("Tags");
                write_text_map(w, set);
            }
            Request::Stop { seq } => {
                w.map(1).key("Stop").uint(*seq);
            }
            Request::Query(query) => query.encode(w),
            Request::RunHandlers(runs) => runs.encode(w),
            Request::Respond { id, payload } => {
                w.map(2).key("ID").uint(*id);
                w.key("Payload").bytes_or_nil(payload.as_deref());
            }
        }
    }
}

impl Runs {
    fn encode(&self, w: &mut Writer) {
        w.map(if self.event.is_some() { 4 } else { 2 });
        if let Some(event) = &self.event {
            w.key("Event");
            write_texts(w, &event.words);
            w.key("LTime").uint(event.ltime);
        }
        w.key("Name").text(&self.name);
        w.key("Wait").bool(self.is_awaited);
    }
}

fn handshake(body: &mut Reader<'_>) -> Result<Request, Error> {
    let mut version = 0;
    each(body, &["Version"], |_, r| r.i32().map(|v| version = v))?;
    Ok(Request::Handshake { version })
}

fn event(command: &[u8], body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut name, mut payload, mut coalesce) = (Vec::new(), None, false);
    each(body, &["Name", "Payload", "Coalesce"], |field, r| {
        match field {
            0 => name = r.text()?.to_vec(),
            1 => payload = r.bytes()?,
            _ => coalesce = r.bool()?,
        }
        Ok(())
    })?;
    Ok(match command {
        b"event" => Request::Event {
            name,
            payload,
            coalesce,
        },
        _ => Request::OwnEvent {
            name,
            payload,
            coalesce,
        },
    })
}

fn force_leave(body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut node, mut prune) = (Vec::new(), false);
    each(body, &["Node", "Prune"], |field, r| {
        match field {
            0 => node = r.text()?.to_vec(),
            _ => prune = r.bool()?,
        }
        Ok(())
    })?;
    Ok(Request::ForceLeave { node, prune })
}

fn join(body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut existing, mut replay) = (Vec::new(), false);
    each(body, &["Existing", "Replay"], |field, r| {
        match field {
            0 => existing = texts(r)?,
            _ => replay = r.bool()?,
        }
        Ok(())
    })?;
    Ok(Request::Join { existing, replay })
}

fn members_filtered(body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut tags, mut status, mut name) = Default::default();
    each(body, &["Tags", "Status", "Name"], |field, r| {
        match field {
            0 => tags = text_map(r)?,
            1 => status = r.text()?.to_vec(),
            _ => name = r.text()?.to_vec(),
        }
        Ok(())
    })?;
    Ok(Request::MembersFiltered { tags, status, name })
}

fn tags(body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut set, mut delete) = Default::default();
    each(body, &["Tags", "DeleteTags"], |field, r| {
        match field {
            0 => set = text_map(r)?,
            _ => delete = texts(r)?,
        }
        Ok(())
    })?;
    Ok(Request::Tags { set, delete })
}

fn stop(body: &mut Reader<'_>) -> Result<Request, Error> {
    let mut seq = 0;
    each(body, &["Stop"], |_, r| r.u64().map(|n| seq = n))?;
    Ok(Request::Stop { seq })
}

fn run_handlers(command: &[u8], body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut name, mut is_awaited, mut event) = (Vec::new(), false, SyntheticEvent::default());
    each(body, &["Name", "Wait", "Event", "LTime"], |field, r| {
        match field {
            0 => name = r.text()?.to_vec(),
            1 => is_awaited = r.bool()?,
            2 => event.words = texts(r)?,
            _ => event.ltime = r.u64()?,
        }
        Ok(())
    })?;
    Ok(Request::RunHandlers(Runs {
        name,
        event: (command == b"cottar-handler-run").then_some(event),
        is_awaited,
    }))
}

fn respond(body: &mut Reader<'_>) -> Result<Request, Error> {
    let (mut id, mut payload) = (0, None);
    each(body, &["ID", "Payload"], |field, r| {
        match field {
            0 => id = r.u64()?,
            _ => payload = r.bytes()?,
        }
        Ok(())
    })?;
    Ok(Request::Respond { id, payload })
}

impl Query {
    fn decode(body: &mut Reader<'_>) -> Result<Self, Error> {
        const FIELDS: [&str; 7] = [
            "FilterNodes",
            "FilterTags",
            "RequestAck",
            "RelayFactor",
            "Timeout",
            "Name",
            "Payload",
        ];
        let mut query = Query::default();
        each(body, &FIELDS, |field, r| {
            match field {
                0 => query.filter_nodes = texts(r)?,
                1 => query.filter_tags = text_map(r)?,
                2 => query.request_ack = r.bool()?,
                3 => query.relay_factor = r.u8()?,
                4 => query.timeout_nanos = r.i64()?,
                5 => query.name = r.text()?.to_vec(),
                _ => query.payload = r.bytes()?,
            }
            Ok(())
        })?;
        Ok(query)
    }
}

fn each<'a>(
    body: &mut Reader<'a>,
    names: &[&str],
    field: impl FnMut(usize, &mut Reader<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    body.fields(names, field)
}

/// Decodes a body with a single text field.
fn text(body: &mut Reader<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let mut value = Vec::new();
    each(body, &[name], |_, r| r.text().map(|t| value = t.to_vec()))?;
    Ok(value)
}

fn texts(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Error> {
    reader.list(|reader| reader.text().map(<[u8]>::to_vec))
}

/// Decodes a map from text to text; nil is an empty map. The last value of a repeated key wins.
pub(in crate::rpc) fn text_map(reader: &mut Reader<'_>) -> Result<TextMap, Error> {
    let count = reader.map()?;
    (0..count)
        .map(|_| Ok((reader.text()?.to_vec(), reader.text()?.to_vec())))
        .collect()
}

impl Query {
    fn encode(&self, w: &mut Writer) {
        w.map(7).key("FilterNodes");
        if self.filter_nodes.is_empty() {
            w.nil();
        } else {
            write_texts(w, &self.filter_nodes);
        }
        w.key("FilterTags");
        write_text_map(w, &self.filter_tags);
        w.key("Name").text(&self.name);
        w.key("Payload").bytes_or_nil(self.payload.as_deref());
        w.key("RelayFactor").uint(self.relay_factor.into());
        w.key("RequestAck").bool(self.request_ack);
        w.key("Timeout").int(self.timeout_nanos);
    }
}

fn write_texts(writer: &mut Writer, texts: &[Vec<u8>]) {
    writer.array(texts.len());
    for text in texts {
        writer.text(text);
    }
}

fn write_text_map(writer: &mut Writer, map: &TextMap) {
    writer.map(map.len());
    for (key, value) in map {
        writer.text(key).text(value);
    }
}
