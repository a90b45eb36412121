//! In-memory files of a journal, for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;

const SEED: u64 = 100;

#[derive(Default)]
pub(in crate::handler) struct Disk {
    pub(in crate::handler) files: BTreeMap<SegmentId, Vec<u8>>,
    pub(in crate::handler) is_full: bool,
}

impl Disk {
    /// Performs all pending writes, unless the disk is full.
    pub(in crate::handler) fn flush(&mut self, journal: &mut Journal) {
        while let Some(write) = journal.poll_write() {
            assert!(write.bytes.len() <= TURN_BYTES_MAX);
            if !self.is_full {
                let file = self.files.entry(write.segment).or_default();
                assert_eq!(file.len() as u64, write.offset);
                file.extend_from_slice(write.bytes);
                assert!(file.len() as u64 <= SEGMENT_BYTES_MAX);
            }
            journal.handle_written(!self.is_full);
        }
        while let Some(id) = journal.poll_unlink() {
            self.files.remove(&id);
        }
    }

    /// Recovers the journal as an agent's next start would.
    pub(in crate::handler) fn recover(&self) -> (Journal, Recovered) {
        let mut recovery = Recovery::default();
        for (id, bytes) in &self.files {
            recovery.segment(*id, bytes);
        }
        recovery.finish(Settings::default(), SEED)
    }

    pub(in crate::handler) fn read(&self, read: Read) -> &[u8] {
        let start = usize::try_from(read.offset).unwrap();
        &self.files[&read.segment][start..start + read.bytes]
    }
}
