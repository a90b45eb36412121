//! Lines on their way into the snapshot file.

use crate::serf::snapshot::SnapshotLine;

/// Bytes that wait to be written, lines only.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// Where the last line begins, and what it is.
    last: Option<(usize, std::mem::Discriminant<SnapshotLine>)>,
    /// The event clock, for a line behind those of the events: each of these moves it.
    pub(super) event_clock: Option<SnapshotLine>,
    /// There are notes of user events.
    pub(super) has_notes: bool,
}

impl Pending {
    /// Of clock lines in a row only the last one counts.
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
