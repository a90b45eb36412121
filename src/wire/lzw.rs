//! LZW as the reference writes it (gossip spec 2.5): LSB first, 8-bit literals, GIF widths.

use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::DecodeError;

const CLEAR: u16 = 256;
const END: u16 = 257;
const WIDTH_MIN: u32 = 9;
/// When this code is due for a pair, the encoder starts over instead.
const FULL: u16 = 4095;

/// Compresses, to the same bytes as the reference.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(plain.len());
    encoder.emit(CLEAR);
    let mut bytes = plain.iter();
    if let Some(&first) = bytes.next() {
        let mut prefix = u16::from(first);
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
        encoder.emit(prefix);
        encoder.advance();
    }
    encoder.emit(END);
    encoder.finish()
}

struct Encoder {
    output: Vec<u8>,
    /// Bits that do not fill a byte yet, the oldest lowest.
    pending: u32,
    pending_bits: u32,
    width: u32,
    /// The code given last.
    next: u16,
    pairs: Pairs,
}

impl Encoder {
    fn new(plain_bytes: usize) -> Self {
        Encoder {
            output: Vec::with_capacity(plain_bytes / 2 + 16),
            pending: 0,
            pending_bits: 0,
            width: WIDTH_MIN,
            next: END,
            pairs: Pairs::new(),
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

    /// Counts a code that was emitted. False: the dictionary was full and has been emptied, so the
    /// pair at hand is not to be stored.
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

/// The dictionary: code of (code of a prefix, byte that follows), hashed with linear probing. Never
/// more than half full, so a probe always ends.
struct Pairs {
    /// 0 for free, else prefix (12 bits), byte (8), code (12).
    slots: Vec<u32>,
}

impl Pairs {
    const BITS: u32 = 13;

    fn new() -> Self {
        Pairs {
            slots: vec![0; 1 << Self::BITS],
        }
    }

    fn key(prefix: u16, byte: u8) -> u32 {
        u32::from(prefix) << 8 | u32::from(byte)
    }

    /// The code of a pair, or the slot where it belongs.
    fn find(&self, prefix: u16, byte: u8) -> Result<u16, usize> {
        let key = Self::key(prefix, byte);
        // Fibonacci hashing.
        let mut slot = (key.wrapping_mul(0x9e37_79b9) >> (32 - Self::BITS)) as usize;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                entry if entry >> 12 == key => return Ok((entry & 0xfff) as u16),
                _ => slot = (slot + 1) % self.slots.len(),
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

/// Expands at most to `expanded_bytes_max`.
///
/// # Errors
/// A wrong code, a missing end code, or more output than allowed.
pub fn expand(compressed: &[u8], expanded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(BitOrder::Lsb, 8);
    let mut expanded = Vec::new();
    let mut rest = compressed;
    let mut piece = [0; 4096];
    loop {
        let result = decoder.decode_bytes(rest, &mut piece);
        rest = rest.get(result.consumed_in..).unwrap_or_default();
        let made = piece.get(..result.consumed_out).unwrap_or_default();
        if expanded.len() + made.len() > expanded_bytes_max {
            return Err(DecodeError::TooLarge("expanded message"));
        }
        expanded.extend_from_slice(made);
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done) => return Ok(expanded),
            Ok(LzwStatus::NoProgress) | Err(_) => return Err(DecodeError::Compression),
        }
    }
}
