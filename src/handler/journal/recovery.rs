//! Reads all segments at the start of an agent and rebuilds the journal's state.

use std::collections::VecDeque;

use super::numbers::Numbers;
use super::record::{HandlerKey, ProcessId, Record, Recorded};
use super::scan::{Found, Scan};
use super::{Counters, Journal, Segment, SegmentId, Settings};
use crate::ordered::OrderedMap;
use crate::serf::{Event, LamportTime, UserEvent};

/// Limit for event numbers in records, so that arithmetic cannot overflow.
const NUMBER_MAX: u64 = 1 << 62;
/// Number of Lamport times whose events are remembered: as many as the core remembers.
const SEEN_TIMES: u64 = 512;
/// Limit for the remembered events; more than the core accepts.
const SEEN_EVENTS_MAX: usize = 16_384;
/// Limit for the events with kept details: begun, partly done, or left in the coalescer. The first two are
/// hardly ever more than a few, and the coalescer holds 4,096.
const DETAILS_MAX: usize = 16_384;
/// Limit for the kept texts of handlers.
const TEXTS_MAX: usize = 4096;

/// A run that had begun and whose end was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunRun {
    /// Key of the handler.
    pub handler: HandlerKey,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its process; `None` if the agent ended before recording it.
    pub process: Option<ProcessId>,
}

/// Recorded progress of a partly handled event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedProgress {
    /// Handlers that have finished with it.
    pub done: Vec<HandlerKey>,
    /// Run that had begun, if any.
    pub begun: Option<BegunRun>,
    /// Handlers that asked for a retry, with the number of their last attempt.
    pub postponed: Vec<(HandlerKey, u32)>,
}

/// State that an agent needs to resume, besides the journal itself.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Unfinished events with a recorded begin, end or retry, by number.
    pub progress: OrderedMap<u64, RecordedProgress>,
    /// Events that were in the coalescer.
    pub coalescing: Vec<Recorded>,
    /// Events of the last 512 Lamport times, finished or not.
    pub seen: Vec<UserEvent>,
    /// Number of pending events.
    pub waiting: usize,
    /// Number of byte ranges that hold no valid record.
    pub damaged: u64,
}

/// Bytes of a segment that are not valid records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Offset and length of each range; the torn end is the last.
    pub spans: Vec<(u64, usize)>,
    /// Offset at which the segment must be truncated, if its end is torn.
    pub torn_at: Option<u64>,
}

/// Reads segments, from the oldest to the newest.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Id and length of each segment, and the lowest number of an event in it.
    segments: Vec<(SegmentId, u64, Option<u64>)>,
    live: Numbers,
    highest: u64,
    coalescing: OrderedMap<u64, Recorded>,
    progress: OrderedMap<u64, RecordedProgress>,
    seen: OrderedMap<LamportTime, Vec<UserEvent>>,
    seen_count: usize,
    texts: OrderedMap<HandlerKey, Vec<u8>>,
    dropped: OrderedMap<HandlerKey, u64>,
    damaged: u64,
}

impl Recovery {
    /// Reads a segment, skips invalid bytes and returns where they are.
    pub fn segment(&mut self, id: SegmentId, bytes: &[u8]) -> Damage {
        let mut damage = Damage::default();
        let mut first = None;
        for found in Scan::new(id.salt, 0, bytes) {
            match found {
                Found::Record(record) => {
                    if let Record::Event(recorded) = &record {
                        first = first.or(Some(recorded.number));
                    }
                    self.follow(record);
                }
                Found::Damaged { offset, bytes } => damage.spans.push((offset, bytes)),
                Found::Torn { offset, bytes, .. } => {
                    damage.spans.push((offset, bytes));
                    damage.torn_at = Some(offset);
                }
            }
        }
        self.damaged += damage.spans.len() as u64;
        let size = damage.torn_at.unwrap_or(bytes.len() as u64);
        self.segments.push((id, size, first));
        damage
    }

    fn follow(&mut self, record: Record) {
        let number = match &record {
            Record::Event(recorded) => recorded.number,
            Record::HandedOver(number)
            | Record::Begun { number, .. }
            | Record::Process { number, .. }
            | Record::Done { number, .. }
            | Record::Postponed { number, .. } => *number,
            Record::Finished { last, .. } | Record::Dropped { last, .. } => *last,
            Record::Handler { .. } => 0,
        };
        if number > NUMBER_MAX {
            self.damaged += 1;
            return;
        }
        self.highest = self.highest.max(number);
        match record {
            Record::Event(recorded) => self.event(recorded),
            Record::HandedOver(number) => drop(self.coalescing.remove(&number)),
            Record::Begun {
                handler, attempt, ..
            } => {
                if let Some(progress) = self.progress_of(number) {
                    progress.begun = Some(BegunRun {
                        handler,
                        attempt,
                        process: None,
                    });
                }
            }
            Record::Process {
                handler, process, ..
            } => {
                let begun = self
                    .progress
                    .get_mut(&number)
                    .and_then(|p| p.begun.as_mut());
                if let Some(begun) = begun.filter(|begun| begun.handler == handler) {
                    begun.process = Some(process);
                }
            }
            Record::Done { handler, .. } => {
                if let Some(progress) = self.progress_of(number) {
                    progress.begun = progress.begun.filter(|begun| begun.handler != handler);
                    progress.done.push(handler);
                }
            }
            Record::Postponed {
                handler, attempt, ..
            } => {
                if let Some(progress) = self.progress_of(number) {
                    progress.begun = progress.begun.filter(|begun| begun.handler != handler);
                    progress.postponed.retain(|(other, _)| *other != handler);
                    progress.postponed.push((handler, attempt));
                }
            }
            Record::Finished { first, last } => self.finished(first, last),
            Record::Dropped { handler, last } => {
                if self.dropped.len() < TEXTS_MAX {
                    self.dropped.insert(handler, last);
                }
            }
            Record::Handler { key, text } => {
                if self.texts.len() < TEXTS_MAX {
                    self.texts.insert(key, text);
                }
            }
        }
    }

    fn event(&mut self, recorded: Recorded) {
        if !self.live.insert(recorded.number) {
            self.damaged += 1;
            return;
        }
        if let Event::User(event) = &recorded.event {
            self.remember(event);
        }
        if recorded.is_coalescing && self.coalescing.len() < DETAILS_MAX {
            self.coalescing.insert(recorded.number, recorded);
        }
    }

    fn progress_of(&mut self, number: u64) -> Option<&mut RecordedProgress> {
        let known = self.progress.get(&number).is_some();
        if !self.live.contains(number) || (!known && self.progress.len() >= DETAILS_MAX) {
            return None;
        }
        Some(
            self.progress
                .get_or_insert_with(number, RecordedProgress::default),
        )
    }

    fn finished(&mut self, first: u64, last: u64) {
        self.live.remove_range(first, last);
        if first == last {
            self.coalescing.remove(&first);
            self.progress.remove(&first);
            return;
        }
        let inside = |number: &u64| (first..=last).contains(number);
        let known = self.coalescing.keys().chain(self.progress.keys());
        for number in known.copied().filter(inside).collect::<Vec<_>>() {
            self.coalescing.remove(&number);
            self.progress.remove(&number);
        }
    }

    /// Remembers an event if its Lamport time is among the newest [`SEEN_TIMES`].
    fn remember(&mut self, event: &UserEvent) {
        let newest = self.seen.last_key_value().map_or(event.ltime, |(t, _)| *t);
        if event.ltime.0.saturating_add(SEEN_TIMES) <= newest.0 {
            return;
        }
        let at_time = self.seen.get_or_insert_with(event.ltime, Vec::new);
        at_time.push(event.clone());
        self.seen_count += 1;
        while let Some((oldest, _)) = self.seen.first_key_value() {
            let is_old = oldest.0.saturating_add(SEEN_TIMES) <= newest.0.max(event.ltime.0);
            if !is_old && self.seen_count <= SEEN_EVENTS_MAX {
                return;
            }
            let forgotten = self.seen.pop_first().map_or(0, |(_, events)| events.len());
            self.seen_count -= forgotten;
        }
    }

    /// Completes the recovery after all segments were read. `salt_seed` determines the salts of new segments
    /// and must be a secret.
    pub fn finish(self, settings: Settings, salt_seed: u64) -> (Journal, Recovered) {
        let next_number = self.highest + 1;
        let mut first = next_number;
        let mut segments = VecDeque::new();
        for (id, bytes, lowest) in self.segments.into_iter().rev() {
            first = lowest.unwrap_or(first).min(first);
            segments.push_front(Segment { id, bytes, first });
        }
        let last_segment = segments.back().map_or(0, |s: &Segment| s.id.number);
        let mut loaded = Numbers::default();
        let coalescing: Vec<Recorded> = self.coalescing.into_values().collect();
        for recorded in &coalescing {
            loaded.insert(recorded.number);
        }
        let recovered = Recovered {
            waiting: self.live.len() - coalescing.len(),
            progress: self.progress,
            coalescing,
            seen: self.seen.into_values().flatten().collect(),
            damaged: self.damaged,
        };
        let counters = Counters {
            damaged: self.damaged,
            ..Counters::default()
        };
        let mut journal = Journal::new(settings, salt_seed);
        journal.segments = segments;
        journal.live = self.live;
        journal.loaded = loaded;
        journal.next_number = next_number;
        journal.next_segment = last_segment.saturating_add(1);
        journal.texts = self.texts;
        journal.dropped = self.dropped;
        journal.counters = counters;
        journal.forget_finished_segments();
        (journal, recovered)
    }
}
