//! Reads back pending events that are only on disk.

use super::record::{Record, Recorded};
use super::scan::{Found, Scan};
use super::{Journal, SegmentId, TURN_BYTES_MAX};

/// A range of events that are only on disk: the pending numbers in it that are not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The lowest number.
    pub first: u64,
    /// The highest number.
    pub last: u64,
    /// Where to resume reading: number of the segment, and offset in it.
    at: Option<(u64, u64)>,
    /// Highest number read so far.
    read: u64,
}

/// Bytes to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Segment to read.
    pub segment: SegmentId,
    /// Offset in the segment.
    pub offset: u64,
    /// Number of bytes, at most [`TURN_BYTES_MAX`].
    pub bytes: usize,
}

impl Stored {
    /// Covers events with numbers from `first` to `last`.
    pub fn new(first: u64, last: u64) -> Self {
        Stored {
            first,
            last,
            at: None,
            read: 0,
        }
    }

    /// Extends the range to cover `others` and everything between, as far as it is pending and not loaded.
    pub fn add_all(&mut self, others: &Stored) {
        if others.first <= self.read.max(self.first) {
            self.first = self.first.min(others.first);
            self.at = None;
        }
        self.last = self.last.max(others.last);
    }
}

impl Journal {
    /// Returns the range of all pending events that are only on disk.
    pub fn stored(&self) -> Option<Stored> {
        let (first, last) = (self.live.first()?, self.live.last()?);
        let more = self.live.len() > self.loaded.len();
        more.then(|| Stored::new(first, last))
    }

    /// Returns the number of events that are only on disk.
    pub fn stored_len(&self) -> usize {
        self.live.len() - self.loaded.len()
    }

    /// Marks a recorded event as no longer in memory.
    pub fn unload(&mut self, number: u64) {
        debug_assert!(self.live.contains(number));
        self.loaded.remove(number);
    }

    /// Returns what to read next for this range; `None`: nothing is left to read.
    pub fn next_read(&self, stored: &Stored) -> Option<Read> {
        let mut segments = self.segments.iter().enumerate();
        let (segment, offset) = match stored.at {
            Some((number, offset)) => {
                let here = segments.find(|(_, s)| s.id.number >= number)?;
                let offset = if here.1.id.number == number {
                    offset
                } else {
                    0
                };
                (here, offset)
            }
            None => {
                let next_first = |at: usize| self.segments.get(at + 1).map(|s| s.first);
                let has = |at| next_first(at).is_none_or(|first| first > stored.first);
                (segments.find(|&(at, _)| has(at))?, 0)
            }
        };
        let (at, segment) = segment;
        let left = segment.bytes.saturating_sub(offset);
        if left > 0 {
            return Some(Read {
                segment: segment.id,
                offset,
                bytes: usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(TURN_BYTES_MAX),
            });
        }
        let next = self.segments.get(at + 1)?;
        if next.first > stored.last || next.bytes == 0 {
            return None;
        }
        Some(Read {
            segment: next.id,
            offset: 0,
            bytes: usize::try_from(next.bytes)
                .unwrap_or(usize::MAX)
                .min(TURN_BYTES_MAX),
        })
    }

    /// Takes the bytes of a read, or `None` if they cannot be read. Returns the events of the range in them,
    /// now marked as loaded.
    pub fn handle_read(
        &mut self,
        stored: &mut Stored,
        read: Read,
        bytes: Option<&[u8]>,
    ) -> Vec<Recorded> {
        let segment = read.segment.number;
        let mut events = Vec::new();
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == read.bytes) else {
            self.lose(segment);
            stored.at = Some((segment + 1, 0));
            return events;
        };
        let mut next = read.offset + bytes.len() as u64;
        let size = self.segments.iter().find(|s| s.id == read.segment);
        let is_end = size.is_none_or(|segment| segment.bytes <= next);
        for found in Scan::new(read.segment.salt, read.offset, bytes) {
            match found {
                Found::Record(Record::Event(recorded)) => {
                    let number = recorded.number;
                    let wanted = (stored.first..=stored.last).contains(&number);
                    if wanted && self.live.contains(number) && !self.loaded.contains(number) {
                        self.loaded.insert(number);
                        stored.read = stored.read.max(number);
                        events.push(recorded);
                    }
                }
                Found::Record(_) => {}
                Found::Damaged { .. } => self.counters.damaged += 1,
                Found::Torn { resume, .. } if !is_end => next = resume,
                Found::Torn { .. } => self.counters.damaged += 1,
            }
        }
        stored.at = Some((segment, next));
        events
    }

    /// Gives up all events that are only on disk in a segment that cannot be read.
    fn lose(&mut self, number: u64) {
        let Some(at) = self.segments.iter().position(|s| s.id.number == number) else {
            return;
        };
        let first = self.segments.get(at).map_or(0, |segment| segment.first);
        let end = self
            .segments
            .get(at + 1)
            .map_or(self.next_number, |s| s.first);
        for number in self.live.within(first, end) {
            if self.live.contains(number) && !self.loaded.contains(number) {
                self.live.remove(number);
                self.counters.damaged += 1;
            }
        }
        self.forget_finished_segments();
    }

    /// Gives up the events of a completely read range that were not found; returns how many.
    pub fn give_up_unfound(&mut self, stored: &Stored) -> usize {
        let lost = |number: &u64| self.live.contains(*number) && !self.loaded.contains(*number);
        let last = stored.last.min(self.live.last().unwrap_or(0));
        let lost: Vec<u64> = (stored.first..=last).filter(lost).collect();
        for number in &lost {
            self.live.remove(*number);
        }
        self.forget_finished_segments();
        lost.len()
    }
}
