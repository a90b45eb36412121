//! Reads a segment from front to back and skips damaged parts.

use super::record::{Decoded, Record};

/// An item found in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A valid record.
    Record(Record),
    /// Bytes that are not a record, up to the next valid one.
    Damaged {
        /// Their offset in the segment.
        offset: u64,
        /// Their number.
        bytes: usize,
    },
    /// The segment ends inside a record or with invalid bytes.
    Torn {
        /// Offset of the end of the last valid record.
        offset: u64,
        /// Number of bytes behind it.
        bytes: usize,
        /// Offset at which an incomplete record may begin; the end of the bytes if there is none.
        resume: u64,
    },
}

/// Iterates over a segment, or over a part of one that begins with a record.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    salt: u64,
    start: u64,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Scans `bytes`, which begin at offset `start` in the segment with this salt.
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

    /// Returns the offset of the next valid record at or after `from`.
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
