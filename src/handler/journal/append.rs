//! Assigns records to segments, batches their bytes, and keeps marks that a failed write has lost.

use super::record::{HandlerKey, Record};
use super::{
    Batch, Journal, LATER_BYTES, SEGMENT_BYTES_MAX, Segment, SegmentId, TURN_BYTES_MAX,
    UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX,
};
use crate::ordered::OrderedSet;

impl Journal {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let unwritten = self.unwritten_bytes();
        let later = LATER_BYTES * (self.live.len() as u64 + 1);
        let size = self.bytes() + bytes as u64 + later;
        size <= self.settings.size_limit_bytes && unwritten + bytes <= UNWRITTEN_BYTES_MAX
    }

    pub(super) fn declare(&mut self, key: HandlerKey) {
        if self.is_open && self.declared.contains(&key) {
            return;
        }
        if let Some(text) = self.texts.get(&key).cloned() {
            self.append(Record::Handler { key, text });
            self.declared.insert(key);
        }
    }

    /// Appends a record about an event; does nothing if the event itself is not recorded.
    pub(super) fn mark(&mut self, number: u64, record: Record) {
        if !self.live.contains(number) {
            return;
        }
        if self.is_failing && self.batches.is_empty() {
            return self.keep_unwritten(record);
        }
        self.append(record);
    }

    /// Queues a mark for writing later. Only marks that prevent needless repeated runs are kept.
    pub(super) fn keep_unwritten(&mut self, mark: Record) {
        let has_room = self.unwritten.len() < UNWRITTEN_MAX;
        match (self.unwritten.back_mut(), mark) {
            (Some(Record::Finished { last, .. }), Record::Finished { first, last: to })
                if *last + 1 == first =>
            {
                *last = to;
            }
            (_, Record::HandedOver(_) | Record::Begun { .. } | Record::Process { .. }) => {}
            (_, mark) if has_room => self.unwritten.push_back(mark),
            _ => {}
        }
    }

    pub(super) fn append(&mut self, record: Record) {
        let mut bytes = Vec::new();
        // Encoded once without an offset to learn its length: most records are small.
        record.encode(0, 0, &mut bytes);
        let (id, offset) = self.place(bytes.len() as u64);
        bytes.clear();
        record.encode(id.salt, offset, &mut bytes);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes.len() as u64;
        }
        let fits = |batch: &&mut Batch| {
            batch.segment == id && batch.bytes.len() + bytes.len() <= TURN_BYTES_MAX
        };
        let batch = match self.batches.back_mut().filter(fits) {
            Some(batch) => {
                batch.bytes.append(&mut bytes);
                batch
            }
            None => {
                self.batches.push_back(Batch {
                    segment: id,
                    offset,
                    bytes,
                    events: Vec::new(),
                    marks: Vec::new(),
                });
                let Some(batch) = self.batches.back_mut() else {
                    return;
                };
                batch
            }
        };
        match record {
            Record::Event(recorded) => batch.events.push(recorded.number),
            mark => batch.marks.push(mark),
        }
    }

    /// Returns the position for a record of `bytes` bytes; begins a segment if the last one has no room.
    pub(super) fn place(&mut self, bytes: u64) -> (SegmentId, u64) {
        if let Some(last) = self.segments.back().filter(|_| self.is_open) {
            if last.bytes + bytes <= SEGMENT_BYTES_MAX {
                return (last.id, last.bytes);
            }
        }
        let number = self.next_segment;
        self.next_segment += 1;
        let mut rng = crate::rng::Rng::new(self.salt_seed ^ number);
        let id = SegmentId {
            number,
            salt: rng.next_u64(),
        };
        self.segments.push_back(Segment {
            id,
            bytes: 0,
            first: self.next_number,
        });
        self.is_open = true;
        self.declared = OrderedSet::new();
        (id, 0)
    }

    pub(super) fn forget_finished_segments(&mut self) {
        let lowest = self.live.first();
        loop {
            let next = self.segments.get(1).map(|next| next.first);
            let is_needed = match next {
                Some(next) => lowest.is_some_and(|lowest| lowest < next),
                // The last segment stays as long as it is open.
                None => lowest.is_some() || self.is_open,
            };
            if is_needed {
                return;
            }
            let Some(segment) = self.segments.pop_front() else {
                return;
            };
            self.unlinks.push_back(segment.id);
        }
    }
}
