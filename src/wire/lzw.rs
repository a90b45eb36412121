//! LZW in the reference's variant (gossip spec 2.5): LSB first, 8-bit literals, GIF code widths.

use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::DecodeError;

const CLEAR: u16 = 256;
const END: u16 = 257;
const WIDTH_MIN: u32 = 9;
/// Code that is never assigned: when it is due, the encoder clears the dictionary.
const FULL: u16 = 4095;

/// Compresses a text; the output equals the reference's byte for byte.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::with(Encoder::new(plain.len(), Pairs::of_text(plain.len())));
    compressor.push(plain);
    compressor.finish()
}

/// Compresses a text that arrives in pieces; the output does not depend on how it is split.
pub struct Compressor {
    encoder: Encoder,
    /// Code of the longest match so far, not emitted yet.
    prefix: Option<u16>,
}

impl Compressor {
    /// Creates a compressor for a text of about `plain_bytes` bytes.
    pub fn new(plain_bytes: usize) -> Self {
        Self::with(Encoder::new(plain_bytes, Pairs::of_any_text()))
    }

    fn with(mut encoder: Encoder) -> Self {
        encoder.emit(CLEAR);
        Compressor {
            encoder,
            prefix: None,
        }
    }

    /// Compresses the next piece.
    pub fn push(&mut self, plain: &[u8]) {
        let encoder = &mut self.encoder;
        let mut bytes = plain.iter();
        let first = self.prefix.or_else(|| bytes.next().copied().map(u16::from));
        let Some(mut prefix) = first else {
            return;
        };
        for &byte in bytes {
            match encoder.pairs.find(prefix, byte) {
                Ok(code) => prefix = code,
                Err(slot) => {
                    encoder.emit(prefix);
                    if encoder.advance() {
                        encoder.pairs.store(slot, prefix, byte, encoder.next);
                    }
                    prefix = byte.into();
                }
            }
        }
        self.prefix = Some(prefix);
    }

    /// Finishes and returns the compressed text.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(prefix) = self.prefix {
            self.encoder.emit(prefix);
            self.encoder.advance();
        }
        self.encoder.emit(END);
        self.encoder.finish()
    }
}

struct Encoder {
    output: Vec<u8>,
    /// Output bits that do not fill a byte yet, oldest in the lowest bit.
    pending: u32,
    pending_bits: u32,
    width: u32,
    /// The last code assigned.
    next: u16,
    pairs: Pairs,
}

impl Encoder {
    fn new(plain_bytes: usize, pairs: Pairs) -> Self {
        Encoder {
            output: Vec::with_capacity(plain_bytes / 2 + 16),
            pending: 0,
            pending_bits: 0,
            width: WIDTH_MIN,
            next: END,
            pairs,
        }
    }

    fn emit(&mut self, code: u16) {
        self.pending |= u32::from(code) << self.pending_bits;
        self.pending_bits += self.width;
        while self.pending_bits >= 8 {
            self.output.push(self.pending as u8);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// Counts an emitted code. Returns false if the dictionary was full and was cleared; the current pair
    /// must not be stored then.
    fn advance(&mut self) -> bool {
        self.next += 1;
        if self.next == 1 << self.width {
            self.width += 1;
        }
        if self.next != FULL {
            return true;
        }
        self.emit(CLEAR);
        self.width = WIDTH_MIN;
        self.next = END;
        self.pairs.clear();
        false
    }

    fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.output.push(self.pending as u8);
        }
        self.output
    }
}

/// Dictionary from (prefix code, next byte) to code, a hash table with linear probing. At most half full, so
/// that each probe ends.
struct Pairs {
    /// 0 for a free slot, otherwise prefix (12 bits), byte (8), code (12).
    slots: Box<[u32]>,
    /// Binary logarithm of the number of slots.
    bits: u32,
}

impl Pairs {
    /// Size of a table that holds all codes.
    const BITS_MAX: u32 = 13;

    fn of_any_text() -> Self {
        Self::with_bits(Self::BITS_MAX)
    }

    /// Sizes the table for a text with fewer pairs than `bytes`. Clearing a full-sized table of 32 KiB would
    /// take longer than compressing a datagram.
    fn of_text(bytes: usize) -> Self {
        let slots = bytes.saturating_mul(2).max(2);
        Self::with_bits((slots.ilog2() + 1).min(Self::BITS_MAX))
    }

    fn with_bits(bits: u32) -> Self {
        Pairs {
            slots: vec![0; 1 << bits].into(),
            bits,
        }
    }

    fn key(prefix: u16, byte: u8) -> u32 {
        u32::from(prefix) << 8 | u32::from(byte)
    }

    /// Returns the code of a pair, or the slot to store it in.
    fn find(&self, prefix: u16, byte: u8) -> Result<u16, usize> {
        let key = Self::key(prefix, byte);
        // Fibonacci hashing.
        let mut slot = (key.wrapping_mul(0x9e37_79b9) >> (32 - self.bits)) as usize;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                entry if entry >> 12 == key => return Ok((entry & 0xfff) as u16),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }

    fn store(&mut self, slot: usize, prefix: u16, byte: u8, code: u16) {
        self.slots[slot] = Self::key(prefix, byte) << 12 | u32::from(code);
    }

    fn clear(&mut self) {
        self.slots.fill(0);
    }
}

/// Decompresses a text of at most `expanded_bytes_max` bytes.
///
/// # Errors
/// Fails on an invalid code, a missing end code, or more output than `expanded_bytes_max`.
pub fn expand(compressed: &[u8], expanded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    Expander::new(expanded_bytes_max).expand(compressed)
}

/// Incremental decompressor. Takes 28 KiB in addition to its output.
pub struct Expander {
    decoder: Decoder,
    consumed: usize,
    expanded: Vec<u8>,
    bytes_max: usize,
}

impl Expander {
    /// Creates a decompressor for at most `expanded_bytes_max` bytes of output.
    pub fn new(expanded_bytes_max: usize) -> Self {
        Expander {
            decoder: Decoder::new(BitOrder::Lsb, 8),
            consumed: 0,
            expanded: Vec::new(),
            bytes_max: expanded_bytes_max,
        }
    }

    /// Restarts with another text, in any state.
    pub fn reset(&mut self, expanded_bytes_max: usize) {
        self.decoder.reset();
        self.consumed = 0;
        self.expanded.clear();
        self.bytes_max = expanded_bytes_max;
    }

    /// Decompresses a complete text.
    ///
    /// # Errors
    /// Fails as [`expand`] does.
    pub fn expand(&mut self, compressed: &[u8]) -> Result<Vec<u8>, DecodeError> {
        while !self.advance(compressed, usize::MAX)? {}
        Ok(self.take_expanded())
    }

    /// Produces at least `bytes` more bytes of output, or all the rest. `compressed` must be the same
    /// complete text in each call. Returns whether the output is complete.
    ///
    /// # Errors
    /// Fails as [`expand`] does.
    pub fn advance(&mut self, compressed: &[u8], bytes: usize) -> Result<bool, DecodeError> {
        let enough = self.expanded.len().saturating_add(bytes);
        let mut piece = [0; 4096];
        while self.expanded.len() < enough {
            let rest = compressed.get(self.consumed..).unwrap_or_default();
            let result = self.decoder.decode_bytes(rest, &mut piece);
            self.consumed += result.consumed_in;
            let made = piece.get(..result.consumed_out).unwrap_or_default();
            if self.expanded.len() + made.len() > self.bytes_max {
                return Err(DecodeError::TooLarge("expanded message"));
            }
            self.expanded.extend_from_slice(made);
            match result.status {
                Ok(LzwStatus::Ok) => {}
                Ok(LzwStatus::Done) => return Ok(true),
                Ok(LzwStatus::NoProgress) | Err(_) => return Err(DecodeError::Compression),
            }
        }
        Ok(false)
    }

    /// Returns the output so far.
    pub fn expanded(&self) -> &[u8] {
        &self.expanded
    }

    /// Takes the output.
    pub fn take_expanded(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.expanded)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn pieces_of_any_size_come_to_the_same() {
        let mut rng = Rng::new(11);
        for round in 0..60 {
            // A small alphabet gives long matches, and enough of them fill the dictionary.
            let alphabet = 1 + rng.below(9);
            let plain: Vec<u8> = (0..rng.below(40_000))
                .map(|_| rng.below(alphabet) as u8)
                .collect();
            let whole = compress(&plain);
            let mut compressor = Compressor::new(0);
            let mut rest = &plain[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rng.below(rest.len().min(5_000) + 1));
                compressor.push(piece);
                rest = after;
            }
            assert_eq!(compressor.finish(), whole, "{round}");
            let mut expander = Expander::new(plain.len());
            while !expander.advance(&whole, 1 + rng.below(20_000)).unwrap() {
                assert!(plain.starts_with(expander.expanded()), "{round}");
            }
            assert_eq!(expander.take_expanded(), plain, "{round}");
        }
    }
}
