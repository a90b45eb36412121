//! Bodies of the membership layer's messages (gossip spec 3.4).

use std::net::SocketAddr;
use std::sync::Arc;

use super::{DecodeError, NodeName};

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
    /// What follows the body, in datagrams alone: bytes of the layer above, which the reference does not
    /// look at. Empty: nothing. At most [`super::limits::PING_EXTENSION_BYTES_MAX`].
    pub extension: Vec<u8>,
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
