//! LZW, compared with the decoder of the specification.

use cottar::wire::DecodeError;
use cottar::wire::lzw::{self, Expander};

use super::{DECODER_BYTES, input};
use crate::supply::{peak_bytes, seeds};

const EXPANDED_BYTES_MAX: usize = 1000;

/// The input is the text's share of the remaining bytes, the text, then bytes that are expanded as they are.
pub fn check(input: &[u8]) {
    let Some((&share, rest)) = input.split_first() else {
        return;
    };
    let (text, compressed) = rest.split_at(rest.len() * usize::from(share) / 255);
    expanded(compressed);
    let good = lzw::compress(text);
    assert_eq!(lzw::expand(&good, text.len()).as_deref(), Ok(text));
    assert_eq!(by_the_book(&good).as_deref(), Some(text));
}

/// Expands arbitrary bytes up to a limit, at once and in pieces.
pub fn expanded(compressed: &[u8]) {
    let (peak, expanded) = peak_bytes(|| lzw::expand(compressed, EXPANDED_BYTES_MAX));
    assert!(peak < DECODER_BYTES, "{peak} bytes held");
    let mut pieces = Expander::new(EXPANDED_BYTES_MAX);
    let in_pieces = loop {
        match pieces.advance(compressed, 7) {
            Ok(false) => {}
            Ok(true) => break Ok(pieces.take_expanded()),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(in_pieces, expanded);
    match expanded {
        Err(DecodeError::TooLarge(_)) => {}
        expanded => assert_eq!(expanded.ok(), by_the_book(compressed), "{compressed:02x?}"),
    }
}

/// The decoder of gossip spec 2.5, literal and slow.
pub fn by_the_book(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let mut table: Vec<Vec<u8>> = Vec::new();
    let (mut next, mut width, mut previous) = (257usize, 9, None::<Vec<u8>>);
    let mut at = 0;
    loop {
        let mut code = 0;
        for bit in 0..width {
            let byte = *compressed.get((at + bit) / 8)?;
            code |= usize::from(byte >> ((at + bit) % 8) & 1) << bit;
        }
        at += width;
        if code == 256 {
            (next, width, previous) = (257, 9, None);
            table.clear();
            continue;
        }
        if code == 257 {
            return Some(output);
        }
        if code > next || code == next && previous.is_none() && code - 258 >= table.len() {
            return None;
        }
        let text = match code {
            0..=255 => vec![code as u8],
            _ if code - 258 < table.len() => table[code - 258].clone(),
            _ => {
                let mut text = previous.clone()?;
                text.push(text[0]);
                text
            }
        };
        output.extend(&text);
        if let Some(mut entry) = previous.take() {
            entry.push(text[0]);
            assert_eq!(table.len(), next - 258);
            table.push(entry);
        }
        previous = Some(text);
        next += 1;
        if next == 1 << width {
            if width < 12 {
                width += 1;
            } else {
                next -= 1;
                previous = None;
            }
        }
    }
}

/// Returns recorded datagrams, as plain text and compressed.
pub fn corpus() -> Vec<Vec<u8>> {
    let seeds = seeds("udp");
    let texts = seeds.iter().map(|seed| input(255, &seed.bytes));
    let compressed = seeds
        .iter()
        .map(|seed| input(0, &lzw::compress(&seed.bytes)));
    texts.chain(compressed).collect()
}
