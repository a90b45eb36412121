//! Messages for intents and user events.

use std::borrow::Cow;

use super::super::msgpack::{self, Reader};
use super::super::{DecodeError, NodeName};
use super::{LamportTime, message_type, writer_of};

/// A node is leaving, or an operator asks to force it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveIntent {
    /// Member clock of the sender.
    pub ltime: LamportTime,
    /// The leaving node.
    pub node: NodeName,
    /// Remove the node from the member list altogether.
    pub prune: bool,
}

/// A node has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinIntent {
    /// Member clock of the sender.
    pub ltime: LamportTime,
    /// The joining node.
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
    /// Receivers may coalesce it with other events of the same name.
    pub coalesce: bool,
}

impl LeaveIntent {
    /// Decodes leave intents, and also join intents, which lack only the last field.
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::USER_EVENT);
        writer.map(4).key("CC").bool(self.coalesce);
        writer.key("LTime").uint(self.ltime.0);
        writer.key("Name").text(&self.name);
        writer.key("Payload").bytes_or_nil(self.payload.as_deref());
        writer.into_bytes()
    }
}
