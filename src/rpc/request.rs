//! Requests of clients (agent spec 2.4).

mod codec;

use super::TextMap;
use crate::wire::msgpack::{Error, Reader};
pub(super) use codec::text_map;

/// First value of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// The command's name.
    pub command: Vec<u8>,
    /// Sequence number, chosen by the client and echoed in all replies and records of the request.
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
    /// This and the next two have a key in base64.
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
    /// This and all that follow are only in cottar. Lists the handlers and statistics of their runs.
    Handlers,
    /// Fires an event like [`Request::Event`]; the reply has its Lamport time and id.
    OwnEvent {
        name: Vec<u8>,
        /// `None` for nil.
        payload: Option<Vec<u8>>,
        coalesce: bool,
    },
    /// Streams events like [`Request::Stream`], with additional fields in the records.
    OwnStream {
        filter: Vec<u8>,
    },
    /// Lists the events that wait for handlers.
    HandlerQueue,
    /// Drops waiting events: those for the handler with that name, the event with that id, or all if empty.
    DropQueue {
        target: Vec<u8>,
    },
    /// Pauses or resumes a handler: two commands on the wire.
    PauseHandler {
        name: Vec<u8>,
        is_paused: bool,
    },
    /// Runs handlers: two commands on the wire.
    RunHandlers(Runs),
}

/// Requested runs of handlers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Name of one handler; empty: all with the filter `sync`.
    pub name: Vec<u8>,
    /// Synthetic event to run for; `None`: `sync`, with the current state of the cluster.
    pub event: Option<SyntheticEvent>,
    /// Whether the reply must wait for the end of the runs.
    pub is_awaited: bool,
}

/// A synthetic event as given on a command line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SyntheticEvent {
    /// Type, followed by members, or a name and an optional payload.
    pub words: Vec<Vec<u8>>,
    /// Lamport time.
    pub ltime: u64,
}

/// Body of a query request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query {
    /// Nodes that must answer; empty: all.
    pub filter_nodes: Vec<Vec<u8>>,
    /// Tag patterns that nodes must match.
    pub filter_tags: TextMap,
    /// Whether nodes must acknowledge the query.
    pub request_ack: bool,
    /// Number of relayed copies of each answer.
    pub relay_factor: u8,
    /// Timeout in nanoseconds; 0 for the agent's default.
    pub timeout_nanos: i64,
    /// Name of the query.
    pub name: Vec<u8>,
    /// Payload; `None` for nil.
    pub payload: Option<Vec<u8>>,
}

/// What follows a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Absent,
    /// One value.
    Present,
    /// Not known, because the command is unknown.
    Unknown,
}

impl Header {
    /// Decodes a header. Missing fields are empty; the reference instead keeps their values from the previous
    /// request.
    ///
    /// # Errors
    /// If it is not a map, array or nil, or a field has the wrong type.
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

    /// Returns whether a body follows.
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
            | b"cottar-handler-resume"
            | b"cottar-handler-run"
            | b"cottar-handler-sync" => Body::Present,
            _ => Body::Unknown,
        }
    }
}

impl Request {
    /// Returns the command's name on the wire.
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
            Request::RunHandlers(Runs { event: Some(_), .. }) => "cottar-handler-run",
            Request::RunHandlers(_) => "cottar-handler-sync",
        }
    }

    /// Returns whether a body follows the header of the reply.
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
                | Request::RunHandlers(_)
        )
    }
}
