//! The compress message: a map of algorithm and compressed bytes (gossip spec 2.5).

use std::borrow::Cow;

use super::DecodeError;
use super::lzw::{self, Expander};
use super::membership::message_type;
use super::msgpack::{self, Dialect, Reader, Writer};

/// The only algorithm of the protocol.
const LZW: u8 = 0;

/// Compresses a message and encodes the compress message.
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    wrap(&lzw::compress(plain))
}

/// Encodes the compress message for bytes that are already compressed.
pub(super) fn wrap(compressed: &[u8]) -> Vec<u8> {
    let mut writer = Writer::appending(Dialect::Gossip, vec![message_type::COMPRESS]);
    writer.map(2).key("Algo").uint(LZW.into());
    writer.key("Buf").bytes(compressed);
    writer.into_bytes()
}

/// Number of recent messages from which the decoder is kept; `recent` is halved about every second. An idle
/// cluster stays below.
const MANY: u32 = 8;

/// Decompresses messages. Keeps its decoder while there are many, because allocating one of 28 KiB takes
/// longer than decompressing a datagram.
#[derive(Default)]
pub(super) struct Decompressor {
    expander: Option<Expander>,
    /// Number of recent messages, halved at every [`Self::tick`].
    recent: u32,
}

impl Decompressor {
    /// Decodes the map after the type byte and decompresses the inner message, which may be empty.
    pub(super) fn decode(
        &mut self,
        body: &[u8],
        expanded_bytes_max: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let compressed = unwrap(body)?;
        self.recent = self.recent.saturating_add(1);
        let expander = match &mut self.expander {
            Some(expander) => {
                expander.reset(expanded_bytes_max);
                expander
            }
            none => none.insert(Expander::new(expanded_bytes_max)),
        };
        let expanded = expander.expand(&compressed);
        self.free_unused();
        expanded
    }

    /// Ages the count of recent messages, and frees the decoder if there were few.
    pub(super) fn tick(&mut self) {
        self.recent /= 2;
        self.free_unused();
    }

    fn free_unused(&mut self) {
        if self.recent < MANY {
            self.expander = None;
        }
    }

    /// Whether a decoder is kept.
    #[cfg(test)]
    pub(super) fn is_kept(&self) -> bool {
        self.expander.is_some()
    }
}

/// Decodes the map after the type byte; returns the bytes for [`Expander`].
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
