//! Payloads of internal queries and their answers (gossip spec 5.10).

use std::borrow::Cow;
use std::net::SocketAddr;

use super::super::msgpack;
use super::super::name::Escaped;
use super::super::{DecodeError, NodeName, VersionVector, address};
use super::{Tags, body_of, decode_texts, message_type, writer_of};

/// Answer to a `_serf_conflict` query: the member with that name as the answering node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictMember {
    /// The name in conflict.
    pub name: NodeName,
    /// Address that the answering node has for it.
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
    /// The raw key; empty or nil for a list request. `Debug` does not show it.
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRequest(..)")
    }
}

/// Answer to a key query. Keys are base64 text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyResponse {
    /// Whether the operation succeeded.
    pub result: bool,
    /// Error text or remark.
    pub message: Vec<u8>,
    /// The keys of the ring; `None` for nil. `Debug` does not show them.
    pub keys: Option<Vec<Vec<u8>>>,
    /// The primary key; empty before Serf 0.9.4. `Debug` does not show it.
    pub primary_key: Vec<u8>,
}

impl std::fmt::Debug for KeyResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyResponse")
            .field("result", &self.result)
            .field("message", &Escaped(&self.message).to_string())
            .finish_non_exhaustive()
    }
}

/// Field names of a member record in the conflict answer and in RPC.
#[rustfmt::skip]
pub const MEMBER_FIELDS: [&str; 11] = [
    "Name", "Addr", "Port", "Tags", "Status",
    "ProtocolMin", "ProtocolMax", "ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur",
];

impl ConflictMember {
    /// Decodes the payload of a conflict answer; `Ok(None)` for nil: the answering node does not know the
    /// name.
    ///
    /// # Errors
    /// Fails if the type byte is wrong, the body is malformed, or a field has an invalid value.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = body_of(bytes, message_type::CONFLICT_RESPONSE)?;
        if reader.clone().take_nil()? {
            return Ok(None);
        }
        let (mut name, mut addr, mut port) = (&[][..], Cow::default(), 0);
        let (mut tags, mut status, mut versions) = (Tags::new(), 0, [0; 6]);
        reader.fields::<DecodeError>(&MEMBER_FIELDS, |field, reader| {
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

/// Highest Serf status: failed (gossip spec 5.5).
const STATUS_MAX: u8 = 4;

impl KeyRequest {
    /// Decodes the payload of a key query, type byte first.
    ///
    /// # Errors
    /// Fails if the type byte is wrong or the body is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = body_of(bytes, message_type::KEY_REQUEST)?;
        let mut key = None;
        reader.fields::<msgpack::Error>(&["Key"], |_, reader| {
            key = reader.bytes()?;
            Ok(())
        })?;
        Ok(KeyRequest { key })
    }

    /// Encodes the request, type byte first.
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
    /// Fails if the type byte is wrong or the body is malformed.
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

    /// Encodes the answer, type byte first.
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
