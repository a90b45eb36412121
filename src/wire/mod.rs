//! Bytes to messages and back: everything that is laid out on the gossip port (gossip spec 2, 3, 5.3).
//!
//! Decoding never panics, never allocates by a header's word, and says in a [`DecodeError`] why it
//! refused. Every limit is a named constant in [`limits`].

#![forbid(unsafe_code)]

mod address;
mod bodies;
mod checksum;
mod cipher;
mod compress;
pub mod coordinate;
mod decoder;
pub mod envelope;
pub mod event_digest;
pub mod keyring;
pub mod limits;
pub mod lzw;
pub mod membership;
pub mod msgpack;
pub mod name;
mod plain;
mod sealer;
pub mod serf;
pub mod stream;

pub(crate) use checksum::crc32_of;
pub use decoder::StreamDecoder;
pub use envelope::{Envelope, Label, Packet};
pub use keyring::{Key, Keyring, NonceSource};
pub use membership::{Ack, Alive, Dead, IndirectPing, Message, Nack, Ping, Suspect, VersionVector};
pub use name::NodeName;
pub use sealer::PushPullSealer;
pub use stream::{PushPull, PushPullNode, RemoteState, StreamMessage, StreamSide};

/// Why bytes from a peer were refused. Peer input is never fatal: drop, count, log the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// No bytes where at least a type byte is due.
    Empty,
    /// A type byte that is unknown, or not allowed here.
    UnexpectedType(u8),
    /// A body that is not the MessagePack that it should be.
    MsgPack(msgpack::Error),
    /// A field whose value a limit or a rule of the protocol forbids; names the field.
    Invalid(&'static str),
    /// Compound or compress messages nested deeper than [`limits::NESTING_MAX`].
    TooDeep,
    /// A compound whose header is cut short, or a part of it that runs past the end.
    TruncatedCompound,
    /// The checksum does not match.
    Checksum,
    /// A label header that is malformed.
    Label,
    /// A label that is not accepted; the empty one if there is no header.
    OtherLabel(Label),
    /// An unknown compression, an invalid LZW stream.
    Compression,
    /// A length that exceeds a limit; names the limit.
    TooLarge(&'static str),
    /// A ring is configured and the bytes are not encrypted.
    NotEncrypted,
    /// The bytes are encrypted and no ring is configured.
    NoKeyring,
    /// No key of the ring opens the payload, or it is too short to be one.
    Decryption,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DecodeError::Empty => f.write_str("empty message"),
            DecodeError::UnexpectedType(kind) => write!(f, "unexpected message type {kind}"),
            DecodeError::MsgPack(error) => write!(f, "malformed body: {error}"),
            DecodeError::Invalid(field) => write!(f, "invalid {field}"),
            DecodeError::TooDeep => f.write_str("messages nested too deep"),
            DecodeError::TruncatedCompound => f.write_str("truncated compound message"),
            DecodeError::Checksum => f.write_str("checksum does not match"),
            DecodeError::Label => f.write_str("malformed label"),
            DecodeError::OtherLabel(label) => write!(f, "label {label} is not accepted"),
            DecodeError::Compression => f.write_str("does not decompress"),
            DecodeError::TooLarge(what) => write!(f, "{what} too large"),
            // These three in the reference's words: operators look for them (gossip spec 2.7.4).
            DecodeError::NotEncrypted => {
                f.write_str("Encryption is configured but remote state is not encrypted")
            }
            DecodeError::NoKeyring => {
                f.write_str("Remote state is encrypted and encryption is not configured")
            }
            DecodeError::Decryption => f.write_str("No installed keys could decrypt the message"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl From<msgpack::Error> for DecodeError {
    fn from(error: msgpack::Error) -> Self {
        DecodeError::MsgPack(error)
    }
}
