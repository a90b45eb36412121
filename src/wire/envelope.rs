//! Layers around messages: compound, compression, checksum, encryption, label (gossip spec 2.3 to 2.8), added
//! in this order and removed in the reverse.

use super::checksum::crc32;
use super::lzw::Scratch;
use super::membership::message_type;
use super::name::Escaped;
use super::{DecodeError, Keyring, Message, NonceSource, cipher, compress, limits};

/// A cluster label, 0 to 255 bytes; empty means no label.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Label(Vec<u8>);

impl Label {
    /// Makes a label after checking its length.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] if `bytes` has more than 255 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::LABEL_BYTES_MAX {
            return Err(DecodeError::TooLarge("label"));
        }
        Ok(Label(bytes.to_vec()))
    }

    /// Returns the label's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends the label header; nothing for the empty label.
    pub(super) fn encode_header(&self, output: &mut Vec<u8>) {
        if let (false, Ok(length)) = (self.0.is_empty(), u8::try_from(self.0.len())) {
            output.extend_from_slice(&[message_type::LABEL, length]);
            output.extend_from_slice(&self.0);
        }
    }

    /// Returns the size of the label header.
    pub(super) fn header_bytes(&self) -> usize {
        match self.0.len() {
            0 => 0,
            length => 2 + length,
        }
    }

    /// Whether this is the empty label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Longest part of a label that is printed.
const LABEL_BYTES_SHOWN: usize = 64;

impl core::fmt::Display for Label {
    /// Prints the label in quotes, escaped and truncated.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0.get(..LABEL_BYTES_SHOWN) {
            Some(cut) if cut.len() < self.0.len() => write!(f, "'{}...'", Escaped(cut)),
            _ => write!(f, "'{}'", Escaped(&self.0)),
        }
    }
}

/// Configuration and state of the layers around messages.
pub struct Envelope {
    /// Label in front of everything that is sent; separates clusters on one network.
    pub label: Label,
    /// Additional labels accepted on input, for the transition to another label.
    pub labels_accepted: Vec<Label>,
    /// Keys for encryption; `None`: plaintext.
    pub keyring: Option<Keyring>,
    /// If false, undecryptable datagrams and plaintext streams are accepted as plaintext (gossip spec 6.3).
    pub verify_incoming: bool,
    /// If false, nothing is encrypted, even with a keyring.
    pub verify_outgoing: bool,
    /// Compress datagrams that get shorter, and all streams.
    pub compression: bool,
    /// Generator of nonces.
    pub nonces: NonceSource,
    pub(super) scratch: Scratch,
}

/// The contents of a datagram: each message, or why it was dropped.
#[derive(Debug, Default)]
pub struct Packet {
    /// Messages in the order of the datagram.
    pub messages: Vec<Result<Message, DecodeError>>,
}

impl Envelope {
    /// Creates an envelope without label and keyring, with compression and verification.
    pub fn plain(nonces: NonceSource) -> Self {
        Envelope {
            label: Label::default(),
            labels_accepted: Vec::new(),
            keyring: None,
            verify_incoming: true,
            verify_outgoing: true,
            compression: true,
            nonces,
            scratch: Scratch::default(),
        }
    }

    /// Opens a datagram. An invalid message is refused alone; an invalid outer layer refuses the whole
    /// datagram.
    ///
    /// # Errors
    /// Fails if the label, decryption or checksum is invalid or messages are nested too deep; nothing of the
    /// datagram may be used then.
    pub fn open_datagram(&self, bytes: &[u8]) -> Result<Packet, DecodeError> {
        let label = self.accept_label(bytes)?.ok_or(match bytes {
            [] => DecodeError::Empty,
            _ => DecodeError::Label,
        })?;
        let body = bytes.get(label.header_bytes()..).unwrap_or_default();
        let mut opening = Opening {
            packet: Packet::default(),
            expanded_bytes_left: limits::DATAGRAM_EXPANDED_BYTES_MAX,
        };
        match self.decrypt_datagram(label, body)? {
            Some(plain) => opening.open(checked(&plain)?, 0)?,
            None => opening.open(checked(body)?, 0)?,
        }
        Ok(opening.packet)
    }

    /// Returns the label at the start of `bytes`, if it is accepted. `None`: more bytes are needed.
    pub(super) fn accept_label(&self, bytes: &[u8]) -> Result<Option<&Label>, DecodeError> {
        let found = match *bytes {
            [] | [message_type::LABEL] => return Ok(None),
            [message_type::LABEL, 0, ..] => return Err(DecodeError::Label),
            [message_type::LABEL, length, ref rest @ ..] => match rest.get(..usize::from(length)) {
                Some(label) => label,
                None => return Ok(None),
            },
            _ => &[],
        };
        let mut accepted = core::iter::once(&self.label).chain(&self.labels_accepted);
        match accepted.find(|label| label.0 == found) {
            Some(label) => Ok(Some(label)),
            None => Err(DecodeError::OtherLabel(Label(found.to_vec()))),
        }
    }

    /// Decrypts a datagram. `None`: it is plaintext, and plaintext is allowed.
    fn decrypt_datagram(&self, label: &Label, body: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        let Some(ring) = &self.keyring else {
            return Ok(None);
        };
        match cipher::open(ring, label.as_bytes(), body) {
            Ok(plain) => Ok(Some(plain)),
            Err(_) if !self.verify_incoming => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Seals one or more encoded messages as a datagram. `checksum`: the destination is a known node that
    /// supports protocol 5 (gossip spec 2.6).
    ///
    /// The caller must keep within [`Self::packet_budget_bytes`] and
    /// [`super::limits::COMPOUND_PARTS_SENT_MAX`].
    pub fn seal_datagram<M: AsRef<[u8]>>(&mut self, messages: &[M], checksum: bool) -> Vec<u8> {
        let joined;
        let mut plain = match messages {
            [message] => message.as_ref(),
            _ => {
                joined = encode_compound(messages);
                &joined
            }
        };
        let compressed;
        if self.compression && plain.len() > COMPRESS_OVERHEAD_BYTES {
            compressed = compress::encode(plain, &mut self.scratch);
            if compressed.len() < plain.len() {
                plain = &compressed;
            }
        }
        let with_checksum;
        if checksum {
            with_checksum = encode_checksum(plain);
            plain = &with_checksum;
        }
        let mut datagram =
            Vec::with_capacity(self.label.header_bytes() + cipher::OVERHEAD_BYTES + plain.len());
        self.label.encode_header(&mut datagram);
        match &self.keyring {
            Some(ring) if self.verify_outgoing => {
                let nonce = self.nonces.next_nonce();
                cipher::seal(ring, nonce, self.label.as_bytes(), plain, &mut datagram);
            }
            _ => datagram.extend_from_slice(plain),
        }
        datagram
    }

    /// Returns the bytes available for messages in a gossip packet, without compound header, encryption and
    /// label (gossip spec 2.10). Each message takes its length plus 2.
    pub fn packet_budget_bytes(&self) -> usize {
        let encryption = match self.keyring {
            Some(_) => cipher::OVERHEAD_BYTES,
            None => 0,
        };
        limits::PACKET_BUDGET_BYTES - COMPOUND_HEADER_BYTES - encryption - self.label.header_bytes()
    }
}

/// Size of the type byte and the count.
const COMPOUND_HEADER_BYTES: usize = 2;
/// Minimum size of a compress message without the compressed bytes.
const COMPRESS_OVERHEAD_BYTES: usize = 13;
/// Size of the type byte and the CRC.
const CHECKSUM_BYTES: usize = 5;

/// Verifies and removes the checksum, if there is one.
fn checked(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match *bytes {
        [] => Err(DecodeError::Empty),
        [message_type::CHECKSUM, a, b, c, d, ref rest @ ..] => {
            if crc32(rest) == u32::from_be_bytes([a, b, c, d]) {
                Ok(rest)
            } else {
                Err(DecodeError::Checksum)
            }
        }
        _ => Ok(bytes),
    }
}

fn encode_checksum(plain: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(CHECKSUM_BYTES + plain.len());
    output.push(message_type::CHECKSUM);
    output.extend_from_slice(&crc32(plain).to_be_bytes());
    output.extend_from_slice(plain);
    output
}

fn encode_compound<M: AsRef<[u8]>>(messages: &[M]) -> Vec<u8> {
    debug_assert!(!messages.is_empty() && messages.len() <= limits::COMPOUND_PARTS_SENT_MAX);
    // Skip what does not fit into the two header fields, because it would corrupt the whole datagram.
    let parts = || {
        messages
            .iter()
            .map(AsRef::as_ref)
            .filter(|part| part.len() <= usize::from(u16::MAX))
            .take(usize::from(u8::MAX))
    };
    let bytes: usize = parts().map(|part| 2 + part.len()).sum();
    let mut output = Vec::with_capacity(COMPOUND_HEADER_BYTES + bytes);
    output.extend_from_slice(&[message_type::COMPOUND, parts().count() as u8]);
    for part in parts() {
        output.extend_from_slice(&(part.len() as u16).to_be_bytes());
    }
    for part in parts() {
        output.extend_from_slice(part);
    }
    output
}

/// Opens nested compound and compress messages.
struct Opening {
    packet: Packet,
    /// Shared by all compressed parts, so that nested decompression bombs gain nothing.
    expanded_bytes_left: usize,
}

impl Opening {
    /// Opens a message or wrapper inside `depth` other wrappers.
    ///
    /// # Errors
    /// Fails only if the whole datagram must be refused.
    fn open(&mut self, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
        let kind = bytes.first().copied();
        if !matches!(kind, Some(message_type::COMPOUND | message_type::COMPRESS)) {
            self.packet.messages.push(Message::decode(bytes));
            return Ok(());
        }
        if depth == limits::NESTING_MAX {
            return Err(DecodeError::TooDeep);
        }
        let body = bytes.get(1..).unwrap_or_default();
        if kind == Some(message_type::COMPOUND) {
            return self.open_compound(body, depth + 1);
        }
        match compress::decode(body, self.expanded_bytes_left) {
            Ok(expanded) => {
                self.expanded_bytes_left -= expanded.len();
                self.open(&expanded, depth + 1)
            }
            Err(error) => {
                self.packet.messages.push(Err(error));
                Ok(())
            }
        }
    }

    /// Opens a compound. Parts before a truncated one are accepted; bytes after the last part are ignored.
    fn open_compound(&mut self, body: &[u8], depth: usize) -> Result<(), DecodeError> {
        let truncated = Err(DecodeError::TruncatedCompound);
        let Some((&count, rest)) = body.split_first() else {
            self.packet.messages.push(truncated);
            return Ok(());
        };
        let lengths_bytes = 2 * usize::from(count);
        let (Some(lengths), Some(mut rest)) =
            (rest.get(..lengths_bytes), rest.get(lengths_bytes..))
        else {
            self.packet.messages.push(truncated);
            return Ok(());
        };
        for length in lengths.chunks_exact(2) {
            let length = usize::from(length[0]) << 8 | usize::from(length[1]);
            let (Some(part), Some(after)) = (rest.get(..length), rest.get(length..)) else {
                self.packet.messages.push(truncated);
                return Ok(());
            };
            self.open(part, depth)?;
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
