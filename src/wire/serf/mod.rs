//! Messages of the Serf layer (gossip spec 5.2, 5.3, 5.8.2).

mod intent;
mod internal;
mod query;
mod relay;
mod state;
mod tags;

pub use intent::{JoinIntent, LeaveIntent, UserEventMessage};
pub use internal::{ConflictMember, KeyRequest, KeyResponse, MEMBER_FIELDS};
pub use query::{
    Filter, QueryMessage, QueryResponseMessage, RESPONSE_FLAG_ACK, RESPONSE_FLAG_PENDING,
    query_flag,
};
pub use relay::RelayMessage;
pub use state::{RecentEvents, SerfPushPull};
pub use tags::{TAGS_TOO_LONG, Tags};

use super::DecodeError;
use super::msgpack::{self, Dialect, Reader, Writer};

/// Type bytes of Serf messages.
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

/// A Lamport timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LamportTime(pub u64);

impl std::fmt::Display for LamportTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A message of the Serf layer that is sent as a user message.
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

fn writer_of(kind: u8) -> Writer {
    let mut output = Vec::with_capacity(96);
    output.push(kind);
    Writer::appending(Dialect::Gossip, output)
}

impl SerfMessage {
    /// Decodes a user message, type byte first.
    ///
    /// # Errors
    /// Fails if the bytes are empty, the type is unknown or not allowed here, or the body is malformed or
    /// breaks a limit.
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

    /// Encodes the message as codec 0.5.x does, type byte first.
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

/// Returns a reader of the body after checking that the type byte is `due`.
fn body_of(bytes: &[u8], due: u8) -> Result<Reader<'_>, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&kind, body)) if kind == due => Ok(Reader::new(body)),
        Some((&kind, _)) => Err(DecodeError::UnexpectedType(kind)),
    }
}

/// Decodes a list of texts; `None` for nil.
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
