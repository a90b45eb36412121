//! The compress message: a map of algorithm and compressed bytes (gossip spec 2.5).

use std::borrow::Cow;

use super::lzw::Scratch;
use super::membership::message_type;
use super::msgpack::{self, Dialect, Reader, Writer};
use super::{DecodeError, lzw};

/// The only algorithm of the protocol.
const LZW: u8 = 0;

/// Bytes of a compress message before the compressed ones: the type, the map, and their number.
const HEADER_BYTES_MAX: usize = 17;

/// Compresses a message and encodes the compress message.
pub(super) fn encode(plain: &[u8], scratch: &mut Scratch) -> Vec<u8> {
    wrap(&scratch.compress(plain))
}

/// Encodes the compress message for bytes that are already compressed.
pub(super) fn wrap(compressed: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(HEADER_BYTES_MAX + compressed.len());
    output.push(message_type::COMPRESS);
    let mut writer = Writer::appending(Dialect::Gossip, output);
    writer.map(2).key("Algo").uint(LZW.into());
    writer.key("Buf").bytes(compressed);
    writer.into_bytes()
}

/// Decodes the map after the type byte and decompresses the inner message, which may be empty.
pub(super) fn decode(body: &[u8], expanded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    lzw::expand(&unwrap(body)?, expanded_bytes_max)
}

/// Decodes the map after the type byte; returns the bytes for [`lzw::Expander`].
pub(super) fn unwrap(body: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let (mut algorithm, mut compressed) = (0, None);
    Reader::new(body).fields::<msgpack::Error>(&["Algo", "Buf"], |field, reader| {
        match field {
            0 => algorithm = reader.u8()?,
            _ => compressed = reader.bytes_borrowed()?,
        }
        Ok(())
    })?;
    if algorithm != LZW {
        return Err(DecodeError::Compression);
    }
    Ok(compressed.unwrap_or_default())
}
