//! Messages on TCP (gossip spec 2.9). They have no length prefix: decoders find the end as bytes arrive,
//! within limits.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bodies::checked_meta;
use super::membership::message_type;
use super::msgpack::{self, Dialect, Reader, Writer};
use super::{Ack, DecodeError, NodeName, Ping, VersionVector, address, limits};

/// A message sent on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StreamMessage {
    Ping(Ping),
    Ack(Ack),
    PushPull(PushPull),
    /// Message of the Serf layer; an empty one is ignored.
    User(Vec<u8>),
    /// The peer could not read the outer layer of our message.
    Error(Vec<u8>),
}

/// The full state of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PushPull {
    /// Sent as part of a join.
    pub join: bool,
    /// The valid entries, in the order sent.
    pub nodes: Vec<PushPullNode>,
    /// Why single entries were refused (gossip spec 8.7), for the log: the first
    /// [`limits::REFUSED_NODES_MAX`] reasons. Not encoded.
    pub refused: Vec<DecodeError>,
    /// The Serf layer's state; may be empty.
    pub user_state: Vec<u8>,
}

/// A node in the sender's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPullNode {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub addr: SocketAddr,
    /// Its meta; `None` for nil.
    pub meta: Option<Arc<[u8]>>,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its state.
    pub state: RemoteState,
    /// Its versions.
    pub versions: VersionVector,
}

/// A node's state in a push/pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum RemoteState {
    Alive = 0,
    Suspect = 1,
    Dead = 2,
    Left = 3,
}

/// Side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSide {
    /// Opened the connection: writes the label header, reads none.
    Initiator,
    /// Accepted the connection: reads the label header, writes none.
    Responder,
}

impl RemoteState {
    fn from_wire(value: i64) -> Option<Self> {
        Some(match value {
            0 => RemoteState::Alive,
            1 => RemoteState::Suspect,
            2 => RemoteState::Dead,
            3 => RemoteState::Left,
            _ => return None,
        })
    }
}

impl PushPullNode {
    /// Decodes one entry. The outer error fails the whole stream, the inner one only refuses this entry.
    pub(super) fn decode(
        reader: &mut Reader<'_>,
    ) -> Result<Result<Self, DecodeError>, msgpack::Error> {
        const FIELDS: &[&str] = &[
            "Name",
            "Addr",
            "Port",
            "Meta",
            "Incarnation",
            "State",
            "Vsn",
        ];
        let (mut name, mut addr, mut port) = (&[][..], Cow::default(), 0);
        let (mut meta, mut incarnation, mut state) = (None, 0, 0);
        let mut versions = Cow::default();
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => name = reader.text()?,
                1 => addr = reader.bytes_borrowed()?.unwrap_or_default(),
                2 => port = reader.u16()?,
                3 => meta = reader.bytes_borrowed()?,
                4 => incarnation = reader.u32()?,
                5 => state = reader.i64()?,
                _ => versions = reader.bytes_borrowed()?.unwrap_or_default(),
            }
            Ok(())
        })?;
        let checked = || {
            let state = RemoteState::from_wire(state).ok_or(DecodeError::Invalid("State"))?;
            if incarnation == 0 && state == RemoteState::Alive {
                return Err(DecodeError::Invalid("Incarnation"));
            }
            Ok(PushPullNode {
                name: NodeName::new(name)?,
                addr: address::literal(&addr, port, "Addr")?,
                meta: checked_meta(meta.as_deref())?,
                incarnation,
                state,
                versions: VersionVector::decode(&versions)?,
            })
        };
        Ok(checked())
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.map(7).key("Addr");
        address::with_ip_bytes(self.addr.ip(), |ip| {
            writer.bytes(ip);
        });
        writer.key("Incarnation").uint(self.incarnation.into());
        writer.key("Meta").bytes_or_nil(self.meta.as_deref());
        writer.key("Name").text(self.name.as_bytes());
        writer.key("Port").uint(self.addr.port().into());
        writer.key("State").uint(self.state as u64);
        writer.key("Vsn").bytes(&self.versions.encode());
    }
}

impl PushPull {
    /// Adds an entry, or the reason why it was refused.
    pub(super) fn take_node(&mut self, node: Result<PushPullNode, DecodeError>) {
        match node {
            Ok(node) => self.nodes.push(node),
            Err(error) if self.refused.len() < limits::REFUSED_NODES_MAX => {
                self.refused.push(error);
            }
            Err(_) => {}
        }
    }

    /// Encodes the part before the entries.
    pub(super) fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, vec![message_type::PUSH_PULL]);
        writer.map(3).key("Join").bool(self.join);
        writer.key("Nodes").uint(self.nodes.len() as u64);
        writer
            .key("UserStateLen")
            .uint(self.user_state.len() as u64);
        writer.into_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, self.encode_head());
        for node in &self.nodes {
            node.encode(&mut writer);
        }
        writer.verbatim(&self.user_state);
        writer.into_bytes()
    }
}

impl StreamMessage {
    /// Encodes the message, type byte first, without compression and encryption.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            StreamMessage::Ping(ping) => ping.encode_body(vec![message_type::PING]),
            StreamMessage::Ack(ack) => ack.encode_body(vec![message_type::ACK]),
            StreamMessage::PushPull(push_pull) => push_pull.encode(),
            StreamMessage::User(bytes) => {
                let mut writer = Writer::appending(Dialect::Gossip, vec![message_type::USER]);
                writer.map(1).key("UserMsgLen").uint(bytes.len() as u64);
                writer.verbatim(bytes);
                writer.into_bytes()
            }
            StreamMessage::Error(text) => {
                let mut writer = Writer::appending(Dialect::Gossip, vec![message_type::ERROR]);
                writer.map(1).key("Error").text(text);
                writer.into_bytes()
            }
        }
    }
}
