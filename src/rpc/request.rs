//! What clients say (agent spec 2.4).

mod codec;

use super::TextMap;
use crate::wire::msgpack::{Error, Reader};
pub(super) use codec::text_map;

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
    /// Run handlers: two commands on the wire.
    RunHandlers(Runs),
}

/// Runs of handlers that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The name of one handler; empty: all that ask for the state of the cluster.
    pub name: Vec<u8>,
    /// For an event that did not happen; `None`: with the state of the cluster.
    pub event: Option<MadeUp>,
    /// The reply comes when the runs have ended.
    pub is_awaited: bool,
}

/// An event that did not happen, as a command line has it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MadeUp {
    /// Its type; then its name and perhaps its payload, or its members.
    pub words: Vec<Vec<u8>>,
    /// Its Lamport time.
    pub ltime: u64,
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
            | b"cottar-handler-resume"
            | b"cottar-handler-run"
            | b"cottar-handler-sync" => Body::Present,
            _ => Body::Unknown,
        }
    }
}

impl Request {
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
            Request::RunHandlers(Runs { event: Some(_), .. }) => "cottar-handler-run",
            Request::RunHandlers(_) => "cottar-handler-sync",
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
                | Request::RunHandlers(_)
        )
    }
}
