//! What clients say (agent spec 2.4).

use super::TextMap;
use crate::wire::msgpack::{Dialect, Error, Reader, Writer};

/// The first value of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// The command's name.
    pub command: Vec<u8>,
    /// Chosen by the client, echoed in everything that belongs to the request.
    pub seq: u64,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    Handshake {
        version: i32,
    },
    Auth {
        key: Vec<u8>,
    },
    Event {
        name: Vec<u8>,
        /// `None` for nil.
        payload: Option<Vec<u8>>,
        coalesce: bool,
    },
    ForceLeave {
        node: Vec<u8>,
        prune: bool,
    },
    Join {
        existing: Vec<Vec<u8>>,
        replay: bool,
    },
    Members,
    MembersFiltered {
        tags: TextMap,
        status: Vec<u8>,
        name: Vec<u8>,
    },
    Tags {
        set: TextMap,
        delete: Vec<Vec<u8>>,
    },
    Stream {
        filter: Vec<u8>,
    },
    Monitor {
        level: Vec<u8>,
    },
    Stop {
        seq: u64,
    },
    Leave,
    Query(Query),
    Respond {
        id: u64,
        /// `None` for nil.
        payload: Option<Vec<u8>>,
    },
    /// Each of the three with a key in base64.
    InstallKey {
        key: Vec<u8>,
    },
    UseKey {
        key: Vec<u8>,
    },
    RemoveKey {
        key: Vec<u8>,
    },
    ListKeys,
    Stats,
    Coordinate {
        node: Vec<u8>,
    },
    /// Of cottar alone, as all that follow: the handlers and what became of their runs.
    Handlers,
    /// An event, as [`Request::Event`]; the reply has its time and id.
    OwnEvent {
        name: Vec<u8>,
        /// `None` for nil.
        payload: Option<Vec<u8>>,
        coalesce: bool,
    },
    /// The events of [`Request::Stream`], whose records tell more.
    OwnStream {
        filter: Vec<u8>,
    },
    /// What waits for handlers.
    HandlerQueue,
    /// Give up what waits: for the handler of that name, the event of that id, or, if it is empty, all.
    DropQueue {
        target: Vec<u8>,
    },
    /// Hold the runs of a handler back, or let them go on: two commands on the wire.
    PauseHandler {
        name: Vec<u8>,
        is_paused: bool,
    },
}

/// The body of a query.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query {
    /// Only these nodes; empty: all.
    pub filter_nodes: Vec<Vec<u8>>,
    /// Only nodes with matching tags.
    pub filter_tags: TextMap,
    /// Nodes should confirm.
    pub request_ack: bool,
    /// Copies of each answer.
    pub relay_factor: u8,
    /// Nanoseconds; 0 for the agent's default.
    pub timeout_nanos: i64,
    /// Its name.
    pub name: Vec<u8>,
    /// `None` for nil.
    pub payload: Option<Vec<u8>>,
}

/// What follows a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Absent,
    /// One value.
    Present,
    /// Nobody knows: the command is unknown.
    Unknown,
}

impl Header {
    /// Reads a header. Fields that are missing are empty: unlike in the reference nothing is kept from the
    /// request before.
    ///
    /// # Errors
    /// If it is neither map, array nor nil, or a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        let mut header = Header::default();
        Reader::new(value).fields(&["Command", "Seq"], |field, reader| {
            match field {
                0 => header.command = reader.text()?.to_vec(),
                _ => header.seq = reader.u64()?,
            }
            Ok::<_, Error>(())
        })?;
        Ok(header)
    }

    /// What follows.
    pub fn body(&self) -> Body {
        match &*self.command {
            b"members"
            | b"leave"
            | b"list-keys"
            | b"stats"
            | b"cottar-handlers"
            | b"cottar-handler-queue" => Body::Absent,
            b"handshake"
            | b"auth"
            | b"event"
            | b"force-leave"
            | b"join"
            | b"members-filtered"
            | b"tags"
            | b"stream"
            | b"monitor"
            | b"stop"
            | b"query"
            | b"respond"
            | b"install-key"
            | b"use-key"
            | b"remove-key"
            | b"get-coordinate"
            | b"cottar-event"
            | b"cottar-stream"
            | b"cottar-handler-drop"
            | b"cottar-handler-pause"
            | b"cottar-handler-resume" => Body::Present,
            _ => Body::Unknown,
        }
    }
}

impl Request {
    /// Reads the body of the command; `value` is not looked at if it has none. `None` for an unknown
    /// command.
    ///
    /// # Errors
    /// If the body is neither map, array nor nil, or a field has the wrong type.
    pub fn decode(command: &[u8], value: &[u8]) -> Result<Option<Self>, Error> {
        let mut reader = Reader::new(value);
        let body = &mut reader;
        Ok(Some(match command {
            b"handshake" => {
                let mut version = 0;
                each(body, &["Version"], |_, r| r.i32().map(|v| version = v))?;
                Request::Handshake { version }
            }
            b"auth" => {
                let key = text(body, "AuthKey")?;
                Request::Auth { key }
            }
            b"event" | b"cottar-event" => {
                let (mut name, mut payload, mut coalesce) = (Vec::new(), None, false);
                each(body, &["Name", "Payload", "Coalesce"], |field, r| {
                    match field {
                        0 => name = r.text()?.to_vec(),
                        1 => payload = r.bytes()?,
                        _ => coalesce = r.bool()?,
                    }
                    Ok(())
                })?;
                match command {
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
                }
            }
            b"force-leave" => {
                let (mut node, mut prune) = (Vec::new(), false);
                each(body, &["Node", "Prune"], |field, r| {
                    match field {
                        0 => node = r.text()?.to_vec(),
                        _ => prune = r.bool()?,
                    }
                    Ok(())
                })?;
                Request::ForceLeave { node, prune }
            }
            b"join" => {
                let (mut existing, mut replay) = (Vec::new(), false);
                each(body, &["Existing", "Replay"], |field, r| {
                    match field {
                        0 => existing = texts(r)?,
                        _ => replay = r.bool()?,
                    }
                    Ok(())
                })?;
                Request::Join { existing, replay }
            }
            b"members" => Request::Members,
            b"members-filtered" => {
                let (mut tags, mut status, mut name) = Default::default();
                each(body, &["Tags", "Status", "Name"], |field, r| {
                    match field {
                        0 => tags = text_map(r)?,
                        1 => status = r.text()?.to_vec(),
                        _ => name = r.text()?.to_vec(),
                    }
                    Ok(())
                })?;
                Request::MembersFiltered { tags, status, name }
            }
            b"tags" => {
                let (mut set, mut delete) = Default::default();
                each(body, &["Tags", "DeleteTags"], |field, r| {
                    match field {
                        0 => set = text_map(r)?,
                        _ => delete = texts(r)?,
                    }
                    Ok(())
                })?;
                Request::Tags { set, delete }
            }
            b"stream" => {
                let filter = text(body, "Type")?;
                Request::Stream { filter }
            }
            b"cottar-stream" => {
                let filter = text(body, "Type")?;
                Request::OwnStream { filter }
            }
            b"monitor" => {
                let level = text(body, "LogLevel")?;
                Request::Monitor { level }
            }
            b"stop" => {
                let mut seq = 0;
                each(body, &["Stop"], |_, r| r.u64().map(|n| seq = n))?;
                Request::Stop { seq }
            }
            b"leave" => Request::Leave,
            b"query" => Request::Query(Query::decode(body)?),
            b"respond" => {
                let (mut id, mut payload) = (0, None);
                each(body, &["ID", "Payload"], |field, r| {
                    match field {
                        0 => id = r.u64()?,
                        _ => payload = r.bytes()?,
                    }
                    Ok(())
                })?;
                Request::Respond { id, payload }
            }
            b"install-key" => {
                let key = text(body, "Key")?;
                Request::InstallKey { key }
            }
            b"use-key" => {
                let key = text(body, "Key")?;
                Request::UseKey { key }
            }
            b"remove-key" => {
                let key = text(body, "Key")?;
                Request::RemoveKey { key }
            }
            b"list-keys" => Request::ListKeys,
            b"stats" => Request::Stats,
            b"get-coordinate" => {
                let node = text(body, "Node")?;
                Request::Coordinate { node }
            }
            b"cottar-handlers" => Request::Handlers,
            b"cottar-handler-queue" => Request::HandlerQueue,
            b"cottar-handler-drop" => {
                let target = text(body, "Target")?;
                Request::DropQueue { target }
            }
            b"cottar-handler-pause" | b"cottar-handler-resume" => Request::PauseHandler {
                name: text(body, "Name")?,
                is_paused: command == b"cottar-handler-pause",
            },
            _ => return Ok(None),
        }))
    }

    /// Its name on the wire.
    pub const fn command(&self) -> &'static str {
        match self {
            Request::Handshake { .. } => "handshake",
            Request::Auth { .. } => "auth",
            Request::Event { .. } => "event",
            Request::ForceLeave { .. } => "force-leave",
            Request::Join { .. } => "join",
            Request::Members => "members",
            Request::MembersFiltered { .. } => "members-filtered",
            Request::Tags { .. } => "tags",
            Request::Stream { .. } => "stream",
            Request::Monitor { .. } => "monitor",
            Request::Stop { .. } => "stop",
            Request::Leave => "leave",
            Request::Query(_) => "query",
            Request::Respond { .. } => "respond",
            Request::InstallKey { .. } => "install-key",
            Request::UseKey { .. } => "use-key",
            Request::RemoveKey { .. } => "remove-key",
            Request::ListKeys => "list-keys",
            Request::Stats => "stats",
            Request::Coordinate { .. } => "get-coordinate",
            Request::Handlers => "cottar-handlers",
            Request::OwnEvent { .. } => "cottar-event",
            Request::OwnStream { .. } => "cottar-stream",
            Request::HandlerQueue => "cottar-handler-queue",
            Request::DropQueue { .. } => "cottar-handler-drop",
            Request::PauseHandler {
                is_paused: true, ..
            } => "cottar-handler-pause",
            Request::PauseHandler {
                is_paused: false, ..
            } => "cottar-handler-resume",
        }
    }

    /// Whether a body follows the header of its reply.
    pub const fn reply_has_body(&self) -> bool {
        matches!(
            self,
            Request::Members
                | Request::MembersFiltered { .. }
                | Request::Join { .. }
                | Request::InstallKey { .. }
                | Request::UseKey { .. }
                | Request::RemoveKey { .. }
                | Request::ListKeys
                | Request::Stats
                | Request::Coordinate { .. }
                | Request::Handlers
                | Request::OwnEvent { .. }
                | Request::HandlerQueue
                | Request::DropQueue { .. }
        )
    }

    /// Header and body as the reference writes them: keys in byte order.
    pub fn encode(&self, seq: u64) -> Vec<u8> {
        let mut writer = Writer::new(Dialect::Rpc);
        writer.map(2).key("Command").text(self.command());
        writer.key("Seq").uint(seq);
        let w = &mut writer;
        match self {
            Request::Members
            | Request::Leave
            | Request::ListKeys
            | Request::Stats
            | Request::Handlers
            | Request::HandlerQueue => {}
            Request::Handshake { version } => {
                w.map(1).key("Version").int((*version).into());
            }
            Request::Auth { key } => {
                w.map(1).key("AuthKey").text(key);
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
            Request::Stream { filter } | Request::OwnStream { filter } => {
                w.map(1).key("Type").text(filter);
            }
            Request::Monitor { level } => {
                w.map(1).key("LogLevel").text(level);
            }
            Request::InstallKey { key } | Request::UseKey { key } | Request::RemoveKey { key } => {
                w.map(1).key("Key").text(key);
            }
            Request::DropQueue { target } => {
                w.map(1).key("Target").text(target);
            }
            Request::PauseHandler { name, .. } => {
                w.map(1).key("Name").text(name);
            }
            Request::Coordinate { node } => {
                w.map(1).key("Node").text(node);
            }
            Request::Stop { seq } => {
                w.map(1).key("Stop").uint(*seq);
            }
            Request::Query(query) => query.encode(w),
            Request::Respond { id, payload } => {
                w.map(2).key("ID").uint(*id);
                w.key("Payload").bytes_or_nil(payload.as_deref());
            }
        }
        writer.into_bytes()
    }
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

fn each<'a>(
    body: &mut Reader<'a>,
    names: &[&str],
    field: impl FnMut(usize, &mut Reader<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    body.fields(names, field)
}

/// The one field of a body that is text.
fn text(body: &mut Reader<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let mut value = Vec::new();
    each(body, &[name], |_, r| r.text().map(|t| value = t.to_vec()))?;
    Ok(value)
}

fn texts(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let count = reader.array()?;
    (0..count)
        .map(|_| reader.text().map(<[u8]>::to_vec))
        .collect()
}

/// A map of text to text; nil is an empty one, of a key that comes twice the last value counts.
pub(super) fn text_map(reader: &mut Reader<'_>) -> Result<TextMap, Error> {
    let count = reader.map()?;
    (0..count)
        .map(|_| Ok((reader.text()?.to_vec(), reader.text()?.to_vec())))
        .collect()
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
