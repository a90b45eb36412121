//! Encoding and decoding of everything on the gossip port (gossip spec 2, 3, 5.3).
//!
//! Decoding never panics, does not trust announced lengths when it allocates, and returns the reason for a
//! refusal as a [`DecodeError`]. Every limit is a named constant in [`limits`].

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

/// Why bytes from a peer were refused. The caller drops the input, counts it and logs the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// No bytes where a type byte is required.
    Empty,
    /// A type byte that is unknown or not allowed in this place.
    UnexpectedType(u8),
    /// A body that is not valid MessagePack or has a field of the wrong type.
    MsgPack(msgpack::Error),
    /// A field value outside a limit or rule of the protocol; holds the field's name.
    Invalid(&'static str),
    /// Compound or compress messages nested deeper than [`limits::NESTING_MAX`].
    TooDeep,
    /// A compound with a truncated header or a part that extends past the end.
    TruncatedCompound,
    /// The checksum does not match.
    Checksum,
    /// A malformed label header.
    Label,
    /// A label that is not accepted; empty if there is no label header.
    OtherLabel(Label),
    /// An unknown compression algorithm or an invalid LZW stream.
    Compression,
    /// A length above a limit; names what is too large.
    TooLarge(&'static str),
    /// A keyring is configured, but the input is not encrypted.
    NotEncrypted,
    /// The input is encrypted, but no keyring is configured.
    NoKeyring,
    /// No key decrypts the payload, or it is too short to be encrypted.
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
            // These three use the reference's wording, which operators search for (gossip spec 2.7.4).
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
