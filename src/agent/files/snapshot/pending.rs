//! Lines that wait to be written to the snapshot file.

use crate::serf::snapshot::SnapshotLine;

/// Complete lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// Start and type of the last line.
    last: Option<(usize, std::mem::Discriminant<SnapshotLine>)>,
    /// Latest event clock; its line is written after those of the events, each of which advances it.
    pub(super) event_clock: Option<SnapshotLine>,
    /// Whether there are notes of user events.
    pub(super) has_notes: bool,
}

impl Pending {
    /// Adds a line. A clock line replaces a directly preceding one of the same clock.
    pub(super) fn push(&mut self, line: &SnapshotLine) {
        match line {
            SnapshotLine::EventClock(_) => {
                self.event_clock = Some(line.clone());
                return;
            }
            SnapshotLine::Seen { .. } => self.has_notes = true,
            _ => self.write_event_clock(),
        }
        let kind = std::mem::discriminant(line);
        let is_clock = matches!(line, SnapshotLine::Clock(_) | SnapshotLine::QueryClock(_));
        match self.last {
            Some((start, last)) if is_clock && last == kind => self.bytes.truncate(start),
            _ => {}
        }
        self.last = Some((self.bytes.len(), kind));
        line.encode(&mut self.bytes);
    }

    fn write_event_clock(&mut self) {
        if let Some(line) = self.event_clock.take() {
            self.last = None;
            line.encode(&mut self.bytes);
        }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.write_event_clock();
        self.last = None;
        self.has_notes = false;
        std::mem::take(&mut self.bytes)
    }
}
