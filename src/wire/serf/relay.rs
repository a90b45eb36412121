//! The relay message.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::super::bodies::optional_name;
use super::super::msgpack::{self, Reader};
use super::super::{DecodeError, NodeName, address};
use super::{message_type, writer_of};

/// A message that the receiver forwards to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayMessage {
    /// Address to forward to.
    pub destination: SocketAddr,
    /// Name of the destination; absent before Serf 0.9.0.
    pub destination_name: Option<NodeName>,
    /// The message to forward, unchanged and not decoded; never empty.
    pub message: Vec<u8>,
}

impl RelayMessage {
    pub(super) fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut ip, mut port, mut name) = (Cow::default(), 0, &[][..]);
        reader.fields::<msgpack::Error>(&["DestAddr", "DestName"], |field, reader| {
            if field == 1 {
                name = reader.text()?;
                return Ok(());
            }
            // The zone is ignored: it has no meaning on another machine.
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

    pub(super) fn encode(&self) -> Vec<u8> {
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
