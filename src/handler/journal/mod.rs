//! The journal: user events that handlers are still to be run for, so that they outlive the agent, and
//! members' events that are held back for a handler.
//!
//! Pure: it decides what bytes are appended to which segment, which segment is not needed any more and
//! which bytes are to be read; the agent has the files.
//!
//! A journal is a row of segments that are only ever appended to. Its records say that an event was
//! taken in, that a handler has begun with it or is done with it, and that all are. Events have rising
//! numbers. What waits is a set of numbers, so that an event on the disk takes a bit of memory; the
//! oldest segment goes when no number in it waits. A later one cannot go before, because what it says
//! to be finished may be in an older one.

mod append;
mod members;
mod numbers;
mod record;
mod recovery;
mod scan;
mod stored;

pub use members::RECORDED_MEMBERS_MAX;
pub use record::{HandlerKey, ProcessId, Record, Recorded};
pub use recovery::{BegunRun, Damage, Progress, Recovered, Recovery};
pub use stored::{Read, Stored};

use std::collections::VecDeque;

use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::Event;
pub(super) use numbers::Numbers;
use record::{RECORD_BYTES_MAX, RECORDED_HANDLERS_MAX, TEXT_BYTES_MAX};

/// Bytes of a segment, at most.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 20;
/// Bytes that are written, or read, in one turn of the loop, at most.
pub const TURN_BYTES_MAX: usize = 64 << 10;
/// Bytes of all segments unless the operator says otherwise.
pub const SIZE_LIMIT_BYTES: u64 = 64 << 20;
/// Bytes that wait to be written, at most: the events of one state exchange, which come all at once.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// What is kept free for each event's later records: begun, process, done, finished.
const LATER_BYTES: u64 = 256;
/// Marks that could not be written and are to be written later. They follow each other and merge.
const OWED_MAX: usize = 4096;
/// Segments of a journal in which an old event that nobody runs is written anew, so that those before
/// it can go.
const CARRY_SEGMENTS: usize = 4;

/// A file of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// Rising, never used twice.
    pub number: u64,
    /// A secret that the checksums of its records cover.
    pub salt: u64,
}

#[derive(Debug)]
struct Segment {
    id: SegmentId,
    bytes: u64,
    /// No event in it has a lower number.
    first: u64,
}

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of all segments, at most; see [`SIZE_LIMIT_BYTES`].
    pub size_limit_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            size_limit_bytes: SIZE_LIMIT_BYTES,
        }
    }
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Stretches of bytes that were passed over because they were no records.
    pub damaged: u64,
    /// Events that were not recorded: no room within the limit, or a disk that fails.
    pub unrecorded: u64,
}

/// Bytes to be appended to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// Which; created if its length is 0.
    pub segment: SegmentId,
    /// The length of the segment without them.
    pub offset: u64,
    /// The bytes, [`TURN_BYTES_MAX`] at most.
    pub bytes: &'a [u8],
}

#[derive(Debug)]
struct Batch {
    segment: SegmentId,
    offset: u64,
    bytes: Vec<u8>,
    /// Numbers of the events in it.
    events: Vec<u64>,
    /// What has to be said again if it cannot be written.
    marks: Vec<Record>,
}

/// The journal of a running agent.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    salt_seed: u64,
    /// Oldest first; the last one is written to unless it is from an earlier life.
    segments: VecDeque<Segment>,
    /// The last segment is one of this life and takes more.
    is_open: bool,
    /// Events that are not finished.
    live: Numbers,
    /// Those of them that are in memory.
    loaded: Numbers,
    next_number: u64,
    next_segment: u64,
    batches: VecDeque<Batch>,
    unlinks: VecDeque<SegmentId>,
    /// Marks that a failed write has lost.
    owed: VecDeque<Record>,
    is_failing: bool,
    texts: OrderedMap<HandlerKey, Vec<u8>>,
    /// Up to which number events were given up for a handler.
    dropped: OrderedMap<HandlerKey, u64>,
    /// Handlers whose texts are in the last segment.
    declared: OrderedSet<HandlerKey>,
    counters: Counters,
}

impl Journal {
    /// An empty journal; `salt_seed` has to be a secret.
    pub fn new(settings: Settings, salt_seed: u64) -> Self {
        Journal {
            settings,
            salt_seed,
            segments: VecDeque::new(),
            is_open: false,
            live: Numbers::default(),
            loaded: Numbers::default(),
            next_number: 1,
            next_segment: 1,
            batches: VecDeque::new(),
            unlinks: VecDeque::new(),
            owed: VecDeque::new(),
            is_failing: false,
            texts: OrderedMap::new(),
            dropped: OrderedMap::new(),
            declared: OrderedSet::new(),
            counters: Counters::default(),
        }
    }

    /// Records that an event was taken in, for handlers with these keys and texts. Returns its number;
    /// `None` if there is no room for it or the disk fails.
    pub fn take(
        &mut self,
        event: &Event,
        taken_micros: u64,
        is_coalescing: bool,
        mut handlers: Vec<HandlerKey>,
    ) -> Option<u64> {
        handlers.truncate(RECORDED_HANDLERS_MAX);
        let recorded = Recorded {
            number: self.next_number,
            taken_micros,
            event: event.clone(),
            is_coalescing,
            handlers,
        };
        let bytes = recorded.record_bytes();
        if self.is_failing || bytes > RECORD_BYTES_MAX || !self.has_room(bytes) {
            self.counters.unrecorded += 1;
            return None;
        }
        for key in recorded.handlers.clone() {
            self.declare(key);
        }
        let number = recorded.number;
        if !self.live.insert(number) {
            self.counters.unrecorded += 1;
            return None;
        }
        self.loaded.insert(number);
        // A segment that begins with it takes its number from here.
        self.append(Record::Event(recorded));
        self.next_number += 1;
        Some(number)
    }

    /// What a handler's key stands for, for whoever reads the journal without that handler.
    pub fn describe(&mut self, key: HandlerKey, text: &[u8]) {
        if self.texts.get(&key).is_none() {
            let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
            self.texts.insert(key, text.to_vec());
        }
    }

    /// The text of a handler, if the journal knows it.
    pub fn text(&self, key: HandlerKey) -> Option<&[u8]> {
        self.texts.get(&key).map(Vec::as_slice)
    }

    /// An event has left the coalescer.
    pub fn handed_over(&mut self, number: u64) {
        self.mark(number, Record::HandedOver(number));
    }

    /// A handler is about to be run.
    pub fn begun(&mut self, number: u64, handler: HandlerKey, attempt: u32, at_micros: u64) {
        let record = Record::Begun {
            number,
            handler,
            attempt,
            at_micros,
        };
        self.mark(number, record);
    }

    /// It runs as this process.
    pub fn process(&mut self, number: u64, handler: HandlerKey, process: ProcessId) {
        let record = Record::Process {
            number,
            handler,
            process,
        };
        self.mark(number, record);
    }

    /// A run has ended and asks to be repeated.
    pub fn postponed(&mut self, number: u64, handler: HandlerKey, attempt: u32) {
        let record = Record::Postponed {
            number,
            handler,
            attempt,
        };
        self.mark(number, record);
    }

    /// A handler is done with an event; others are not.
    pub fn done(&mut self, number: u64, handler: HandlerKey) {
        self.mark(number, Record::Done { number, handler });
    }

    /// Nothing more is to be done for an event.
    pub fn finished(&mut self, number: u64) {
        let last = number;
        self.mark(
            number,
            Record::Finished {
                first: number,
                last,
            },
        );
        self.live.remove(number);
        self.loaded.remove(number);
        self.forget_finished_segments();
    }

    /// All that waits is given up.
    pub fn clear(&mut self) {
        if let (Some(first), Some(last)) = (self.live.first(), self.live.last()) {
            self.mark(first, Record::Finished { first, last });
        }
        self.live = Numbers::default();
        self.loaded = Numbers::default();
        self.forget_finished_segments();
    }

    /// All that waits is given up, except for these.
    pub fn clear_except(&mut self, kept: &[u64]) {
        let (Some(first), Some(last)) = (self.live.first(), self.live.last()) else {
            return;
        };
        let gone = (first..=last).filter(|n| self.live.contains(*n) && !kept.contains(n));
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in gone {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        for (first, last) in ranges {
            self.mark(first, Record::Finished { first, last });
            self.live.remove_range(first, last);
            self.loaded.remove_range(first, last);
        }
        self.forget_finished_segments();
    }

    /// What waits for a handler until now is given up.
    pub fn drop_handler(&mut self, handler: HandlerKey) {
        let (Some(first), Some(last)) = (self.live.first(), self.live.last()) else {
            return;
        };
        self.mark(first, Record::Dropped { handler, last });
        self.dropped.insert(handler, last);
    }

    /// Whether the operator has given up the event for that handler.
    pub fn is_dropped(&self, handler: HandlerKey, number: u64) -> bool {
        self.dropped
            .get(&handler)
            .is_some_and(|last| number <= *last)
    }

    /// The next bytes to write. Whoever takes them owes a [`Self::handle_written`].
    pub fn poll_write(&self) -> Option<Write<'_>> {
        let batch = self.batches.front()?;
        Some(Write {
            segment: batch.segment,
            offset: batch.offset,
            bytes: &batch.bytes,
        })
    }

    /// The bytes of [`Self::poll_write`] are in the segment, or the segment is as it was. Tells whether
    /// that is news: the first failure, or the first success after one.
    pub fn handle_written(&mut self, worked: bool) -> bool {
        if worked {
            self.batches.pop_front();
            return std::mem::take(&mut self.is_failing);
        }
        if let Some(Batch {
            segment, offset, ..
        }) = self.batches.front()
        {
            let (number, offset) = (segment.number, *offset);
            // Those behind it were never begun, nor was it itself if nothing is in it.
            self.segments
                .retain(|s| s.id.number < number || (s.id.number == number && offset > 0));
            if let Some(last) = self.segments.back_mut().filter(|s| s.id.number == number) {
                last.bytes = offset;
            }
        }
        for batch in std::mem::take(&mut self.batches) {
            for number in batch.events {
                self.live.remove(number);
                self.loaded.remove(number);
                self.counters.unrecorded += 1;
            }
            batch.marks.into_iter().for_each(|mark| self.owe(mark));
        }
        self.is_open = false;
        let is_news = !self.is_failing;
        self.is_failing = true;
        is_news
    }

    /// Tries again after a failure, in a new segment.
    pub fn try_again(&mut self) {
        if !self.is_failing || !self.batches.is_empty() {
            return;
        }
        // The first record that there is shows whether it works; without one it is a mark of nothing.
        let mut owed = std::mem::take(&mut self.owed);
        if owed.is_empty() {
            owed.push_back(Record::Finished { first: 1, last: 0 });
        }
        for mark in owed {
            self.append(mark);
        }
    }

    /// A segment that is not needed any more and has to be removed.
    pub fn poll_unlink(&mut self) -> Option<SegmentId> {
        // What is still to be written may be what makes it so.
        if !self.batches.is_empty() {
            return None;
        }
        self.unlinks.pop_front()
    }

    /// Whether there is something to write.
    pub fn is_behind(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Bytes to write. While they are more than what is written in a turn no handler may begin.
    pub fn unwritten_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// Whether writing has failed and was not taken up again.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Whether an event is recorded and waits.
    pub fn contains(&self, number: u64) -> bool {
        self.live.contains(number)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.live.len() == 0
    }

    /// The files that there are, oldest first.
    pub fn segments(&self) -> Vec<SegmentId> {
        self.segments.iter().map(|segment| segment.id).collect()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Figures for `info`.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Numbers below it are in the oldest segment, and it is time that they leave it.
    pub fn carried_below(&self) -> Option<u64> {
        let crowded = self.segments.len() > CARRY_SEGMENTS && !self.is_failing && !self.is_behind();
        self.segments.get(1).filter(|_| crowded).map(|s| s.first)
    }

    /// How many events in the oldest segment wait.
    pub fn waiting_below(&self, number: u64) -> usize {
        let below = self.live.within(0, number);
        below.filter(|&n| self.live.contains(n)).count()
    }
}

#[cfg(test)]
pub(super) mod disk;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
