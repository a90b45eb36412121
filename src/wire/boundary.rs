//! Finds where a MessagePack object ends while its bytes are still arriving.

use super::DecodeError;
use super::msgpack::{DEPTH_MAX, Error};

/// Walks over one object, resuming where the last call ran out of input, so that the work is linear
/// in the bytes however they are cut up. Checks nothing but nesting and size: decoding comes after.
#[derive(Debug)]
pub(super) struct Boundary {
    /// Bytes of the object that are dealt with; a raw value is dealt with once its header is read,
    /// so this may lie ahead of what has arrived.
    walked: usize,
    /// For each open container, how many values it still lacks.
    open: Vec<u64>,
    bytes_max: usize,
}

impl Boundary {
    /// At the start of an object that must not be larger than `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Boundary {
            walked: 0,
            open: vec![1],
            bytes_max,
        }
    }

    /// Looks at what has arrived: `input` begins where the object begins and has only grown since
    /// the last call. The size of the object, once it is known and all there.
    pub(super) fn find(&mut self, input: &[u8]) -> Result<Option<usize>, DecodeError> {
        while let Some(lacking) = self.open.last_mut() {
            if *lacking == 0 {
                self.open.pop();
                continue;
            }
            let Some(header) = input.get(self.walked..).and_then(Header::read) else {
                return Ok(None);
            };
            let header = header?;
            *lacking -= 1;
            self.walked = self.walked.saturating_add(header.own_bytes);
            match header.follow {
                Follow::Bytes(count) => {
                    self.walked = self
                        .walked
                        .saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
                }
                Follow::Values(count) => {
                    // The outermost level is not a container.
                    if self.open.len() > DEPTH_MAX {
                        return Err(Error::TooDeep.into());
                    }
                    self.open.push(count);
                }
            }
            self.check_size()?;
        }
        Ok(Some(self.walked).filter(|&end| end <= input.len()))
    }

    /// Every value that is still lacking takes at least a byte.
    fn check_size(&self) -> Result<(), DecodeError> {
        let lacking = self.open.last().copied().unwrap_or(0);
        let least = (self.walked as u64).saturating_add(lacking);
        if least > self.bytes_max as u64 {
            return Err(DecodeError::TooLarge("object of a stream"));
        }
        Ok(())
    }
}

enum Follow {
    Bytes(u64),
    Values(u64),
}

/// What the first bytes of a value say about its extent.
struct Header {
    own_bytes: usize,
    follow: Follow,
}

impl Header {
    /// `None`: the input ends inside the header.
    fn read(input: &[u8]) -> Option<Result<Self, Error>> {
        let (&first, rest) = input.split_first()?;
        let length = |width: usize| {
            let bytes = rest.get(..width)?;
            let value = bytes
                .iter()
                .fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            Some((1 + width, value))
        };
        let (own_bytes, follow) = match first {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, Follow::Bytes(0)),
            0x80..=0x8f => (1, Follow::Values(2 * u64::from(first & 0x0f))),
            0x90..=0x9f => (1, Follow::Values(u64::from(first & 0x0f))),
            0xa0..=0xbf => (1, Follow::Bytes(u64::from(first & 0x1f))),
            0xc1 => return Some(Err(Error::WrongType("a value"))),
            // bin and str with a length of 1, 2 or 4 bytes
            0xc4 | 0xd9 => length(1).map(|(own, n)| (own, Follow::Bytes(n)))?,
            0xc5 | 0xda => length(2).map(|(own, n)| (own, Follow::Bytes(n)))?,
            0xc6 | 0xdb => length(4).map(|(own, n)| (own, Follow::Bytes(n)))?,
            // ext: a type byte before the data
            0xc7 => length(1).map(|(own, n)| (own, Follow::Bytes(n + 1)))?,
            0xc8 => length(2).map(|(own, n)| (own, Follow::Bytes(n + 1)))?,
            0xc9 => length(4).map(|(own, n)| (own, Follow::Bytes(n + 1)))?,
            0xca | 0xce | 0xd2 => (1, Follow::Bytes(4)),
            0xcb | 0xcf | 0xd3 => (1, Follow::Bytes(8)),
            0xcc | 0xd0 => (1, Follow::Bytes(1)),
            0xcd | 0xd1 => (1, Follow::Bytes(2)),
            // fixext of 1, 2, 4, 8, 16 bytes
            0xd4..=0xd8 => (1, Follow::Bytes(1 + (1 << (first - 0xd4)))),
            0xdc => length(2).map(|(own, n)| (own, Follow::Values(n)))?,
            0xdd => length(4).map(|(own, n)| (own, Follow::Values(n)))?,
            0xde => length(2).map(|(own, n)| (own, Follow::Values(2 * n)))?,
            0xdf => length(4).map(|(own, n)| (own, Follow::Values(2 * n)))?,
        };
        Some(Ok(Header { own_bytes, follow }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::msgpack::Reader;
    use super::*;
    use crate::rng::Rng;

    /// What stepping over the value at once says.
    fn skipped(input: &[u8]) -> Result<usize, Error> {
        let mut reader = Reader::streaming(input);
        reader.skip().map(|()| reader.position())
    }

    #[test]
    fn ends_are_where_the_reader_sees_them() {
        let mut rng = Rng::new(3);
        let (mut ended, mut refused) = (0, 0);
        for _ in 0..50_000 {
            // Mostly containers and short values, so that some objects end.
            let input: Vec<u8> = (0..60)
                .map(|_| match rng.below(4) {
                    0 => rng.next_u32() as u8,
                    1 => 0x81 + rng.below(3) as u8,
                    2 => 0x91 + rng.below(3) as u8,
                    _ => rng.below(128) as u8,
                })
                .collect();
            let mut boundary = Boundary::new(1 << 40);
            let mut found = Ok(None);
            for arrived in 0..=input.len() {
                found = boundary.find(&input[..arrived]);
                if found != Ok(None) {
                    break;
                }
            }
            match skipped(&input) {
                Ok(size) => {
                    assert_eq!(found, Ok(Some(size)), "{input:02x?}");
                    ended += 1;
                }
                // A count beyond what is there may still hide a worse error.
                Err(Error::Truncated) => {}
                Err(error) => {
                    assert_eq!(found, Err(error.into()), "{input:02x?}");
                    refused += 1;
                }
            }
        }
        assert!(ended > 1_000 && refused > 100, "{ended} {refused}");
    }

    #[test]
    fn what_announces_too_much_is_refused_at_once() {
        for input in [
            &[0xdb, 0, 1, 0, 0][..],
            &[0xdd, 0, 1, 0, 0],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0x92, 0xc9, 0xff, 0xff, 0xff, 0xff],
        ] {
            let found = Boundary::new(1 << 16).find(input);
            assert_eq!(found, Err(DecodeError::TooLarge("object of a stream")));
        }
    }
}
