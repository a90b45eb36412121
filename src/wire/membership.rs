//! Message types of the membership layer and their bodies (gossip spec 3.4).

use std::net::SocketAddr;
use std::sync::Arc;

use super::{DecodeError, NodeName};

/// Type bytes of membership messages (gossip spec 2.2).
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

/// A message sent in a datagram.
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
    /// Message of the Serf layer, its type byte first; never empty.
    User(Vec<u8>),
}

/// Checks whether a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Echoed in the ack.
    pub seq_no: u32,
    /// Node that should answer; `None`: any node that receives the ping.
    pub node: Option<NodeName>,
    /// Destination of the ack; `None` (no address, or port 0): the datagram's source address.
    pub source: Option<SocketAddr>,
    /// Name of the sender; informative.
    pub source_node: Option<NodeName>,
    /// Bytes after the body, only in datagrams: data of the Serf layer, which the reference ignores. May be
    /// empty; at most [`super::limits::PING_EXTENSION_BYTES_MAX`].
    pub extension: Vec<u8>,
}

/// Request to ping another node on the sender's behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectPing {
    /// The requester's sequence number, repeated in the reply.
    pub seq_no: u32,
    /// Address of the target; port 0 means the relay's own gossip port.
    pub target: SocketAddr,
    /// Name of the target.
    pub node: NodeName,
    /// Whether the requester wants a nack if the target does not answer.
    pub nack: bool,
    /// As in [`Ping::source`].
    pub source: Option<SocketAddr>,
    /// As in [`Ping::source_node`].
    pub source_node: Option<NodeName>,
}

/// Positive reply to a ping or an indirect ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Sequence number of the ping.
    pub seq_no: u32,
    /// Data of the Serf layer: coordinates. `None` (nil) in relayed acks and on TCP.
    pub payload: Option<Vec<u8>>,
}

/// Negative reply to an indirect ping: the target did not answer the relay in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The requester's sequence number.
    pub seq_no: u32,
}

/// Claim that a node does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Incarnation of the suspect, as known to the sender.
    pub incarnation: u32,
    /// The suspect.
    pub node: NodeName,
    /// Node that raised the suspicion; may be missing.
    pub from: Option<NodeName>,
}

/// Declares a node dead, or left if the node declares it of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Incarnation of the dead node, as known to the sender.
    pub incarnation: u32,
    /// The dead node.
    pub node: NodeName,
    /// Node that declared it dead; equal to `node` for a graceful leave. Serf 0.8 leaves it out in a graceful
    /// leave.
    pub from: Option<NodeName>,
}

/// Announces a node: its address, meta and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Never 0.
    pub incarnation: u32,
    /// The announced node.
    pub node: NodeName,
    /// Advertised address; port 0 means the receiver's own gossip port.
    pub addr: SocketAddr,
    /// Data of the Serf layer: tags. `None` (nil) from library users without a delegate.
    pub meta: Option<Arc<[u8]>>,
    /// Protocol versions.
    pub versions: VersionVector,
}

/// Protocol versions that a node speaks (gossip spec 4.9), in wire order.
///
/// Always consistent: 1 <= min <= current <= max for the protocol, min <= current <= max for the delegate.
/// Decoding refuses anything else, because it would block every push/pull (4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionVector {
    /// Lowest membership protocol supported.
    pub protocol_min: u8,
    /// Highest membership protocol supported.
    pub protocol_max: u8,
    /// Membership protocol in use.
    pub protocol_current: u8,
    /// Lowest Serf protocol supported.
    pub delegate_min: u8,
    /// Highest Serf protocol supported.
    pub delegate_max: u8,
    /// Serf protocol in use.
    pub delegate_current: u8,
}

impl VersionVector {
    /// Returns the versions that Serf 0.8.1 and later announce, with the configured Serf protocol.
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

    /// Decodes the six bytes of a `Vsn` field.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] if there are not six bytes or a version is outside its min to max range.
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

    /// Checks the version ranges (gossip spec 8.1).
    fn is_sane(self) -> bool {
        1 <= self.protocol_min
            && (self.protocol_min..=self.protocol_max).contains(&self.protocol_current)
            && (self.delegate_min..=self.delegate_max).contains(&self.delegate_current)
    }

    /// Encodes the six bytes of a `Vsn` field.
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

#[cfg(test)]
mod tests {
    use super::VersionVector;

    #[test]
    fn versions_are_sane_or_refused() {
        for good in [
            [1, 5, 2, 2, 5, 4],
            [1, 5, 2, 0, 0, 0],
            [1, 1, 1, 255, 255, 255],
        ] {
            assert_eq!(
                VersionVector::decode(&good).map(VersionVector::encode),
                Ok(good)
            );
        }
        for bad in [
            [0, 5, 2, 2, 5, 4],
            [2, 5, 1, 2, 5, 4],
            [1, 5, 6, 2, 5, 4],
            [5, 1, 2, 2, 5, 4],
            [1, 5, 2, 2, 5, 1],
            [1, 5, 2, 2, 5, 6],
        ] {
            assert!(VersionVector::decode(&bad).is_err(), "{bad:?}");
        }
        for length in [0, 1, 3, 5, 7] {
            assert!(VersionVector::decode(&[1; 7][..length]).is_err());
        }
        assert_eq!(VersionVector::serf(4).encode(), [1, 5, 2, 2, 5, 4]);
    }
}
