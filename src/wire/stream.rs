//! Messages on TCP (gossip spec 2.9): decoded as bytes arrive, bounded, without a length in front.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Ack, DecodeError, Envelope, NodeName, Ping, VersionVector};

/// A message that travels on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StreamMessage {
    Ping(Ping),
    Ack(Ack),
    PushPull(PushPull),
    /// The Serf layer's bytes; never empty (an empty one is dropped by the decoder's caller).
    User(Vec<u8>),
    /// The other side could not read our first layer.
    Error(Vec<u8>),
}

/// One side's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPull {
    /// Sent in the course of a join.
    pub join: bool,
    /// Entries that are valid, in the order sent.
    pub nodes: Vec<PushPullNode>,
    /// Entries that were refused one by one (gossip spec 8.7), for the log. Empty when encoding.
    pub refused: Vec<DecodeError>,
    /// The Serf layer's state; may be empty.
    pub user_state: Vec<u8>,
}

/// A node as the sender of a push/pull knows it.
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

/// Which side of a connection a decoder or an encoder is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSide {
    /// Connected: writes the label header, reads none.
    Initiator,
    /// Accepted: reads the label header, writes none.
    Responder,
}

/// Decodes the one message that a direction of a connection carries, as its bytes arrive.
#[derive(Debug)]
pub struct StreamDecoder {
    _private: (),
}

impl StreamDecoder {
    /// A decoder for what the side `side` reads.
    pub fn new(side: StreamSide) -> Self {
        todo!()
    }

    /// Takes the next bytes. `Ok(None)`: more are needed. After `Ok(Some(_))` or `Err(_)` the
    /// decoder is spent.
    ///
    /// Whatever arrives, it holds no more than the limits of [`super::limits`], and total work is
    /// linear in the bytes received, in whatever pieces they come.
    ///
    /// # Errors
    /// The stream is to be closed; [`Self::error_report`] says whether with an answer.
    pub fn push(
        &mut self,
        bytes: &[u8],
        envelope: &Envelope,
    ) -> Result<Option<StreamMessage>, DecodeError> {
        todo!()
    }

    /// Bytes held.
    pub fn buffered_bytes(&self) -> usize {
        todo!()
    }

    /// The text of the error message that a responder sends back when the first layer (type byte,
    /// decryption, decompression) failed (gossip spec 2.7.4 and 2.9.4); `None`: close silently.
    pub fn error_report(&self) -> Option<&'static str> {
        todo!()
    }
}

impl StreamMessage {
    /// The message, type byte first, before compression and encryption.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

impl Envelope {
    /// The bytes that `side` writes for a message: compressed, encrypted, label in front, as
    /// configured. An error report is encrypted too.
    pub fn seal_stream(&mut self, message: &StreamMessage, side: StreamSide) -> Vec<u8> {
        todo!()
    }
}
