//! Bodies of the Serf layer's messages (gossip spec 5.2, 5.3, 5.8.2).

use std::net::SocketAddr;

use super::{DecodeError, NodeName, VersionVector};

/// First bytes of Serf messages.
pub mod message_type {
    #![allow(missing_docs)]
    pub const LEAVE: u8 = 0;
    pub const JOIN: u8 = 1;
    pub const PUSH_PULL: u8 = 2;
    pub const USER_EVENT: u8 = 3;
    pub const QUERY: u8 = 4;
    pub const QUERY_RESPONSE: u8 = 5;
    pub const CONFLICT_RESPONSE: u8 = 6;
    pub const KEY_REQUEST: u8 = 7;
    pub const KEY_RESPONSE: u8 = 8;
    pub const RELAY: u8 = 9;
}

/// A Lamport time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LamportTime(pub u64);

impl std::fmt::Display for LamportTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A message of the Serf layer that travels as a user message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SerfMessage {
    Leave(LeaveIntent),
    Join(JoinIntent),
    UserEvent(UserEventMessage),
    Query(QueryMessage),
    QueryResponse(QueryResponseMessage),
    Relay(RelayMessage),
}

/// A node is leaving, or somebody wants it to be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveIntent {
    /// Member clock of the sender.
    pub ltime: LamportTime,
    /// Who leaves.
    pub node: NodeName,
    /// Forget it altogether.
    pub prune: bool,
}

/// A node has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinIntent {
    /// Member clock of the sender.
    pub ltime: LamportTime,
    /// Who joined.
    pub node: NodeName,
}

/// A user event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEventMessage {
    /// Event clock of the sender.
    pub ltime: LamportTime,
    /// Name, any bytes.
    pub name: Vec<u8>,
    /// Payload; `None` for nil, which is delivered like an empty one.
    pub payload: Option<Vec<u8>>,
    /// Receivers may coalesce it with others of its name.
    pub coalesce: bool,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMessage {
    /// Query clock of the asker.
    pub ltime: LamportTime,
    /// Random; with `ltime` it identifies the query.
    pub id: u32,
    /// Where replies go.
    pub addr: SocketAddr,
    /// The asker's name; absent before Serf 0.9.0.
    pub source_node: Option<NodeName>,
    /// Encoded filters, in the order sent; `None` for nil. See [`Filter::decode`].
    pub filters: Option<Vec<Vec<u8>>>,
    /// See [`query_flag`].
    pub flags: u32,
    /// Extra copies of each reply through other nodes.
    pub relay_factor: u8,
    /// Nanoseconds from delivery to the last useful reply, as sent: may be negative or absurd.
    pub timeout_nanos: i64,
    /// Name, any bytes.
    pub name: Vec<u8>,
    /// Payload; `None` for nil.
    pub payload: Option<Vec<u8>>,
}

/// Bits of [`QueryMessage::flags`].
pub mod query_flag {
    /// The asker wants an ack.
    pub const ACK: u32 = 1;
    /// Receivers must not rebroadcast.
    pub const NO_BROADCAST: u32 = 2;
}

/// An ack of, or a reply to, a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryResponseMessage {
    /// Of the query.
    pub ltime: LamportTime,
    /// Of the query.
    pub id: u32,
    /// Who answers.
    pub from: NodeName,
    /// Bit 0: this is an ack.
    pub flags: u32,
    /// Nil in an ack.
    pub payload: Option<Vec<u8>>,
}

/// Bit of [`QueryResponseMessage::flags`]: an ack.
pub const RESPONSE_FLAG_ACK: u32 = 1;

/// A message to be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayMessage {
    /// Where to send it.
    pub destination: SocketAddr,
    /// Its name; absent before Serf 0.9.0.
    pub destination_name: Option<NodeName>,
    /// The message to send, byte for byte; not decoded, never empty.
    pub message: Vec<u8>,
}

/// The user state of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SerfPushPull {
    /// Member clock.
    pub ltime: LamportTime,
    /// Last intent time of each known member, in the order sent.
    pub status_ltimes: Vec<(NodeName, LamportTime)>,
    /// Names with status left.
    pub left_members: Vec<NodeName>,
    /// Event clock.
    pub event_ltime: LamportTime,
    /// Recent user events; nil elements of the wire are kept as `None` so that captured bytes
    /// come back, we send none.
    pub events: Vec<Option<RecentEvents>>,
    /// Query clock.
    pub query_ltime: LamportTime,
}

/// User events of one Lamport time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentEvents {
    /// Their time.
    pub ltime: LamportTime,
    /// Name and payload of each.
    pub events: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Who should handle a query (gossip spec 5.8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nodes with these names.
    Nodes(Vec<Vec<u8>>),
    /// The nodes whose tag matches a regular expression somewhere.
    Tag {
        /// Name of the tag.
        tag: Vec<u8>,
        /// RE2 expression, unanchored.
        expression: Vec<u8>,
    },
}

/// Answer to a `_serf_conflict` query: what the answering node knows of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictMember {
    /// The name asked for.
    pub name: NodeName,
    /// Its address as the answering node has it.
    pub addr: SocketAddr,
    /// Its tags.
    pub tags: Tags,
    /// Serf status, 0 to 4 (gossip spec 5.5).
    pub status: u8,
    /// Its versions.
    pub versions: VersionVector,
}

/// A node's tags: text to text, sorted by key, one value a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tags(Vec<(Box<[u8]>, Box<[u8]>)>);

/// Text of the error for tags that exceed [`super::limits::META_BYTES_MAX`].
pub const TAGS_TOO_LONG: &str = "Encoded length of tags exceeds limit of 512 bytes";

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Tags::default()
    }
    /// The value of a tag.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        todo!()
    }
    /// Sets a tag, replacing an older value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        todo!()
    }
    /// Removes a tag; tells whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        todo!()
    }
    /// All tags in byte order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
    /// The number of tags.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Meta for Serf protocol 3 and later: `ff` and a map (gossip spec 5.2); below 3 the bare role.
    pub fn encode_meta(&self, serf_protocol: u8) -> Vec<u8> {
        todo!()
    }
    /// Tags from a node's meta. Never fails: what decodes is kept, as in the reference; the flag
    /// tells whether all of it did.
    pub fn decode_meta(meta: &[u8]) -> (Tags, bool) {
        todo!()
    }
}

impl SerfMessage {
    /// Decodes a user message, type byte first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
    /// The message, type byte first, as codec 0.5.x writes it.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

impl SerfPushPull {
    /// Decodes user state, type byte first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
    /// The user state, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

impl Filter {
    /// Decodes one element of [`QueryMessage::filters`].
    ///
    /// # Errors
    /// Zero bytes, unknown type, bad body: the query then matches nobody.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
    /// Encodes it.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

impl ConflictMember {
    /// Decodes the payload of a conflict answer; `Ok(None)` for nil: the name is unknown there.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        todo!()
    }
    /// Encodes an answer, type byte first; `None` as nil.
    pub fn encode(member: Option<&Self>) -> Vec<u8> {
        todo!()
    }
}
