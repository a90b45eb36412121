//! Where one MessagePack value ends and the next begins, found incrementally.

use crate::wire::msgpack::Error;

/// Finds the end of the value at the front of a growing buffer. Looks at each byte once, and counts
/// instead of nesting, so that neither slow nor deep input costs anything.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// Everything before this has been looked at.
    position: usize,
    /// Values that still have to begin.
    values: u64,
    /// Bytes of the current value that carry no structure.
    opaque: u64,
}

impl Default for Boundary {
    fn default() -> Self {
        Boundary {
            position: 0,
            values: 1,
            opaque: 0,
        }
    }
}

impl Boundary {
    /// The length of the value at the front of `input`, or `None` if it is not complete. Call it again
    /// with the same input and more behind it.
    ///
    /// # Errors
    /// A byte that begins no value.
    pub fn find(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        loop {
            let left = input.len().saturating_sub(self.position);
            let step = left.min(usize::try_from(self.opaque).unwrap_or(usize::MAX));
            self.position += step;
            self.opaque -= step as u64;
            if self.opaque > 0 {
                return Ok(None);
            }
            if self.values == 0 {
                return Ok(Some(self.position));
            }
            match Head::read(&input[self.position..])? {
                None => return Ok(None),
                Some(head) => {
                    self.position += head.length;
                    self.opaque = head.opaque;
                    self.values = (self.values - 1).saturating_add(head.values);
                }
            }
        }
    }
}

/// What the first bytes of a value say about the rest.
struct Head {
    /// Bytes of marker and length.
    length: usize,
    /// Bytes of content.
    opaque: u64,
    /// Values inside.
    values: u64,
}

impl Head {
    fn read(input: &[u8]) -> Result<Option<Self>, Error> {
        let Some(&marker) = input.first() else {
            return Ok(None);
        };
        // The length that follows the marker, if all of it is there.
        let number = |width: usize| {
            let digits = input.get(1..1 + width)?;
            Some(digits.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
        };
        let content = |width: usize, extra: u64| {
            number(width).map(|length| Head {
                length: 1 + width,
                opaque: length + extra,
                values: 0,
            })
        };
        let container = |width: usize, each: u64| {
            number(width).map(|count| Head {
                length: 1 + width,
                opaque: 0,
                values: count * each,
            })
        };
        let fixed = |opaque: u64, values: u64| {
            Some(Head {
                length: 1,
                opaque,
                values,
            })
        };
        let low = |bits: u8| u64::from(marker & bits);
        Ok(match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => fixed(0, 0),
            0x80..=0x8f => fixed(0, 2 * low(0x0f)),
            0x90..=0x9f => fixed(0, low(0x0f)),
            0xa0..=0xbf => fixed(low(0x1f), 0),
            0xcc | 0xd0 => fixed(1, 0),
            0xcd | 0xd1 => fixed(2, 0),
            0xca | 0xce | 0xd2 => fixed(4, 0),
            0xcb | 0xcf | 0xd3 => fixed(8, 0),
            // Extensions have a type byte in front of their content.
            0xd4..=0xd8 => fixed(1 + (1 << (marker - 0xd4)), 0),
            0xc4 | 0xd9 => content(1, 0),
            0xc5 | 0xda => content(2, 0),
            0xc6 | 0xdb => content(4, 0),
            0xc7 => content(1, 1),
            0xc8 => content(2, 1),
            0xc9 => content(4, 1),
            0xdc => container(2, 1),
            0xdd => container(4, 1),
            0xde => container(2, 2),
            0xdf => container(4, 2),
            0xc1 => return Err(Error::WrongType("a value")),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::msgpack::Reader;

    /// Every kind of value, each complete.
    fn samples() -> Vec<Vec<u8>> {
        let mut samples = vec![
            vec![0x7f],
            vec![0xe0],
            vec![0xc0],
            vec![0xc3],
            vec![0x82, 0xa1, b'a', 1, 0xa1, b'b', 0x91, 0xc2],
            vec![0x92, 0x90, 0x80],
            vec![0xa3, 1, 2, 3],
            vec![0xc4, 2, 0, 0],
            vec![0xc5, 0, 1, 9],
            vec![0xc6, 0, 0, 0, 1, 9],
            vec![0xc7, 1, 0, 0],
            vec![0xc8, 0, 1, 0, 0],
            vec![0xc9, 0, 0, 0, 1, 0, 0],
            vec![0xd9, 1, b'a'],
            vec![0xda, 0, 1, b'a'],
            vec![0xdb, 0, 0, 0, 1, b'a'],
            vec![0xdc, 0, 2, 1, 2],
            vec![0xdd, 0, 0, 0, 1, 2],
            vec![0xde, 0, 1, 1, 2],
            vec![0xdf, 0, 0, 0, 1, 1, 2],
        ];
        for (marker, length) in [
            (0xca, 4),
            (0xcb, 8),
            (0xcc, 1),
            (0xcd, 2),
            (0xce, 4),
            (0xcf, 8),
            (0xd0, 1),
            (0xd1, 2),
            (0xd2, 4),
            (0xd3, 8),
            (0xd4, 2),
            (0xd5, 3),
            (0xd6, 5),
            (0xd7, 9),
            (0xd8, 17),
        ] {
            let mut value = vec![0; 1 + length];
            value[0] = marker;
            samples.push(value);
        }
        samples
    }

    #[test]
    fn it_ends_where_the_reader_ends() {
        for mut value in samples() {
            let mut reader = Reader::new(&value);
            reader.skip().unwrap();
            assert_eq!(reader.position(), value.len(), "{value:x?}");
            let length = value.len();
            value.push(0xc1);
            assert_eq!(Boundary::default().find(&value), Ok(Some(length)));
        }
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        for value in samples() {
            let mut boundary = Boundary::default();
            for end in 0..value.len() {
                assert_eq!(boundary.find(&value[..end]), Ok(None), "{value:x?} {end}");
            }
            assert_eq!(boundary.find(&value), Ok(Some(value.len())));
            assert_eq!(boundary.find(&value), Ok(Some(value.len())));
        }
    }

    #[test]
    fn absurd_input_is_counted_not_believed() {
        let mut huge = Vec::new();
        for _ in 0..10_000 {
            huge.extend_from_slice(&[0xdf, 0xff, 0xff, 0xff, 0xff]);
        }
        assert_eq!(Boundary::default().find(&huge), Ok(None));
        assert_eq!(Boundary::default().find(&[0x91; 100_000]), Ok(None));
        assert!(Boundary::default().find(&[0x92, 1, 0xc1]).is_err());
    }
}
