//! The journal: user events whose handlers have not run yet, so that they survive the agent's process, and
//! member events that are held back for a handler.
//!
//! Pure: it decides which bytes to append to which segment, which segments to remove and which bytes to read;
//! the agent does the file I/O.
//!
//! A journal is a sequence of append-only segments. Its records say that an event was accepted, that a
//! handler has begun or finished with it, and that all have finished. Event numbers increase. Pending events
//! are a set of numbers, so an event that is only on disk takes one bit of memory. The oldest segment is
//! removed when none of its events is pending. Later segments must not be removed before it, because they may
//! record that events of an older one are finished.

mod append;
mod members;
mod numbers;
mod record;
mod recovery;
mod scan;
mod stored;

pub use members::RECORDED_MEMBERS_MAX;
pub use record::{HandlerKey, ProcessId, Record, Recorded};
pub use recovery::{BegunRun, Damage, RecordedProgress, Recovered, Recovery};
pub use stored::{Read, Stored};

use std::collections::VecDeque;

use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::Event;
pub(super) use numbers::Numbers;
use record::{RECORD_BYTES_MAX, RECORDED_HANDLERS_MAX};
pub(super) use record::{TEXT_BYTES_MAX, kept_text};

/// Size limit of a segment.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 20;
/// Limit for the bytes that are written, or read, in one turn of the loop.
pub const TURN_BYTES_MAX: usize = 64 << 10;
/// Default limit for all segments together.
pub const SIZE_LIMIT_BYTES: u64 = 64 << 20;
/// Limit for bytes that wait to be written: the events of one state exchange, which arrive all at once.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// Room reserved per event for its later records: begun, process, done, finished.
const LATER_BYTES: u64 = 256;
/// Limit for marks that could not be written and are kept for later; consecutive ones merge.
const UNWRITTEN_MAX: usize = 4096;
/// Limit for the segments of a journal. Beyond it, old pending events that no handler is running are recorded
/// again, so that the oldest segment can be removed.
const CARRY_SEGMENTS: usize = 4;

/// A file of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// Increasing, never reused.
    pub number: u64,
    /// Secret that the checksums of its records include.
    pub salt: u64,
}

#[derive(Debug)]
struct Segment {
    id: SegmentId,
    bytes: u64,
    /// Lower bound for the numbers of its events.
    first: u64,
}

/// Settings by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Limit for all segments together; the default is [`SIZE_LIMIT_BYTES`].
    pub size_limit_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            size_limit_bytes: SIZE_LIMIT_BYTES,
        }
    }
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Byte ranges that were skipped because they hold no valid record.
    pub damaged: u64,
    /// Events that were not recorded: the size limit was reached or writing failed.
    pub unrecorded: u64,
}

/// Bytes to append to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// The segment; to be created if `offset` is 0.
    pub segment: SegmentId,
    /// Length of the segment before the write.
    pub offset: u64,
    /// The bytes, at most [`TURN_BYTES_MAX`].
    pub bytes: &'a [u8],
}

#[derive(Debug)]
struct Batch {
    segment: SegmentId,
    offset: u64,
    bytes: Vec<u8>,
    /// Numbers of the events in the batch.
    events: Vec<u64>,
    /// Marks that must be written again if the batch cannot be written.
    marks: Vec<Record>,
}

/// The journal of a running agent.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    salt_seed: u64,
    /// Oldest first. The last one is open for writing unless an earlier process wrote it.
    segments: VecDeque<Segment>,
    /// Whether the last segment was begun by this process and accepts more records.
    is_open: bool,
    /// Unfinished events.
    live: Numbers,
    /// Unfinished events that are in memory.
    loaded: Numbers,
    next_number: u64,
    next_segment: u64,
    batches: VecDeque<Batch>,
    unlinks: VecDeque<SegmentId>,
    /// Marks that a failed write has lost.
    unwritten: VecDeque<Record>,
    is_failing: bool,
    texts: OrderedMap<HandlerKey, Vec<u8>>,
    /// For each handler, the highest number of the events that were dropped for it.
    dropped: OrderedMap<HandlerKey, u64>,
    /// Handlers whose texts are in the last segment.
    declared: OrderedSet<HandlerKey>,
    counters: Counters,
}

impl Journal {
    /// Creates an empty journal; `salt_seed` must be a secret.
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
            unwritten: VecDeque::new(),
            is_failing: false,
            texts: OrderedMap::new(),
            dropped: OrderedMap::new(),
            declared: OrderedSet::new(),
            counters: Counters::default(),
        }
    }

    /// Records that an event was accepted for the handlers with these keys. Returns its number; `None` if the
    /// size limit is reached or writing fails.
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
        // Before the increment, because a new segment takes its first number from `next_number`.
        self.append(Record::Event(recorded));
        self.next_number += 1;
        Some(number)
    }

    /// Stores the text of a handler's key, for readers of the journal that do not have the handler. The text
    /// of a handler with a configured name can change. Returns whether it is new.
    pub fn describe(&mut self, key: HandlerKey, text: &[u8]) -> bool {
        let text = kept_text(text);
        let is_new = self.texts.get(&key).is_none_or(|known| *known != *text);
        if is_new {
            self.texts.insert(key, text.to_vec());
            self.declared.remove(&key);
        }
        is_new
    }

    /// Records the text of a handler that may have been edited while events in the journal wait for it.
    pub fn describe_again(&mut self, key: HandlerKey, text: &[u8]) {
        let is_edited = self.texts.get(&key).is_some() && self.describe(key, text);
        if is_edited && self.live.first().is_some() && !self.is_failing {
            self.declare(key);
        }
    }

    /// Returns the text of a handler, if the journal knows it.
    pub fn text(&self, key: HandlerKey) -> Option<&[u8]> {
        self.texts.get(&key).map(Vec::as_slice)
    }

    /// Records that an event has left the coalescer.
    pub fn handed_over(&mut self, number: u64) {
        self.mark(number, Record::HandedOver(number));
    }

    /// Records that a handler is about to run.
    pub fn begun(&mut self, number: u64, handler: HandlerKey, attempt: u32, at_micros: u64) {
        let record = Record::Begun {
            number,
            handler,
            attempt,
            at_micros,
        };
        self.mark(number, record);
    }

    /// Records the process of a run.
    pub fn process(&mut self, number: u64, handler: HandlerKey, process: ProcessId) {
        let record = Record::Process {
            number,
            handler,
            process,
        };
        self.mark(number, record);
    }

    /// Records that a run has ended and asked for a retry.
    pub fn postponed(&mut self, number: u64, handler: HandlerKey, attempt: u32) {
        let record = Record::Postponed {
            number,
            handler,
            attempt,
        };
        self.mark(number, record);
    }

    /// Records that one handler has finished with an event; others may not have.
    pub fn done(&mut self, number: u64, handler: HandlerKey) {
        self.mark(number, Record::Done { number, handler });
    }

    /// Records that all handlers have finished with an event.
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

    /// Drops all pending events.
    pub fn clear(&mut self) {
        if let (Some(first), Some(last)) = (self.live.first(), self.live.last()) {
            self.mark(first, Record::Finished { first, last });
        }
        self.live = Numbers::default();
        self.loaded = Numbers::default();
        self.forget_finished_segments();
    }

    /// Drops all pending events except these.
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

    /// Drops all events that are pending for a handler now.
    pub fn drop_handler(&mut self, handler: HandlerKey) {
        let (Some(first), Some(last)) = (self.live.first(), self.live.last()) else {
            return;
        };
        self.mark(first, Record::Dropped { handler, last });
        self.dropped.insert(handler, last);
    }

    /// Returns whether the operator has dropped the event for that handler.
    pub fn is_dropped(&self, handler: HandlerKey, number: u64) -> bool {
        self.dropped
            .get(&handler)
            .is_some_and(|last| number <= *last)
    }

    /// Returns the next bytes to write. The caller must report the result with [`Self::handle_written`].
    pub fn poll_write(&self) -> Option<Write<'_>> {
        let batch = self.batches.front()?;
        Some(Write {
            segment: batch.segment,
            offset: batch.offset,
            bytes: &batch.bytes,
        })
    }

    /// Takes the result of writing [`Self::poll_write`]'s bytes. On failure, the segment must be as it was
    /// before. Returns whether the state changed: the first failure, or the first success after one.
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
            // Later segments were never created; nor was this one if it is still empty.
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
            batch
                .marks
                .into_iter()
                .for_each(|mark| self.keep_unwritten(mark));
        }
        self.is_open = false;
        let is_news = !self.is_failing;
        self.is_failing = true;
        is_news
    }

    /// Resumes writing after a failure, in a new segment.
    pub fn try_again(&mut self) {
        if !self.is_failing || !self.batches.is_empty() {
            return;
        }
        // The first record tests whether writing works; if there is none, an empty mark is written.
        let mut unwritten = std::mem::take(&mut self.unwritten);
        if unwritten.is_empty() {
            unwritten.push_back(Record::Finished { first: 1, last: 0 });
        }
        for mark in unwritten {
            self.append(mark);
        }
    }

    /// Returns a segment that is no longer needed and must be removed.
    pub fn poll_unlink(&mut self) -> Option<SegmentId> {
        // The records that make it unneeded may still be unwritten.
        if !self.batches.is_empty() {
            return None;
        }
        self.unlinks.pop_front()
    }

    /// Returns whether bytes wait to be written.
    pub fn is_behind(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Returns the number of unwritten bytes. While they exceed one turn's limit, no handler may begin.
    pub fn unwritten_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// Returns whether the last write failed and none has succeeded since.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Returns whether an event is recorded and pending.
    pub fn contains(&self, number: u64) -> bool {
        self.live.contains(number)
    }

    /// Returns the number of pending events.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Returns whether no event is pending.
    pub fn is_empty(&self) -> bool {
        self.live.len() == 0
    }

    /// Returns the existing segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentId> {
        self.segments.iter().map(|segment| segment.id).collect()
    }

    /// Returns the size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Returns the counters for `info`.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// If the journal has too many segments, returns the number below which pending events must be recorded
    /// again to free the oldest segment.
    pub fn carried_below(&self) -> Option<u64> {
        let crowded = self.segments.len() > CARRY_SEGMENTS && !self.is_failing && !self.is_behind();
        self.segments.get(1).filter(|_| crowded).map(|s| s.first)
    }

    /// Returns how many events with lower numbers are pending.
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
