//! The compress message: a map with an algorithm and bytes (gossip spec 2.5).

use std::borrow::Cow;

use super::membership::message_type;
use super::msgpack::{self, Dialect, Reader, Writer};
use super::{DecodeError, lzw};

/// The only algorithm.
const LZW: u8 = 0;

/// A compress message that holds a message.
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    wrap(&lzw::compress(plain))
}

/// A compress message around what is compressed already.
pub(super) fn wrap(compressed: &[u8]) -> Vec<u8> {
    let mut writer = Writer::appending(Dialect::Gossip, vec![message_type::COMPRESS]);
    writer.map(2).key("Algo").uint(LZW.into());
    writer.key("Buf").bytes(compressed);
    writer.into_bytes()
}

/// The message inside, from the map behind the type byte. It may be empty.
pub(super) fn decode(body: &[u8], expanded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    lzw::expand(&unwrap(body)?, expanded_bytes_max)
}

/// What [`lzw::Expander`] is to expand, from the map behind the type byte.
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
