//! Encoding and decoding of the membership layer's message bodies (gossip spec 3.4).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use super::membership::message_type;
use super::msgpack::{self, Dialect, Reader, Writer};
use super::{
    Ack, Alive, Dead, DecodeError, IndirectPing, Message, Nack, NodeName, Ping, Suspect,
    VersionVector, address, limits,
};

impl Message {
    /// Decodes one message, type byte first. Wrappers (compound, compress, checksum) are not accepted here;
    /// [`super::Envelope::open_datagram`] removes them.
    ///
    /// # Errors
    /// Fails if the bytes are empty, the type is unknown or a wrapper, or the body is malformed or breaks a
    /// limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let reader = &mut Reader::new(body);
        match kind {
            message_type::PING => {
                let mut ping = Ping::decode_body(reader)?;
                let rest = reader.rest();
                if rest.len() <= limits::PING_EXTENSION_BYTES_MAX {
                    ping.extension = rest.to_vec();
                }
                Ok(Message::Ping(ping))
            }
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

    /// Encodes the message as codec 0.5.x does, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut output = Vec::with_capacity(96);
        match self {
            Message::Ping(ping) => {
                output.push(message_type::PING);
                let mut output = ping.encode_body(output);
                output.extend_from_slice(&ping.extension);
                output
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

/// Rejects a missing sequence number: the reply could not be matched to its ping (gossip spec 8.2).
fn due(seq_no: Option<u32>) -> Result<u32, DecodeError> {
    seq_no.ok_or(DecodeError::Invalid("SeqNo"))
}

/// Decodes an optional name; empty text means `None`.
pub(super) fn optional_name(bytes: &[u8]) -> Result<Option<NodeName>, DecodeError> {
    match bytes {
        [] => Ok(None),
        _ => NodeName::new(bytes).map(Some),
    }
}

/// The optional source fields of ping and indirect ping: the address and name to reply to.
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

    /// Returns the name. It is only informative, so an invalid one is ignored and the ping is still answered.
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

/// Returns the number of map pairs that [`encode_source`] writes.
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
            extension: Vec::new(),
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

/// Decodes the body that suspect and dead messages share: incarnation, node and sender.
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

/// Checks a node's meta against its size limit.
pub(super) fn checked_meta(meta: Option<&[u8]>) -> Result<Option<Arc<[u8]>>, DecodeError> {
    match meta {
        Some(meta) if meta.len() > limits::META_BYTES_MAX => Err(DecodeError::Invalid("Meta")),
        meta => Ok(meta.map(Arc::from)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
