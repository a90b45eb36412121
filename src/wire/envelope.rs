//! What is wrapped around messages: compound, compression, checksum, encryption, label (gossip spec
//! 2.3 to 2.8), in this order on the way out and in the reverse on the way in.

use super::{DecodeError, Keyring, Message, NonceSource};

/// A cluster label, 0 to 255 bytes; empty for none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Label(Vec<u8>);

impl Label {
    /// Checks the length.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`].
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How this node wraps and unwraps.
#[derive(Clone)]
pub struct Envelope {
    /// Separates clusters on one network.
    pub label: Label,
    /// Encrypts and decrypts; `None`: plaintext.
    pub keyring: Option<Keyring>,
    /// Off: undecryptable datagrams and plaintext streams are taken as plaintext (gossip spec 6.3).
    pub verify_incoming: bool,
    /// Off: nothing is encrypted although there is a ring.
    pub verify_outgoing: bool,
    /// Compress what gets shorter (datagrams), everything (streams).
    pub compression: bool,
    /// Where nonces come from.
    pub nonces: NonceSource,
}

/// What a datagram held: each message in its place, or why it was dropped.
#[derive(Debug, Default)]
pub struct Packet {
    /// In the order of the datagram.
    pub messages: Vec<Result<Message, DecodeError>>,
}

impl Envelope {
    /// No label, no ring, compression on, verification on.
    pub fn plain(nonces: NonceSource) -> Self {
        todo!()
    }

    /// Unwraps a datagram. A message that is refused costs only itself; the outer layers cost all.
    ///
    /// # Errors
    /// Label, decryption or checksum failed: nothing of the datagram may be used.
    pub fn open_datagram(&self, bytes: &[u8]) -> Result<Packet, DecodeError> {
        todo!()
    }

    /// Wraps encoded messages into one datagram. `checksum`: the destination understands protocol 5
    /// and is addressed as a node record (gossip spec 2.6).
    ///
    /// The caller keeps within [`Self::packet_budget_bytes`] and
    /// [`super::limits::COMPOUND_PARTS_SENT_MAX`].
    pub fn seal_datagram<M: AsRef<[u8]>>(&mut self, messages: &[M], checksum: bool) -> Vec<u8> {
        todo!()
    }

    /// Bytes that messages may take in a gossip packet, after compound header, encryption and label
    /// (gossip spec 2.10). Each message costs its length + 2.
    pub fn packet_budget_bytes(&self) -> usize {
        todo!()
    }
}
