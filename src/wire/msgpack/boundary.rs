//! Finds the end of a MessagePack object while its bytes are still arriving.

use super::head::Head;
use super::{DEPTH_MAX, Error};
use crate::wire::DecodeError;

/// Incremental scan of one object. Each call resumes where the last one ran out of input, so that the work is
/// linear in the bytes however they are split. Checks only nesting and size; decoding follows.
#[derive(Clone, Debug, Default)]
pub struct Boundary {
    /// Offset up to which the object is scanned. The content of a raw value counts as soon as its head is
    /// read, so this may exceed the bytes received.
    walked: usize,
    /// Number of missing values, for each open container.
    lacking: [u64; DEPTH_MAX],
    /// Number of open containers.
    open: usize,
}

impl Boundary {
    /// Scans the bytes received so far: `input` starts at the object's start and only grows between calls.
    /// Returns the object's size once it is complete.
    ///
    /// # Errors
    /// Fails if the object exceeds `bytes_max` (detected as soon as a length field implies it), is nested too
    /// deep, or contains a byte that cannot start a value.
    pub fn find(&mut self, input: &[u8], bytes_max: usize) -> Result<Option<usize>, DecodeError> {
        // `walked` is 0 only before the first value.
        while self.walked == 0 || self.open > 0 {
            let Some(mut rest) = input.get(self.walked..).filter(|rest| !rest.is_empty()) else {
                return Ok(None);
            };
            let arrived = rest.len();
            let head = match Head::take(&mut rest) {
                Err(Error::Truncated) => return Ok(None),
                head => head?,
            };
            self.walked += arrived - rest.len();
            self.walked = self
                .walked
                .saturating_add(usize::try_from(head.bytes()).unwrap_or(usize::MAX));
            if let Some(lacking) = self.innermost() {
                *lacking -= 1;
            }
            if let Some(values) = head.values() {
                let next = self.lacking.get_mut(self.open).ok_or(Error::TooDeep)?;
                *next = values;
                self.open += 1;
            }
            self.check_size(bytes_max)?;
            while self.innermost().is_some_and(|lacking| *lacking == 0) {
                self.open -= 1;
            }
        }
        Ok(Some(self.walked).filter(|&end| end <= input.len()))
    }

    /// Returns the number of missing values of the innermost open container.
    fn innermost(&mut self) -> Option<&mut u64> {
        self.lacking.get_mut(self.open.checked_sub(1)?)
    }

    /// Checks the least possible size: each missing value takes at least one byte.
    fn check_size(&mut self, bytes_max: usize) -> Result<(), DecodeError> {
        let lacking = self.innermost().map_or(0, |lacking| *lacking);
        let least = (self.walked as u64).saturating_add(lacking);
        if least > bytes_max as u64 {
            return Err(DecodeError::TooLarge("object of a stream"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::wire::msgpack::Reader;

    /// A size limit that no object reaches.
    const ANY: usize = usize::MAX;

    /// Returns the size of the first value according to [`Reader::skip`].
    fn skipped(input: &[u8]) -> Result<usize, Error> {
        let mut reader = Reader::new(input);
        reader.skip().map(|()| input.len() - reader.rest().len())
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
            let mut boundary = Boundary::default();
            let mut found = Ok(None);
            for arrived in 0..=input.len() {
                found = boundary.find(&input[..arrived], ANY);
                if found != Ok(None) {
                    break;
                }
            }
            match skipped(&input) {
                Ok(size) => {
                    assert_eq!(found, Ok(Some(size)), "{input:02x?}");
                    ended += 1;
                }
                // The reader may stop at the count before it reaches an error that the boundary finds.
                Err(Error::Truncated | Error::TooMany) => {}
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
            let found = Boundary::default().find(input, 1 << 16);
            assert_eq!(found, Err(DecodeError::TooLarge("object of a stream")));
        }
    }

    /// Returns complete values, at least one of each kind.
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
            let length = value.len();
            assert_eq!(skipped(&value), Ok(length), "{value:x?}");
            value.push(0xc1);
            assert_eq!(Boundary::default().find(&value, length), Ok(Some(length)));
        }
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        for value in samples() {
            let mut boundary = Boundary::default();
            for end in 0..value.len() {
                assert_eq!(
                    boundary.find(&value[..end], ANY),
                    Ok(None),
                    "{value:x?} {end}"
                );
            }
            assert_eq!(boundary.find(&value, ANY), Ok(Some(value.len())));
            assert_eq!(boundary.find(&value, ANY), Ok(Some(value.len())));
        }
    }

    #[test]
    fn an_object_of_the_largest_size_is_found_and_one_byte_more_refused() {
        let too_large = Err(DecodeError::TooLarge("object of a stream"));
        for value in samples() {
            let length = value.len();
            let mut boundary = Boundary::default();
            for end in 0..length {
                assert_eq!(boundary.find(&value[..end], length), Ok(None), "{value:x?}");
            }
            assert_eq!(Boundary::default().find(&value, length - 1), too_large);
        }
    }

    #[test]
    fn nesting_is_bounded_and_so_is_what_lacks() {
        let too_deep = Err(DecodeError::MsgPack(Error::TooDeep));
        assert_eq!(Boundary::default().find(&[0x91; DEPTH_MAX], ANY), Ok(None));
        assert_eq!(
            Boundary::default().find(&[0x91; DEPTH_MAX + 1], ANY),
            too_deep
        );
        // Each is half of what usize can count where it has 32 bits.
        let huge = [0xdf, 0x3f, 0xff, 0xff, 0xff].repeat(DEPTH_MAX + 1);
        let (some, all) = (&huge[..5 * DEPTH_MAX], &huge[..]);
        assert_eq!(Boundary::default().find(some, ANY), Ok(None));
        assert_eq!(Boundary::default().find(all, ANY), too_deep);
    }

    #[test]
    fn a_byte_that_begins_no_value_is_refused() {
        let found = Boundary::default().find(&[0x92, 1, 0xc1], ANY);
        assert_eq!(found, Err(Error::WrongType("a value").into()));
    }
}
