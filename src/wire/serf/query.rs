//! Queries, their filters, and responses.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::super::bodies::optional_name;
use super::super::msgpack::{self, Reader};
use super::super::{DecodeError, NodeName, address, limits};
use super::{LamportTime, decode_texts, message_type, writer_of};

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMessage {
    /// Query clock of the originator.
    pub ltime: LamportTime,
    /// Random; identifies the query together with `ltime`.
    pub id: u32,
    /// Address that replies are sent to.
    pub addr: SocketAddr,
    /// Name of the originator; absent before Serf 0.9.0.
    pub source_node: Option<NodeName>,
    /// Encoded filters, in the order sent; `None` for nil. See [`Filter::decode`].
    pub filters: Option<Vec<Vec<u8>>>,
    /// Bits of [`query_flag`].
    pub flags: u32,
    /// Number of extra copies of each reply that are relayed through other nodes.
    pub relay_factor: u8,
    /// Time for replies in nanoseconds, from the receipt of the query, as sent: may be negative or absurdly
    /// large.
    pub timeout_nanos: i64,
    /// Name, any bytes.
    pub name: Vec<u8>,
    /// Payload; `None` for nil.
    pub payload: Option<Vec<u8>>,
}

/// Bits of [`QueryMessage::flags`].
pub mod query_flag {
    /// The originator wants an ack.
    pub const ACK: u32 = 1;
    /// Receivers must not rebroadcast.
    pub const NO_BROADCAST: u32 = 2;
}

/// An ack of a query or a reply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryResponseMessage {
    /// Lamport time of the query.
    pub ltime: LamportTime,
    /// Id of the query.
    pub id: u32,
    /// The responding node.
    pub from: NodeName,
    /// Bits: [`RESPONSE_FLAG_ACK`] and [`RESPONSE_FLAG_PENDING`].
    pub flags: u32,
    /// The reply; nil in an ack.
    pub payload: Option<Vec<u8>>,
}

/// Bit of [`QueryResponseMessage::flags`]: this is an ack.
pub const RESPONSE_FLAG_ACK: u32 = 1;
/// Bit of [`QueryResponseMessage::flags`] that only cottar sets and reads, in acks: the sender has an answer,
/// or runs a handler that may give one. The reference tests only bit 0.
pub const RESPONSE_FLAG_PENDING: u32 = 1 << 16;

/// Selects the nodes that handle a query (gossip spec 5.8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nodes with these names.
    Nodes(Vec<Vec<u8>>),
    /// The nodes whose value of this tag matches; a missing tag counts as empty.
    Tag {
        /// Name of the tag.
        tag: Vec<u8>,
        /// RE2 expression, unanchored.
        expression: Vec<u8>,
    },
}

impl QueryMessage {
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

    pub(super) fn encode(&self) -> Vec<u8> {
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

/// Decodes the filters but keeps zero-length ones: they match no node, and the query is still rebroadcast.
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
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::QUERY_RESPONSE);
        writer.map(5).key("Flags").uint(self.flags.into());
        writer.key("From").text(self.from.as_bytes());
        writer.key("ID").uint(self.id.into());
        writer.key("LTime").uint(self.ltime.0);
        writer.key("Payload").bytes_or_nil(self.payload.as_deref());
        writer.into_bytes()
    }
}

/// Type bytes of encoded filters.
mod filter_type {
    pub(super) const NODES: u8 = 0;
    pub(super) const TAG: u8 = 1;
}

impl Filter {
    /// Decodes one element of [`QueryMessage::filters`].
    ///
    /// # Errors
    /// Fails on zero bytes, an unknown type or a malformed body; the query then matches no node.
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

    /// Encodes the filter.
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
