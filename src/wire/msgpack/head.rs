//! Decodes the head of a value: its marker and the length or number after it. The only table of markers.

use super::{Error, Result};

/// A scalar value, or the length of what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool(bool),
    Uint(u64),
    /// From a signed encoding; may be positive.
    Int(i64),
    Float(f64),
    /// Text or bytes of this length follow. Senders disagree on which family is which (gossip spec 3.2).
    Raw(u64),
    /// An extension: this many bytes follow, including its type byte.
    Extension(u64),
    /// A map: this many pairs follow.
    Map(u64),
    /// An array: this many values follow.
    Array(u64),
}

/// `WIDTHS[marker - FIRST_WIDE]` is the size of the big-endian number after a marker from 0xc0 to 0xdf.
const FIRST_WIDE: u8 = 0xc0;
#[rustfmt::skip]
const WIDTHS: [u8; 32] = [
    0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
    1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4,
];

impl Head {
    /// Removes the head of a value from the front of `input`; leaves `input` unchanged on error.
    pub(super) fn take(input: &mut &[u8]) -> Result<Self> {
        let (&marker, after) = input.split_first().ok_or(Error::Truncated)?;
        let low = |mask| u64::from(marker & mask);
        let head = match marker {
            0x00..=0x7f => Head::Uint(low(0x7f)),
            0x80..=0x8f => Head::Map(low(0x0f)),
            0x90..=0x9f => Head::Array(low(0x0f)),
            0xa0..=0xbf => Head::Raw(low(0x1f)),
            0xe0..=0xff => Head::Int((marker as i8).into()),
            FIRST_WIDE..=0xdf => return Self::take_wide(input, marker, after),
        };
        *input = after;
        Ok(head)
    }

    fn take_wide<'a>(input: &mut &'a [u8], marker: u8, after: &'a [u8]) -> Result<Self> {
        let width = usize::from(WIDTHS[usize::from(marker - FIRST_WIDE)]);
        let (digits, after) = after.split_at_checked(width).ok_or(Error::Truncated)?;
        let number = digits
            .iter()
            .fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        let head = match marker {
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
            0xc4..=0xc6 | 0xd9..=0xdb => Head::Raw(number),
            0xc7..=0xc9 => Head::Extension(number + 1),
            0xca => Head::Float(f32::from_bits(number as u32).into()),
            0xcb => Head::Float(f64::from_bits(number)),
            0xcc..=0xcf => Head::Uint(number),
            0xd0..=0xd3 => {
                let unused_bits = 64 - 8 * width as u32;
                Head::Int((number << unused_bits) as i64 >> unused_bits)
            }
            0xd4..=0xd8 => Head::Extension(1 + (1 << (marker - 0xd4))),
            0xdc | 0xdd => Head::Array(number),
            0xde | 0xdf => Head::Map(number),
            _ => return Err(Error::WrongType("a value")),
        };
        *input = after;
        Ok(head)
    }

    /// Returns the number of unstructured bytes that follow.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Head::Raw(bytes) | Head::Extension(bytes) => bytes,
            _ => 0,
        }
    }

    /// Returns the number of values that follow, if this is a container.
    pub(super) fn values(self) -> Option<u64> {
        match self {
            Head::Map(pairs) => Some(2 * pairs),
            Head::Array(values) => Some(values),
            _ => None,
        }
    }
}
