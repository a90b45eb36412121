//! LZW in the reference's variant (gossip spec 2.5): LSB first, 8-bit literals, GIF code widths.

use super::DecodeError;

const CLEAR: u16 = 256;
const END: u16 = 257;
const WIDTH_MIN: u32 = 9;
const WIDTH_MAX: u32 = 12;
/// Limit for the slots of a dictionary that are kept for the next text: those that a full datagram takes.
const SCRATCH_SLOTS_MAX: usize = 2048;
/// Code that is never assigned: when it is due, the encoder clears the dictionary.
const FULL: u16 = 4095;

/// Compresses a text; the output equals the reference's byte for byte.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    Scratch::default().compress(plain)
}

/// Memory for compressing one text after another without allocating it each time.
#[derive(Default)]
pub struct Scratch(Vec<u32>);

impl Scratch {
    /// Compresses a text as [`compress`] does.
    pub fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
        let pairs = Pairs::of_text(plain.len(), std::mem::take(&mut self.0));
        let mut compressor = Compressor::with(Encoder::new(plain.len(), pairs));
        compressor.push(plain);
        let (compressed, pairs) = compressor.end();
        if pairs.slots.capacity() <= SCRATCH_SLOTS_MAX {
            self.0 = pairs.slots;
        }
        compressed
    }
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
    pub fn finish(self) -> Vec<u8> {
        self.end().0
    }

    fn end(mut self) -> (Vec<u8>, Pairs) {
        if let Some(prefix) = self.prefix {
            self.encoder.emit(prefix);
            self.encoder.advance();
        }
        self.encoder.emit(END);
        self.encoder.end()
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

    fn end(mut self) -> (Vec<u8>, Pairs) {
        if self.pending_bits > 0 {
            self.output.push(self.pending as u8);
        }
        (self.output, self.pairs)
    }
}

/// Dictionary from (prefix code, next byte) to code, a hash table with linear probing. At most three quarters
/// full, so that each probe ends.
struct Pairs {
    /// 0 for a free slot, otherwise prefix (12 bits), byte (8), code (12).
    slots: Vec<u32>,
    /// Binary logarithm of the number of slots.
    bits: u32,
}

impl Pairs {
    /// Size of a table that holds all codes.
    const BITS_MAX: u32 = 13;

    fn of_any_text() -> Self {
        Self::with_bits(Self::BITS_MAX, Vec::new())
    }

    /// Sizes the table for a text with fewer pairs than `bytes`. Clearing a full-sized table of 32 KiB would
    /// take longer than compressing a datagram.
    fn of_text(bytes: usize, scratch: Vec<u32>) -> Self {
        let slots = bytes.saturating_mul(4).div_ceil(3).max(2);
        let bits = slots.next_power_of_two().ilog2();
        Self::with_bits(bits.min(Self::BITS_MAX), scratch)
    }

    fn with_bits(bits: u32, mut slots: Vec<u32>) -> Self {
        slots.clear();
        slots.resize(1 << bits, 0);
        Pairs { slots, bits }
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
    let mut expander = Expander::new(expanded_bytes_max);
    let codes_max = compressed.len().saturating_mul(8) / WIDTH_MIN as usize;
    expander.starts.reserve_exact(codes_max.min(STARTS_MAX));
    let usual = compressed.len().saturating_mul(2);
    expander.expanded.reserve(usual.min(expanded_bytes_max));
    while !expander.advance(compressed, usize::MAX)? {}
    Ok(expander.take_expanded())
}

/// Incremental decompressor.
///
/// The output is the dictionary: entry n is the text of the n-th code since the last clear code and the byte
/// that follows that text in the output.
pub struct Expander {
    consumed: usize,
    /// Bits that were read and belong to no code yet, the oldest lowest.
    pending: u32,
    pending_bits: u32,
    width: u32,
    /// Offset in the output of the text of each code since the last [`CLEAR`].
    starts: Vec<u32>,
    expanded: Vec<u8>,
    bytes_max: usize,
}

/// The first code of the dictionary.
const FIRST: usize = END as usize + 1;
/// Offsets that are kept: those of all entries, and the one that ends the last entry.
const STARTS_MAX: usize = FULL as usize + 1 - FIRST + 1;

/// Texts of fewer bytes, most of them, are copied byte by byte. That takes less time than a call.
const SHORT_BYTES: usize = 16;

impl Expander {
    /// Creates a decompressor for a text of at most `expanded_bytes_max` bytes.
    pub fn new(expanded_bytes_max: usize) -> Self {
        Expander {
            consumed: 0,
            pending: 0,
            pending_bits: 0,
            width: WIDTH_MIN,
            starts: Vec::new(),
            expanded: Vec::new(),
            bytes_max: expanded_bytes_max,
        }
    }

    /// Decompresses about `bytes` more bytes of output. `compressed` must be the same whole input in each call.
    /// Returns true at the end.
    ///
    /// # Errors
    /// As for [`expand`].
    pub fn advance(&mut self, compressed: &[u8], bytes: usize) -> Result<bool, DecodeError> {
        let enough = self.expanded.len().saturating_add(bytes);
        // Codes count as well, because some make no output.
        for _ in 0..bytes {
            if self.expanded.len() >= enough {
                break;
            }
            match self.next_code(compressed)? {
                CLEAR => {
                    self.starts.clear();
                    self.width = WIDTH_MIN;
                }
                END => return Ok(true),
                code => self.emit(code)?,
            }
        }
        Ok(false)
    }

    fn next_code(&mut self, compressed: &[u8]) -> Result<u16, DecodeError> {
        while self.pending_bits < self.width {
            let byte = compressed.get(self.consumed);
            let byte = *byte.ok_or(DecodeError::Compression)?;
            self.pending |= u32::from(byte) << self.pending_bits;
            self.pending_bits += 8;
            self.consumed += 1;
        }
        let code = self.pending & ((1 << self.width) - 1);
        self.pending >>= self.width;
        self.pending_bits -= self.width;
        Ok(code as u16)
    }

    fn emit(&mut self, code: u16) -> Result<(), DecodeError> {
        const TOO_LARGE: DecodeError = DecodeError::TooLarge("expanded message");
        let end = self.expanded.len();
        if self.starts.len() < STARTS_MAX {
            let start = u32::try_from(end).map_err(|_| TOO_LARGE)?;
            self.starts.push(start);
        }
        if let Ok(byte) = u8::try_from(code) {
            self.expanded.push(byte);
        } else {
            let at = usize::from(code) - FIRST;
            let Some(&[from, next]) = self.starts.get(at..at + 2) else {
                return Err(DecodeError::Compression);
            };
            let (from, next) = (from as usize, next as usize);
            if end + next - from >= self.bytes_max {
                return Err(TOO_LARGE);
            }
            self.repeat(from, next);
        }
        if self.expanded.len() > self.bytes_max {
            return Err(TOO_LARGE);
        }
        if END as usize + self.starts.len() == 1 << self.width && self.width < WIDTH_MAX {
            self.width += 1;
        }
        Ok(())
    }

    /// Appends the output from `from` to `last`, which may be the first byte that this appends.
    fn repeat(&mut self, from: usize, last: usize) {
        let copied = if last - from < SHORT_BYTES {
            from
        } else {
            self.expanded.extend_from_within(from..last);
            last
        };
        for at in copied..=last {
            self.expanded.push(self.expanded[at]);
        }
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
        let (mut rng, mut scratch) = (Rng::new(11), Scratch::default());
        for round in 0..60 {
            // Few different bytes give long codes, and enough of them fill the dictionary.
            let alphabet = 1 + rng.below(9);
            let plain: Vec<u8> = (0..rng.below(40_000))
                .map(|_| rng.below(alphabet) as u8)
                .collect();
            let whole = scratch.compress(&plain);
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

    /// The format does not require an encoder to clear a full dictionary: its entries remain valid.
    #[test]
    fn a_full_dictionary_keeps_its_entries() {
        let literal = |at: u16| at % 251;
        let last = FIRST as u16 + STARTS_MAX as u16 - 2;
        assert_eq!(last, FULL);
        let codes: Vec<u16> = (0..5_000).map(literal).chain([last, 300, END]).collect();
        let (mut compressed, mut pending, mut bits) = (Vec::new(), 0u32, 0);
        for (at, &code) in codes.iter().enumerate() {
            pending |= u32::from(code) << bits;
            bits += ((257 + at).ilog2() + 1).min(WIDTH_MAX);
            while bits > 0 && (bits >= 8 || at + 1 == codes.len()) {
                compressed.push(pending as u8);
                pending >>= 8;
                bits = bits.saturating_sub(8);
            }
        }
        let entry = |code: u16| [literal(code - 258) as u8, literal(code - 257) as u8];
        let mut plain: Vec<u8> = (0..5_000).map(|at| literal(at) as u8).collect();
        plain.extend([entry(last), entry(300)].concat());
        assert_eq!(expand(&compressed, 10_000), Ok(plain));
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        let mut rng = Rng::new(5);
        let plain: Vec<u8> = (0..60_000).map(|_| rng.below(2) as u8).collect();
        for plain in [&plain[..], &[7; 60_000]] {
            let compressed = compress(plain);
            assert_eq!(expand(&compressed, plain.len()).as_deref(), Ok(plain));
            let short = expand(&compressed, plain.len() - 1);
            assert_eq!(short, Err(DecodeError::TooLarge("expanded message")));
            let cut = expand(&compressed[..compressed.len() - 2], plain.len());
            assert_eq!(cut, Err(DecodeError::Compression));
        }
        // A code before there is one, without and with a clear in front.
        for bits in [258u32, 258 << 9 | 256] {
            let wrong = expand(&bits.to_le_bytes(), 100);
            assert_eq!(wrong, Err(DecodeError::Compression));
        }
    }
}
