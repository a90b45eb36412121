//! Reading a segment from front to back, past whatever is damaged.

use super::record::{Decoded, Record};

/// Something in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record that was written so.
    Record(Record),
    /// Bytes that are no record, up to the next good one.
    Damaged {
        /// Where they begin in the segment.
        offset: u64,
        /// How many they are.
        bytes: usize,
    },
    /// The segment ends inside a record or after bytes that are none.
    Torn {
        /// Where the last good record ends.
        offset: u64,
        /// How many bytes follow it.
        bytes: usize,
        /// Where a record may begin of which only the end is missing; the end of the bytes if nowhere.
        resume: u64,
    },
}

/// The records of a segment, or of a part of it that begins with a record.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    salt: u64,
    start: u64,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Reads `bytes`, which stand at `start` in the segment with this salt.
    pub(super) fn new(salt: u64, start: u64, bytes: &'a [u8]) -> Self {
        Scan {
            salt,
            start,
            bytes,
            at: 0,
        }
    }

    fn decode(&self, at: usize) -> Decoded {
        let rest = self.bytes.get(at..).unwrap_or_default();
        Record::decode(self.salt, self.start + at as u64, rest)
    }

    /// Where the next good record after `from` begins.
    fn next_good(&self, from: usize) -> Option<usize> {
        (from..self.bytes.len()).find(|&at| matches!(self.decode(at), Decoded::Record(..)))
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        while self.at < self.bytes.len() {
            if let Decoded::Record(bytes, record) = self.decode(self.at) {
                self.at += bytes;
                match record {
                    Some(record) => return Some(Found::Record(record)),
                    None => continue,
                }
            }
            let start = self.at;
            let offset = self.start + start as u64;
            let Some(good) = self.next_good(start + 1) else {
                self.at = self.bytes.len();
                let bytes = self.at - start;
                let mut places = start..self.at;
                let short = places.find(|&at| self.decode(at) == Decoded::Short);
                return Some(Found::Torn {
                    offset,
                    bytes,
                    resume: self.start + short.unwrap_or(self.at) as u64,
                });
            };
            self.at = good;
            let bytes = good - start;
            return Some(Found::Damaged { offset, bytes });
        }
        None
    }
}
