//! Bodies of the membership layer's messages (gossip spec 3.4).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use super::msgpack::{self, Dialect, Reader, Writer};
use super::{DecodeError, NodeName, address, limits};

/// First bytes of membership messages (gossip spec 2.2).
pub mod message_type {
    #![allow(missing_docs)]
    pub const PING: u8 = 0;
    pub const INDIRECT_PING: u8 = 1;
    pub const ACK: u8 = 2;
    pub const SUSPECT: u8 = 3;
    pub const ALIVE: u8 = 4;
    pub const DEAD: u8 = 5;
    pub const PUSH_PULL: u8 = 6;
    pub const COMPOUND: u8 = 7;
    pub const USER: u8 = 8;
    pub const COMPRESS: u8 = 9;
    pub const ENCRYPT: u8 = 10;
    pub const NACK: u8 = 11;
    pub const CHECKSUM: u8 = 12;
    pub const ERROR: u8 = 13;
    pub const LABEL: u8 = 244;
}

/// A message that travels in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Message {
    Ping(Ping),
    IndirectPing(IndirectPing),
    Ack(Ack),
    Nack(Nack),
    Suspect(Suspect),
    Alive(Alive),
    Dead(Dead),
    /// The Serf layer's bytes, its own type byte first; never empty.
    User(Vec<u8>),
}

/// Are you there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Echoed in the ack.
    pub seq_no: u32,
    /// Who should answer; `None`: whoever gets it.
    pub node: Option<NodeName>,
    /// Where the ack should go; `None` (no address, or port 0): where the datagram came from.
    pub source: Option<SocketAddr>,
    /// The sender's name; informative.
    pub source_node: Option<NodeName>,
}

/// Please ping that node for me.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectPing {
    /// The requester's number, for the answer.
    pub seq_no: u32,
    /// Address of the target; port 0 stands for the relay's own gossip port.
    pub target: SocketAddr,
    /// Name of the target.
    pub node: NodeName,
    /// The requester wants a nack if the target stays silent.
    pub nack: bool,
    /// As in [`Ping::source`].
    pub source: Option<SocketAddr>,
    /// As in [`Ping::source_node`].
    pub source_node: Option<NodeName>,
}

/// I am, or the target of your indirect ping is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The number of the ping.
    pub seq_no: u32,
    /// What the Serf layer added: coordinates. Nil in relayed acks and on TCP.
    pub payload: Option<Vec<u8>>,
}

/// The target of your indirect ping did not answer me in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The requester's number.
    pub seq_no: u32,
}

/// An accusation of not answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Of the accused, as the accuser knows it.
    pub incarnation: u32,
    /// The accused.
    pub node: NodeName,
    /// The accuser; may be missing.
    pub from: Option<NodeName>,
}

/// A verdict, or a node's own farewell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Of the accused, as the accuser knows it.
    pub incarnation: u32,
    /// The accused.
    pub node: NodeName,
    /// The accuser; equal to `node` for a farewell. Serf 0.8 says farewell with none.
    pub from: Option<NodeName>,
}

/// A node's announcement of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Never 0.
    pub incarnation: u32,
    /// Whom it is about.
    pub node: NodeName,
    /// Advertised address; port 0 stands for the receiver's own gossip port.
    pub addr: SocketAddr,
    /// The Serf layer's bytes: tags. `None` for nil: a library user without a delegate.
    pub meta: Option<Arc<[u8]>>,
    /// Protocol versions.
    pub versions: VersionVector,
}

/// Protocol versions that a node speaks (gossip spec 4.9), in the order of the wire.
///
/// Values of this type are sane: 1 <= min <= current <= max for the protocol, min <= current <= max
/// for the delegate. Anything else is refused, because it would block every push/pull (4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionVector {
    /// Lowest membership protocol understood.
    pub protocol_min: u8,
    /// Highest membership protocol understood.
    pub protocol_max: u8,
    /// Membership protocol spoken.
    pub protocol_current: u8,
    /// Lowest Serf protocol understood.
    pub delegate_min: u8,
    /// Highest Serf protocol understood.
    pub delegate_max: u8,
    /// Serf protocol spoken.
    pub delegate_current: u8,
}

impl VersionVector {
    /// What Serf 0.8.1 and later announce, with the configured Serf protocol.
    pub const fn serf(delegate_current: u8) -> Self {
        VersionVector {
            protocol_min: 1,
            protocol_max: 5,
            protocol_current: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_current,
        }
    }

    /// Checks the six bytes of a `Vsn` field.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] if there are not six or they are out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let &[
            protocol_min,
            protocol_max,
            protocol_current,
            delegate_min,
            delegate_max,
            delegate_current,
        ] = bytes
        else {
            return Err(DecodeError::Invalid("Vsn"));
        };
        let versions = VersionVector {
            protocol_min,
            protocol_max,
            protocol_current,
            delegate_min,
            delegate_max,
            delegate_current,
        };
        if versions.is_sane() {
            Ok(versions)
        } else {
            Err(DecodeError::Invalid("Vsn"))
        }
    }

    /// Gossip spec 8.1.
    fn is_sane(self) -> bool {
        1 <= self.protocol_min
            && (self.protocol_min..=self.protocol_max).contains(&self.protocol_current)
            && (self.delegate_min..=self.delegate_max).contains(&self.delegate_current)
    }

    /// The six bytes of a `Vsn` field.
    pub fn encode(self) -> [u8; 6] {
        [
            self.protocol_min,
            self.protocol_max,
            self.protocol_current,
            self.delegate_min,
            self.delegate_max,
            self.delegate_current,
        ]
    }
}

impl Message {
    /// Decodes one message that starts with its type byte and is not a wrapper (compound, compress,
    /// checksum): those are the business of [`super::Envelope::open_datagram`].
    ///
    /// # Errors
    /// Says what is wrong with it; nothing of it may be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let reader = &mut Reader::new(body);
        match kind {
            message_type::PING => Ping::decode_body(reader).map(Message::Ping),
            message_type::INDIRECT_PING => {
                IndirectPing::decode_body(reader).map(Message::IndirectPing)
            }
            message_type::ACK => Ack::decode_body(reader).map(Message::Ack),
            message_type::NACK => decode_nack(reader).map(|seq_no| Message::Nack(Nack { seq_no })),
            message_type::SUSPECT => {
                let (incarnation, node, from) = decode_verdict(reader)?;
                Ok(Message::Suspect(Suspect {
                    incarnation,
                    node,
                    from,
                }))
            }
            message_type::ALIVE => Alive::decode_body(reader).map(Message::Alive),
            message_type::DEAD => {
                let (incarnation, node, from) = decode_verdict(reader)?;
                Ok(Message::Dead(Dead {
                    incarnation,
                    node,
                    from,
                }))
            }
            message_type::USER if body.is_empty() => Err(DecodeError::Empty),
            message_type::USER => Ok(Message::User(body.to_vec())),
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// The message as codec 0.5.x writes it, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut output = Vec::with_capacity(96);
        match self {
            Message::Ping(ping) => {
                output.push(message_type::PING);
                ping.encode_body(output)
            }
            Message::IndirectPing(ping) => {
                output.push(message_type::INDIRECT_PING);
                ping.encode_body(output)
            }
            Message::Ack(ack) => {
                output.push(message_type::ACK);
                ack.encode_body(output)
            }
            Message::Nack(nack) => {
                output.push(message_type::NACK);
                let mut writer = Writer::appending(Dialect::Gossip, output);
                writer.map(1).key("SeqNo").uint(nack.seq_no.into());
                writer.into_bytes()
            }
            Message::Suspect(suspect) => {
                output.push(message_type::SUSPECT);
                encode_verdict(
                    output,
                    suspect.incarnation,
                    &suspect.node,
                    suspect.from.as_ref(),
                )
            }
            Message::Alive(alive) => {
                output.push(message_type::ALIVE);
                alive.encode_body(output)
            }
            Message::Dead(dead) => {
                output.push(message_type::DEAD);
                encode_verdict(output, dead.incarnation, &dead.node, dead.from.as_ref())
            }
            Message::User(bytes) => {
                output.push(message_type::USER);
                output.extend_from_slice(bytes);
                output
            }
        }
    }
}

/// A sequence number must be there: nobody could tell which ping an answer without one is for
/// (gossip spec 8.2).
fn due(seq_no: Option<u32>) -> Result<u32, DecodeError> {
    seq_no.ok_or(DecodeError::Invalid("SeqNo"))
}

/// A name that may be missing: empty text stands for that.
pub(super) fn optional_name(bytes: &[u8]) -> Result<Option<NodeName>, DecodeError> {
    match bytes {
        [] => Ok(None),
        _ => NodeName::new(bytes).map(Some),
    }
}

/// The three optional fields of ping and indirect ping that say where the answer goes.
#[derive(Default)]
struct Source<'a> {
    addr: Cow<'a, [u8]>,
    port: u16,
    node: &'a [u8],
}

impl Source<'_> {
    fn addr(&self) -> Result<Option<SocketAddr>, DecodeError> {
        if self.addr.is_empty() {
            return Ok(None);
        }
        let addr = address::reachable(&self.addr, self.port, "SourceAddr")?;
        Ok(Some(addr).filter(|addr| addr.port() != 0))
    }

    /// Only informative, so a strange name does not cost the sender its answer.
    fn node(&self) -> Option<NodeName> {
        NodeName::new(self.node).ok()
    }
}

fn encode_source(writer: &mut Writer, addr: Option<SocketAddr>, node: Option<&NodeName>) {
    if let Some(addr) = addr {
        writer.key("SourceAddr");
        address::with_ip_bytes(addr.ip(), |ip| {
            writer.bytes(ip);
        });
    }
    if let Some(node) = node {
        writer.key("SourceNode").text(node.as_bytes());
    }
    if let Some(addr) = addr {
        writer.key("SourcePort").uint(addr.port().into());
    }
}

/// How many pairs [`encode_source`] writes.
fn source_pairs(addr: Option<SocketAddr>, node: Option<&NodeName>) -> usize {
    2 * usize::from(addr.is_some()) + usize::from(node.is_some())
}

impl Ping {
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &["SeqNo", "Node", "SourceAddr", "SourcePort", "SourceNode"];
        let (mut seq_no, mut node) = (None, &[][..]);
        let mut source = Source::default();
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => seq_no = Some(reader.u32()?),
                1 => node = reader.text()?,
                2 => source.addr = reader.bytes_borrowed()?.unwrap_or_default(),
                3 => source.port = reader.u16()?,
                _ => source.node = reader.text()?,
            }
            Ok(())
        })?;
        Ok(Ping {
            seq_no: due(seq_no)?,
            node: optional_name(node)?,
            source: source.addr()?,
            source_node: source.node(),
        })
    }

    pub(super) fn encode_body(&self, output: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, output);
        writer
            .map(2 + source_pairs(self.source, self.source_node.as_ref()))
            .key("Node")
            .text(self.node.as_ref().map_or(&[][..], NodeName::as_bytes))
            .key("SeqNo")
            .uint(self.seq_no.into());
        encode_source(&mut writer, self.source, self.source_node.as_ref());
        writer.into_bytes()
    }
}

impl IndirectPing {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &[
            "SeqNo",
            "Target",
            "Port",
            "Node",
            "Nack",
            "SourceAddr",
            "SourcePort",
            "SourceNode",
        ];
        let (mut seq_no, mut target, mut port) = (None, Cow::default(), 0);
        let (mut node, mut nack) = (&[][..], false);
        let mut source = Source::default();
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => seq_no = Some(reader.u32()?),
                1 => target = reader.bytes_borrowed()?.unwrap_or_default(),
                2 => port = reader.u16()?,
                3 => node = reader.text()?,
                4 => nack = reader.bool()?,
                5 => source.addr = reader.bytes_borrowed()?.unwrap_or_default(),
                6 => source.port = reader.u16()?,
                _ => source.node = reader.text()?,
            }
            Ok(())
        })?;
        Ok(IndirectPing {
            seq_no: due(seq_no)?,
            target: address::reachable(&target, port, "Target")?,
            node: NodeName::new(node)?,
            nack,
            source: source.addr()?,
            source_node: source.node(),
        })
    }

    fn encode_body(&self, output: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, output);
        writer
            .map(5 + source_pairs(self.source, self.source_node.as_ref()))
            .key("Nack")
            .bool(self.nack)
            .key("Node")
            .text(self.node.as_bytes())
            .key("Port")
            .uint(self.target.port().into())
            .key("SeqNo")
            .uint(self.seq_no.into());
        encode_source(&mut writer, self.source, self.source_node.as_ref());
        writer.key("Target");
        address::with_ip_bytes(self.target.ip(), |ip| {
            writer.bytes(ip);
        });
        writer.into_bytes()
    }
}

impl Ack {
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut seq_no, mut payload) = (None, None);
        reader.fields::<msgpack::Error>(&["SeqNo", "Payload"], |field, reader| {
            match field {
                0 => seq_no = Some(reader.u32()?),
                _ => payload = reader.bytes_borrowed()?,
            }
            Ok(())
        })?;
        Ok(Ack {
            seq_no: due(seq_no)?,
            payload: payload.map(Cow::into_owned),
        })
    }

    pub(super) fn encode_body(&self, output: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, output);
        writer
            .map(2)
            .key("Payload")
            .bytes_or_nil(self.payload.as_deref())
            .key("SeqNo")
            .uint(self.seq_no.into());
        writer.into_bytes()
    }
}

fn decode_nack(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let mut seq_no = None;
    reader.fields::<msgpack::Error>(&["SeqNo"], |_, reader| {
        seq_no = Some(reader.u32()?);
        Ok(())
    })?;
    due(seq_no)
}

/// The body that suspect and dead share.
fn decode_verdict(
    reader: &mut Reader<'_>,
) -> Result<(u32, NodeName, Option<NodeName>), DecodeError> {
    let (mut incarnation, mut node, mut from) = (0, &[][..], &[][..]);
    reader.fields::<msgpack::Error>(&["Incarnation", "Node", "From"], |field, reader| {
        match field {
            0 => incarnation = reader.u32()?,
            1 => node = reader.text()?,
            _ => from = reader.text()?,
        }
        Ok(())
    })?;
    Ok((incarnation, NodeName::new(node)?, optional_name(from)?))
}

fn encode_verdict(
    output: Vec<u8>,
    incarnation: u32,
    node: &NodeName,
    from: Option<&NodeName>,
) -> Vec<u8> {
    let mut writer = Writer::appending(Dialect::Gossip, output);
    writer
        .map(3)
        .key("From")
        .text(from.map_or(&[][..], NodeName::as_bytes))
        .key("Incarnation")
        .uint(incarnation.into())
        .key("Node")
        .text(node.as_bytes());
    writer.into_bytes()
}

impl Alive {
    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &["Incarnation", "Node", "Addr", "Port", "Meta", "Vsn"];
        let (mut incarnation, mut node, mut port) = (0, &[][..], 0);
        let (mut addr, mut meta, mut versions) = (Cow::default(), None, Cow::default());
        reader.fields::<msgpack::Error>(FIELDS, |field, reader| {
            match field {
                0 => incarnation = reader.u32()?,
                1 => node = reader.text()?,
                2 => addr = reader.bytes_borrowed()?.unwrap_or_default(),
                3 => port = reader.u16()?,
                4 => meta = reader.bytes_borrowed()?,
                _ => versions = reader.bytes_borrowed()?.unwrap_or_default(),
            }
            Ok(())
        })?;
        if incarnation == 0 {
            return Err(DecodeError::Invalid("Incarnation"));
        }
        Ok(Alive {
            incarnation,
            node: NodeName::new(node)?,
            addr: address::literal(&addr, port, "Addr")?,
            meta: checked_meta(meta.as_deref())?,
            versions: VersionVector::decode(&versions)?,
        })
    }

    fn encode_body(&self, output: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::appending(Dialect::Gossip, output);
        writer.map(6).key("Addr");
        address::with_ip_bytes(self.addr.ip(), |ip| {
            writer.bytes(ip);
        });
        writer
            .key("Incarnation")
            .uint(self.incarnation.into())
            .key("Meta")
            .bytes_or_nil(self.meta.as_deref())
            .key("Node")
            .text(self.node.as_bytes())
            .key("Port")
            .uint(self.addr.port().into())
            .key("Vsn")
            .bytes(&self.versions.encode());
        writer.into_bytes()
    }
}

/// A node's meta, within its limit.
pub(super) fn checked_meta(meta: Option<&[u8]>) -> Result<Option<Arc<[u8]>>, DecodeError> {
    match meta {
        Some(meta) if meta.len() > limits::META_BYTES_MAX => Err(DecodeError::Invalid("Meta")),
        meta => Ok(meta.map(Arc::from)),
    }
}
