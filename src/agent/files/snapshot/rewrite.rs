//! Writes a new snapshot file beside the old one and puts it in place once it is synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pending::Pending;
use super::{RETRY, SnapshotFile};
use crate::agent::files::lock::FileLock;
use crate::agent::files::{atomic, sync};
use crate::os::error::{os_error, shown};
use crate::os::own_child::OwnChild;
use crate::time::{Duration, Instant};

/// Delay before a failed compaction is tried again (agent spec 4.10).
pub(super) const COMPACTION_RETRY: Duration = Duration::from_secs(30);

/// A new file that is being synced.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) file: File,
    pub(super) aside: PathBuf,
    pub(super) size_bytes: u64,
    /// Lines added in the meantime.
    pub(super) behind: Pending,
    pub(super) child: OwnChild,
}

impl SnapshotFile {
    pub(super) fn begin_rewrite(&mut self, now: Instant) {
        if self.rewrite.is_some() {
            return;
        }
        if !self.is_regular {
            return self.write_in_place(now);
        }
        if let Err(why) = FileLock::hold(&mut self.lock) {
            return self.rewrite_failed(&why, now);
        }
        let aside = atomic::beside(&self.path, ".compact");
        match self.write_aside(&aside) {
            Ok((file, size_bytes)) => match sync::spawn(&file) {
                Ok(child) => {
                    self.rewrite = Some(Rewrite {
                        file,
                        aside,
                        size_bytes,
                        behind: Pending::default(),
                        child,
                    });
                }
                // Without a child, this process must wait for the disk itself.
                Err(_) => match file.sync_all() {
                    Ok(()) => self.place(file, &aside, size_bytes, Vec::new(), now),
                    Err(why) => self.aside_failed(&aside, &why, now),
                },
            },
            Err(why) => {
                let deleted = self.file.metadata().is_ok_and(|file| file.nlink() == 0);
                if self.is_failing && !deleted && atomic::is_directory_at_fault(&why) {
                    self.write_in_place(now);
                } else {
                    self.aside_failed(&aside, &why, now);
                }
            }
        }
    }

    /// Writes the whole state to a temporary file; returns the file and its size.
    pub(super) fn write_aside(&self, aside: &Path) -> io::Result<(File, u64)> {
        let whole = self.whole();
        let like = self.file.metadata()?;
        let file = atomic::write_aside(aside, &whole, Some(&like))?;
        Ok((file, whole.len() as u64))
    }

    fn aside_failed(&mut self, aside: &Path, why: &io::Error, now: Instant) {
        let _ = fs::remove_file(aside);
        self.rewrite_failed(&os_error(why), now);
    }

    pub(super) fn abandon_rewrite(&mut self) {
        if let Some(mut rewrite) = self.rewrite.take() {
            let _ = fs::remove_file(&rewrite.aside);
            let _ = rewrite.child.kill();
            self.children.push(rewrite.child);
        }
    }

    /// Handles the end of the sync: puts the new file in place.
    pub(super) fn finish_rewrite(&mut self, now: Instant) {
        let Some(mut rewrite) = self.rewrite.take() else {
            return;
        };
        let behind = rewrite.behind.take();
        self.place(
            rewrite.file,
            &rewrite.aside,
            rewrite.size_bytes,
            behind,
            now,
        );
    }

    /// Appends the lines added in the meantime to a new file and puts it in place.
    fn place(&mut self, mut file: File, aside: &Path, size: u64, behind: Vec<u8>, now: Instant) {
        let placed = file
            .write_all(&behind)
            .and_then(|()| fs::rename(aside, &self.path));
        if let Err(why) = placed {
            return self.aside_failed(aside, &why, now);
        }
        self.file = file;
        self.compacted_bytes = size;
        self.size_bytes = size + behind.len() as u64;
        // The new file contains everything that was pending.
        self.pending = Pending::default();
        let directory = self.path.parent().and_then(|path| File::open(path).ok());
        let sync = directory.and_then(|directory| sync::spawn(&directory).ok());
        self.children.extend(sync);
        self.compaction_failed = false;
        self.works_again();
    }

    pub(super) fn rewrite_failed(&mut self, why: &str, now: Instant) {
        if let Some(rewrite) = self.rewrite.take() {
            let _ = fs::remove_file(&rewrite.aside);
        }
        if self.is_failing {
            self.retry_at = Some(now + RETRY);
            return;
        }
        if !self.compaction_failed {
            let path = shown(&self.path);
            log::warn!(target: "serf", "Failed to compact snapshot {path}: {why}");
        }
        self.compaction_failed = true;
        self.no_compaction_until = Some(now + COMPACTION_RETRY);
    }

    /// Writes the whole state into the existing file, if it cannot be replaced.
    fn write_in_place(&mut self, now: Instant) {
        let whole = self.whole();
        let emptied = match self.is_regular {
            true => self.file.set_len(0),
            false => Ok(()),
        };
        match emptied.and_then(|()| self.file.write_all(&whole)) {
            Ok(()) => {
                self.size_bytes = whole.len() as u64;
                self.works_again();
            }
            Err(_) => self.retry_at = Some(now + RETRY),
        }
    }
}
