//! Bodies of the Serf layer's messages (gossip spec 5.2, 5.3, 5.8.2).

use std::borrow::Cow;
use std::net::SocketAddr;

use super::membership::optional_name;
use super::msgpack::{self, Dialect, Reader, Writer};
use super::{DecodeError, NodeName, VersionVector, address, limits};

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

/// Payload of a key query (gossip spec 5.10).
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The raw key; empty or nil to list. Not shown by `Debug`.
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRequest(..)")
    }
}

/// Answer to a key query. Keys are texts in base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyResponse {
    /// Whether it worked.
    pub result: bool,
    /// Why not, or a remark.
    pub message: Vec<u8>,
    /// The keys of the ring; `None` for nil. Not shown by `Debug`.
    pub keys: Option<Vec<Vec<u8>>>,
    /// The primary key, empty before Serf 0.9.4. Not shown by `Debug`.
    pub primary_key: Vec<u8>,
}

impl std::fmt::Debug for KeyResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyResponse")
            .field("result", &self.result)
            .field("message", &super::name::Escaped(&self.message).to_string())
            .finish_non_exhaustive()
    }
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

    /// Of a key that comes twice the last value wins.
    fn from_pairs(mut pairs: Vec<(&[u8], &[u8])>) -> Self {
        pairs.reverse();
        pairs.sort_by_key(|&(key, _)| key);
        pairs.dedup_by_key(|&mut (key, _)| key);
        Tags(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    fn position(&self, key: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|(present, _)| (**present).cmp(key))
    }

    /// The value of a tag.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let index = self.position(key).ok()?;
        self.0.get(index).map(|(_, value)| &**value)
    }

    /// Sets a tag, replacing an older value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        match self.position(key) {
            Ok(index) => self.0[index].1 = value.into(),
            Err(index) => self.0.insert(index, (key.into(), value.into())),
        }
    }

    /// Removes a tag; tells whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let position = self.position(key);
        if let Ok(index) = position {
            self.0.remove(index);
        }
        position.is_ok()
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
        if serf_protocol < TAGS_SINCE_PROTOCOL {
            return self.get(b"role").unwrap_or_default().to_vec();
        }
        let mut writer = Writer::appending(Dialect::Gossip, vec![TAGS_MARK]);
        self.encode_map(&mut writer);
        writer.into_bytes()
    }

    fn encode_map(&self, writer: &mut Writer) {
        writer.map(self.len());
        for (key, value) in self.iter() {
            writer.text(key).text(value);
        }
    }

    /// Tags from a node's meta. Never fails: what decodes is kept, as in the reference; the flag
    /// tells whether all of it did.
    pub fn decode_meta(meta: &[u8]) -> (Tags, bool) {
        let [TAGS_MARK, map @ ..] = meta else {
            return (Tags::from_pairs(vec![(b"role", meta)]), true);
        };
        Self::decode_map(&mut Reader::new(map))
    }

    fn decode_map(reader: &mut Reader<'_>) -> (Tags, bool) {
        let mut pairs = Vec::new();
        let mut read = || -> Result<(), msgpack::Error> {
            for _ in 0..reader.map()? {
                let key = reader.text()?;
                pairs.push((key, reader.text()?));
            }
            Ok(())
        };
        let complete = read().is_ok();
        (Tags::from_pairs(pairs), complete)
    }
}

/// First byte of meta that holds tags; without it the whole meta is a role (gossip spec 5.2).
const TAGS_MARK: u8 = 0xff;
/// Below this Serf protocol meta is the bare role (gossip spec 5.1).
const TAGS_SINCE_PROTOCOL: u8 = 3;

fn writer_of(kind: u8) -> Writer {
    let mut output = Vec::with_capacity(96);
    output.push(kind);
    Writer::appending(Dialect::Gossip, output)
}

impl SerfMessage {
    /// Decodes a user message, type byte first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let reader = &mut Reader::new(body);
        match kind {
            message_type::LEAVE => LeaveIntent::decode_body(reader).map(SerfMessage::Leave),
            message_type::JOIN => {
                LeaveIntent::decode_body(reader).map(|LeaveIntent { ltime, node, .. }| {
                    SerfMessage::Join(JoinIntent { ltime, node })
                })
            }
            message_type::USER_EVENT => {
                UserEventMessage::decode_body(reader).map(SerfMessage::UserEvent)
            }
            message_type::QUERY => QueryMessage::decode_body(reader).map(SerfMessage::Query),
            message_type::QUERY_RESPONSE => {
                QueryResponseMessage::decode_body(reader).map(SerfMessage::QueryResponse)
            }
            message_type::RELAY => RelayMessage::decode_body(reader).map(SerfMessage::Relay),
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// The message, type byte first, as codec 0.5.x writes it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            SerfMessage::Leave(leave) => {
                let mut writer = writer_of(message_type::LEAVE);
                writer.map(3).key("LTime").uint(leave.ltime.0);
                writer.key("Node").text(leave.node.as_bytes());
                writer.key("Prune").bool(leave.prune);
                writer.into_bytes()
            }
            SerfMessage::Join(join) => {
                let mut writer = writer_of(message_type::JOIN);
                writer.map(2).key("LTime").uint(join.ltime.0);
                writer.key("Node").text(join.node.as_bytes());
                writer.into_bytes()
            }
            SerfMessage::UserEvent(event) => event.encode(),
            SerfMessage::Query(query) => query.encode(),
            SerfMessage::QueryResponse(response) => response.encode(),
            SerfMessage::Relay(relay) => relay.encode(),
        }
    }
}

impl LeaveIntent {
    /// Also reads a join intent, which only lacks the last field.
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut ltime, mut node, mut prune) = (0, &[][..], false);
        reader.fields::<msgpack::Error>(&["LTime", "Node", "Prune"], |field, reader| {
            match field {
                0 => ltime = reader.u64()?,
                1 => node = reader.text()?,
                _ => prune = reader.bool()?,
            }
            Ok(())
        })?;
        Ok(LeaveIntent {
            ltime: LamportTime(ltime),
            node: NodeName::new(node)?,
            prune,
        })
    }
}

impl UserEventMessage {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut ltime, mut name, mut payload, mut coalesce) = (0, &[][..], None, false);
        reader.fields::<msgpack::Error>(&["LTime", "Name", "Payload", "CC"], |field, reader| {
            match field {
                0 => ltime = reader.u64()?,
                1 => name = reader.text()?,
                2 => payload = reader.bytes_borrowed()?,
                _ => coalesce = reader.bool()?,
            }
            Ok(())
        })?;
        Ok(UserEventMessage {
            ltime: LamportTime(ltime),
            name: name.to_vec(),
            payload: payload.map(Cow::into_owned),
            coalesce,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::USER_EVENT);
        writer.map(4).key("CC").bool(self.coalesce);
        writer.key("LTime").uint(self.ltime.0);
        writer.key("Name").text(&self.name);
        writer.key("Payload").bytes_or_nil(self.payload.as_deref());
        writer.into_bytes()
    }
}

impl QueryMessage {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &[
            "LTime",
            "ID",
            "Addr",
            "Port",
            "SourceNode",
            "Filters",
            "Flags",
            "RelayFactor",
            "Timeout",
            "Name",
            "Payload",
        ];
        let (mut ltime, mut id, mut addr, mut port) = (0, 0, Cow::default(), 0);
        let (mut source_node, mut filters, mut flags) = (&[][..], None, 0);
        let (mut relay_factor, mut timeout_nanos) = (0, 0);
        let (mut name, mut payload) = (&[][..], None);
        reader.fields::<DecodeError>(FIELDS, |field, reader| {
            match field {
                0 => ltime = reader.u64()?,
                1 => id = reader.u32()?,
                2 => addr = reader.bytes_borrowed()?.unwrap_or_default(),
                3 => port = reader.u16()?,
                4 => source_node = reader.text()?,
                5 => filters = decode_filters(reader)?,
                6 => flags = reader.u32()?,
                7 => relay_factor = reader.u8()?,
                8 => timeout_nanos = reader.i64()?,
                9 => name = reader.text()?,
                _ => payload = reader.bytes_borrowed()?,
            }
            Ok(())
        })?;
        Ok(QueryMessage {
            ltime: LamportTime(ltime),
            id,
            addr: address::reachable(&addr, port, "Addr")?,
            source_node: optional_name(source_node)?,
            filters,
            flags,
            relay_factor,
            timeout_nanos,
            name: name.to_vec(),
            payload: payload.map(Cow::into_owned),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::QUERY);
        writer
            .map(10 + usize::from(self.source_node.is_some()))
            .key("Addr");
        address::with_ip_bytes(self.addr.ip(), |ip| {
            writer.bytes(ip);
        });
        writer.key("Filters");
        match &self.filters {
            None => {
                writer.nil();
            }
            Some(filters) => {
                writer.array(filters.len());
                for filter in filters {
                    writer.bytes(filter);
                }
            }
        }
        writer.key("Flags").uint(self.flags.into());
        writer.key("ID").uint(self.id.into());
        writer.key("LTime").uint(self.ltime.0);
        writer.key("Name").text(&self.name);
        writer.key("Payload").bytes_or_nil(self.payload.as_deref());
        writer.key("Port").uint(self.addr.port().into());
        writer.key("RelayFactor").uint(self.relay_factor.into());
        if let Some(source_node) = &self.source_node {
            writer.key("SourceNode").text(source_node.as_bytes());
        }
        writer.key("Timeout").int(self.timeout_nanos);
        writer.into_bytes()
    }
}

/// Elements of zero bytes are kept: they match nobody, but the query still travels on.
fn decode_filters(reader: &mut Reader<'_>) -> Result<Option<Vec<Vec<u8>>>, DecodeError> {
    if reader.take_nil()? {
        return Ok(None);
    }
    let count = reader.array()?;
    if count > limits::QUERY_FILTERS_MAX {
        return Err(DecodeError::TooLarge("filters of a query"));
    }
    let mut filters = Vec::with_capacity(count);
    for _ in 0..count {
        filters.push(reader.bytes()?.unwrap_or_default());
    }
    Ok(Some(filters))
}

impl QueryResponseMessage {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &["LTime", "ID", "From", "Flags", "Payload"];
        let (mut ltime, mut id, mut from, mut flags, mut payload) = (0, 0, &[][..], 0, None);
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => ltime = reader.u64()?,
                1 => id = reader.u32()?,
                2 => from = reader.text()?,
                3 => flags = reader.u32()?,
                _ => payload = reader.bytes_borrowed()?,
            }
            Ok(())
        })?;
        Ok(QueryResponseMessage {
            ltime: LamportTime(ltime),
            id,
            from: NodeName::new(from)?,
            flags,
            payload: payload.map(Cow::into_owned),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::QUERY_RESPONSE);
        writer.map(5).key("Flags").uint(self.flags.into());
        writer.key("From").text(self.from.as_bytes());
        writer.key("ID").uint(self.id.into());
        writer.key("LTime").uint(self.ltime.0);
        writer.key("Payload").bytes_or_nil(self.payload.as_deref());
        writer.into_bytes()
    }
}

impl RelayMessage {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut ip, mut port, mut name) = (Cow::default(), 0, &[][..]);
        reader.fields::<msgpack::Error>(&["DestAddr", "DestName"], |field, reader| {
            if field == 1 {
                name = reader.text()?;
                return Ok(());
            }
            // A zone means nothing on another machine.
            reader.fields::<msgpack::Error>(&["IP", "Port"], |field, reader| {
                match field {
                    0 => ip = reader.bytes_borrowed()?.unwrap_or_default(),
                    _ => port = reader.u16()?,
                }
                Ok(())
            })
        })?;
        if reader.rest().is_empty() {
            return Err(DecodeError::Empty);
        }
        Ok(RelayMessage {
            destination: address::reachable(&ip, port, "DestAddr")?,
            destination_name: optional_name(name)?,
            message: reader.rest().to_vec(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::RELAY);
        writer.map(1 + usize::from(self.destination_name.is_some()));
        writer.key("DestAddr").map(3).key("IP");
        address::with_ip_bytes(self.destination.ip(), |ip| {
            writer.bytes(ip);
        });
        writer.key("Port").uint(self.destination.port().into());
        writer.key("Zone").text("");
        if let Some(name) = &self.destination_name {
            writer.key("DestName").text(name.as_bytes());
        }
        writer.verbatim(&self.message);
        writer.into_bytes()
    }
}

impl SerfPushPull {
    /// Decodes user state, type byte first.
    ///
    /// A name that is none is left out: one strange member must not keep the clocks, the events and
    /// all other members from us.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &[
            "LTime",
            "StatusLTimes",
            "LeftMembers",
            "EventLTime",
            "Events",
            "QueryLTime",
        ];
        let mut reader = body_of(bytes, message_type::PUSH_PULL)?;
        let mut state = SerfPushPull::default();
        reader.fields::<DecodeError>(FIELDS, |field, reader| {
            match field {
                0 => state.ltime = LamportTime(reader.u64()?),
                1 => state.status_ltimes = decode_status_ltimes(reader)?,
                2 => state.left_members = decode_left_members(reader)?,
                3 => state.event_ltime = LamportTime(reader.u64()?),
                4 => state.events = decode_recent_events(reader)?,
                _ => state.query_ltime = LamportTime(reader.u64()?),
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// The user state, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::PUSH_PULL);
        writer.map(6).key("EventLTime").uint(self.event_ltime.0);
        writer.key("Events").array(self.events.len());
        for recent in &self.events {
            match recent {
                Some(recent) => recent.encode(&mut writer),
                None => {
                    writer.nil();
                }
            }
        }
        writer.key("LTime").uint(self.ltime.0);
        writer.key("LeftMembers").array(self.left_members.len());
        for name in &self.left_members {
            writer.text(name.as_bytes());
        }
        writer.key("QueryLTime").uint(self.query_ltime.0);
        writer.key("StatusLTimes").map(self.status_ltimes.len());
        for (name, ltime) in &self.status_ltimes {
            writer.text(name.as_bytes()).uint(ltime.0);
        }
        writer.into_bytes()
    }
}

/// A count of things that take far more memory than wire: held to what a cluster can have.
fn within(count: usize, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    if count > max {
        return Err(DecodeError::TooLarge(what));
    }
    Ok(count)
}

fn decode_status_ltimes(
    reader: &mut Reader<'_>,
) -> Result<Vec<(NodeName, LamportTime)>, DecodeError> {
    let count = within(reader.map()?, limits::PUSH_PULL_NODES_MAX, "StatusLTimes")?;
    let mut status_ltimes = Vec::new();
    for _ in 0..count {
        let name = reader.text()?;
        let ltime = LamportTime(reader.u64()?);
        if let Ok(name) = NodeName::new(name) {
            status_ltimes.push((name, ltime));
        }
    }
    Ok(status_ltimes)
}

fn decode_left_members(reader: &mut Reader<'_>) -> Result<Vec<NodeName>, DecodeError> {
    let count = within(reader.array()?, limits::PUSH_PULL_NODES_MAX, "LeftMembers")?;
    let mut left_members = Vec::new();
    for _ in 0..count {
        if let Ok(name) = NodeName::new(reader.text()?) {
            left_members.push(name);
        }
    }
    Ok(left_members)
}

fn decode_recent_events(reader: &mut Reader<'_>) -> Result<Vec<Option<RecentEvents>>, DecodeError> {
    let slots = within(reader.array()?, limits::RECENT_EVENTS_MAX, "Events")?;
    let mut events_left = limits::RECENT_EVENTS_MAX;
    let mut recent = Vec::new();
    for _ in 0..slots {
        recent.push(if reader.take_nil()? {
            None
        } else {
            Some(RecentEvents::decode(reader, &mut events_left)?)
        });
    }
    Ok(recent)
}

impl RecentEvents {
    fn decode(reader: &mut Reader<'_>, events_left: &mut usize) -> Result<Self, DecodeError> {
        let mut recent = RecentEvents {
            ltime: LamportTime(0),
            events: Vec::new(),
        };
        reader.fields::<DecodeError>(&["LTime", "Events"], |field, reader| {
            if field == 0 {
                recent.ltime = LamportTime(reader.u64()?);
                return Ok(());
            }
            recent.events.clear();
            let count = within(reader.array()?, *events_left, "Events")?;
            *events_left -= count;
            for _ in 0..count {
                recent.events.push(decode_recent_event(reader)?);
            }
            Ok(())
        })?;
        Ok(recent)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.map(2).key("Events").array(self.events.len());
        for (name, payload) in &self.events {
            writer.map(2).key("Name").text(name);
            writer.key("Payload").bytes_or_nil(payload.as_deref());
        }
        writer.key("LTime").uint(self.ltime.0);
    }
}

fn decode_recent_event(
    reader: &mut Reader<'_>,
) -> Result<(Vec<u8>, Option<Vec<u8>>), msgpack::Error> {
    let (mut name, mut payload) = (&[][..], None);
    reader.fields::<msgpack::Error>(&["Name", "Payload"], |field, reader| {
        match field {
            0 => name = reader.text()?,
            _ => payload = reader.bytes_borrowed()?,
        }
        Ok(())
    })?;
    Ok((name.to_vec(), payload.map(Cow::into_owned)))
}

/// First bytes of encoded filters.
mod filter_type {
    pub(super) const NODES: u8 = 0;
    pub(super) const TAG: u8 = 1;
}

impl Filter {
    /// Decodes one element of [`QueryMessage::filters`].
    ///
    /// # Errors
    /// Zero bytes, unknown type, bad body: the query then matches nobody.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let reader = &mut Reader::new(body);
        match kind {
            filter_type::NODES => Ok(Filter::Nodes(decode_texts(reader)?.unwrap_or_default())),
            filter_type::TAG => {
                let (mut tag, mut expression) = (&[][..], &[][..]);
                reader.fields::<msgpack::Error>(&["Tag", "Expr"], |field, reader| {
                    match field {
                        0 => tag = reader.text()?,
                        _ => expression = reader.text()?,
                    }
                    Ok(())
                })?;
                Ok(Filter::Tag {
                    tag: tag.to_vec(),
                    expression: expression.to_vec(),
                })
            }
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// Encodes it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Filter::Nodes(names) => {
                let mut writer = writer_of(filter_type::NODES);
                writer.array(names.len());
                for name in names {
                    writer.text(name);
                }
                writer.into_bytes()
            }
            Filter::Tag { tag, expression } => {
                let mut writer = writer_of(filter_type::TAG);
                writer.map(2).key("Expr").text(expression);
                writer.key("Tag").text(tag);
                writer.into_bytes()
            }
        }
    }
}

impl ConflictMember {
    /// Decodes the payload of a conflict answer; `Ok(None)` for nil: the name is unknown there.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        const FIELDS: &[&str] = &[
            "Name",
            "Addr",
            "Port",
            "Tags",
            "Status",
            "ProtocolMin",
            "ProtocolMax",
            "ProtocolCur",
            "DelegateMin",
            "DelegateMax",
            "DelegateCur",
        ];
        let mut reader = body_of(bytes, message_type::CONFLICT_RESPONSE)?;
        if reader.clone().take_nil()? {
            return Ok(None);
        }
        let (mut name, mut addr, mut port) = (&[][..], Cow::default(), 0);
        let (mut tags, mut status, mut versions) = (Tags::new(), 0, [0; 6]);
        reader.fields::<DecodeError>(FIELDS, |field, reader| {
            match field {
                0 => name = reader.text()?,
                1 => addr = reader.bytes_borrowed()?.unwrap_or_default(),
                2 => port = reader.u16()?,
                3 => {
                    let (decoded, complete) = Tags::decode_map(reader);
                    if !complete {
                        return Err(DecodeError::Invalid("Tags"));
                    }
                    tags = decoded;
                }
                4 => status = reader.u8()?,
                version => versions[version - 5] = reader.u8()?,
            }
            Ok(())
        })?;
        if status > STATUS_MAX {
            return Err(DecodeError::Invalid("Status"));
        }
        Ok(Some(ConflictMember {
            name: NodeName::new(name)?,
            addr: address::reachable(&addr, port, "Addr")?,
            tags,
            status,
            versions: VersionVector::decode(&versions)?,
        }))
    }

    /// Encodes an answer, type byte first; `None` as nil.
    pub fn encode(member: Option<&Self>) -> Vec<u8> {
        let mut writer = writer_of(message_type::CONFLICT_RESPONSE);
        let Some(member) = member else {
            writer.nil();
            return writer.into_bytes();
        };
        writer.map(11).key("Addr");
        address::with_ip_bytes(member.addr.ip(), |ip| {
            writer.bytes(ip);
        });
        let versions = member.versions;
        for (key, version) in [
            ("DelegateCur", versions.delegate_current),
            ("DelegateMax", versions.delegate_max),
            ("DelegateMin", versions.delegate_min),
        ] {
            writer.key(key).uint(version.into());
        }
        writer.key("Name").text(member.name.as_bytes());
        writer.key("Port").uint(member.addr.port().into());
        for (key, version) in [
            ("ProtocolCur", versions.protocol_current),
            ("ProtocolMax", versions.protocol_max),
            ("ProtocolMin", versions.protocol_min),
        ] {
            writer.key(key).uint(version.into());
        }
        writer.key("Status").uint(member.status.into());
        writer.key("Tags");
        member.tags.encode_map(&mut writer);
        writer.into_bytes()
    }
}

/// The highest Serf status: failed (gossip spec 5.5).
const STATUS_MAX: u8 = 4;

impl KeyRequest {
    /// Decodes the payload of a key query, type byte first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = body_of(bytes, message_type::KEY_REQUEST)?;
        let mut key = None;
        reader.fields::<msgpack::Error>(&["Key"], |_, reader| {
            key = reader.bytes()?;
            Ok(())
        })?;
        Ok(KeyRequest { key })
    }

    /// Encodes it, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::KEY_REQUEST);
        writer.map(1).key("Key").bytes_or_nil(self.key.as_deref());
        writer.into_bytes()
    }
}

impl KeyResponse {
    /// Decodes the payload of an answer, type byte first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &["Result", "Message", "Keys", "PrimaryKey"];
        let mut reader = body_of(bytes, message_type::KEY_RESPONSE)?;
        let mut response = KeyResponse::default();
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => response.result = reader.bool()?,
                1 => response.message = reader.text()?.to_vec(),
                2 => response.keys = decode_texts(reader)?,
                _ => response.primary_key = reader.text()?.to_vec(),
            }
            Ok(())
        })?;
        Ok(response)
    }

    /// Encodes it, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::KEY_RESPONSE);
        writer.map(4).key("Keys");
        match &self.keys {
            None => {
                writer.nil();
            }
            Some(keys) => {
                writer.array(keys.len());
                for key in keys {
                    writer.text(key);
                }
            }
        }
        writer.key("Message").text(&self.message);
        writer.key("PrimaryKey").text(&self.primary_key);
        writer.key("Result").bool(self.result);
        writer.into_bytes()
    }
}

/// The MessagePack behind the type byte that is due.
fn body_of(bytes: &[u8], due: u8) -> Result<Reader<'_>, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&kind, body)) if kind == due => Ok(Reader::new(body)),
        Some((&kind, _)) => Err(DecodeError::UnexpectedType(kind)),
    }
}

/// A list of texts, or nil.
fn decode_texts(reader: &mut Reader<'_>) -> Result<Option<Vec<Vec<u8>>>, msgpack::Error> {
    if reader.take_nil()? {
        return Ok(None);
    }
    let mut texts = Vec::new();
    for _ in 0..reader.array()? {
        texts.push(reader.text()?.to_vec());
    }
    Ok(Some(texts))
}
