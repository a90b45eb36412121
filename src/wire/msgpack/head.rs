//! The one table of markers: what the first bytes of a value say.

use super::{Error, Result};

/// A value, or what its first bytes say about those that follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool(bool),
    Uint(u64),
    /// Of a signed form, which may hold a positive number.
    Int(i64),
    Float(f64),
    /// Text or bytes: so many follow. Nobody agrees on which family is which (gossip spec 3.2).
    Raw(u64),
    /// An extension: so many bytes follow, its type included.
    Extension(u64),
    /// So many pairs of values follow.
    Map(u64),
    /// So many values follow.
    Array(u64),
}

/// Markers from here to 0xdf are followed by a number of so many bytes, the highest first.
const FIRST_WIDE: u8 = 0xc0;
#[rustfmt::skip]
const WIDTHS: [u8; 32] = [
    0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
    1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4,
];

impl Head {
    /// Takes the head of a value off the front of `input`, which stays as it is after an error.
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

    /// Bytes that follow and have no structure.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Head::Raw(bytes) | Head::Extension(bytes) => bytes,
            _ => 0,
        }
    }

    /// Of a container, how many values follow.
    pub(super) fn values(self) -> Option<u64> {
        match self {
            Head::Map(pairs) => Some(2 * pairs),
            Head::Array(values) => Some(values),
            _ => None,
        }
    }
}
