//! The snapshot file (agent spec 4.10): lines are appended as they come, and occasionally a new file with the
//! whole state replaces it.
//!
//! Errors never end the agent, and it waits for a disk only for small appends: a short-lived child syncs new
//! files. While the disk fails, the state is kept in memory; once it works again, a whole new file is
//! written.

mod pending;
mod rewrite;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::lock::FileLock;
use super::{atomic, sync};
use crate::count::Count;
use crate::os::error::{os_error, shown};
use crate::os::own_child::OwnChild;
use crate::serf::snapshot::{Remark, Snapshot, SnapshotLine};
use crate::time::{Duration, Instant};
use pending::Pending;
use rewrite::Rewrite;

/// Delay before writing is tried again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Delay between the first unsynced note of a user event and the sync; a power failure repeats at most the
/// events of this time.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Limit for lines that wait until a new file is synced; a disk that takes longer has other problems.
const BEHIND_BYTES_MAX: usize = 4 << 20;
/// Limit for the remarks on one file that are logged individually.
const REMARKS_MAX: usize = 16;
/// Size limit of a file that is read; with compaction, files stay below a thousandth of it.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The snapshot file, and the state that it describes.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    file: File,
    lock: Option<FileLock>,
    /// Whether it is a regular file; a device or pipe is never replaced.
    is_regular: bool,
    size_bytes: u64,
    /// Size of the last complete file, 0 if none was written yet; a new one is written when the file has
    /// grown to more than twice this size.
    compacted_bytes: u64,
    state: Snapshot,
    rejoin: bool,
    left: bool,
    pending: Pending,
    rewrite: Option<Rewrite>,
    /// Syncing children whose results are ignored.
    children: Vec<OwnChild>,
    /// Whether recording has failed; it was logged.
    is_failing: bool,
    retry_at: Option<Instant>,
    /// When written notes must be synced.
    sync_at: Option<Instant>,
    no_compaction_until: Option<Instant>,
    /// Whether writing a new file has failed; it was logged.
    compaction_failed: bool,
}

impl SnapshotFile {
    /// Opens the file, or creates it, and reads it. Remarks are logged.
    ///
    /// # Errors
    /// If it cannot be opened or read; the text completes `failed to open snapshot: `.
    pub fn open(path: &Path, rejoin: bool) -> Result<(Self, Snapshot), String> {
        let failed =
            |what: &str, why: &io::Error| format!("{what} {}: {}", shown(path), os_error(why));
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|why| failed("open", &why))?;
        let metadata = file.metadata().map_err(|why| failed("stat", &why))?;
        let text = read_regular(&mut file, path)?;
        let (state, remarks) = Snapshot::decode(&text, rejoin);
        log_remarks(&remarks);
        let torn = remarks.iter().find_map(|remark| match remark {
            Remark::TornTail(bytes) => Some(*bytes),
            _ => None,
        });
        let size_bytes = (text.len() - torn.unwrap_or(0).min(text.len())) as u64;
        if torn.is_some() {
            file.set_len(size_bytes)
                .map_err(|why| failed("truncate", &why))?;
        }
        let file = SnapshotFile {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            file,
            lock: None,
            is_regular: metadata.is_file(),
            size_bytes,
            compacted_bytes: 0,
            state: state.clone(),
            rejoin,
            left: false,
            pending: Pending::default(),
            rewrite: None,
            children: Vec::new(),
            is_failing: false,
            retry_at: None,
            sync_at: None,
            no_compaction_until: None,
            compaction_failed: false,
        };
        Ok((file, state))
    }

    /// Takes over the lock on the file.
    pub fn keep(&mut self, lock: Option<FileLock>) {
        self.lock = lock;
    }

    /// Reads the file, if there is one, without changing it. Returns the remarks that [`Self::open`] would
    /// log.
    ///
    /// # Errors
    /// If it cannot be read, or the directory for it is missing; the text completes `failed to open snapshot:
    /// `.
    pub fn inspect(path: &Path, rejoin: bool) -> Result<Vec<String>, String> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return super::check_place(path).map(|()| Vec::new());
            }
            Err(why) => return Err(format!("open {}: {}", shown(path), os_error(&why))),
        };
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(format!("open {}: is a directory", shown(path)));
        }
        let text = read_regular(&mut file, path)?;
        let (_, remarks) = Snapshot::decode(&text, rejoin);
        let warnings = remarks.iter().filter(|remark| remark.is_warning());
        let warnings = warnings.map(|remark| format!("Warning: '{}': {remark}", shown(path)));
        Ok(warnings.take(REMARKS_MAX).collect())
    }

    /// Adds a line, which [`Self::flush`] writes, at the latest at the end of the turn.
    pub fn record(&mut self, line: &SnapshotLine) {
        if *line == SnapshotLine::Leave && self.rejoin {
            // The line is written, but does not affect this node's next start.
            self.left = true;
        } else {
            self.state.follow(line);
        }
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.behind.push(line);
            if rewrite.behind.bytes.len() > BEHIND_BYTES_MAX {
                self.abandon_rewrite();
            }
        }
        if !self.is_failing {
            self.pending.push(line);
        }
        if *line == SnapshotLine::Leave {
            self.append();
            let _ = self.file.sync_all();
        }
    }

    /// Appends pending lines, and begins a new file if it is time for one. Returns whether lines were
    /// written.
    pub fn flush(&mut self, now: Instant) -> bool {
        let before = self.size_bytes;
        let has_notes = self.pending.has_notes;
        self.append();
        let written = self.size_bytes > before;
        if written && has_notes && self.is_regular {
            self.sync_at.get_or_insert(now + SYNC_INTERVAL);
        }
        if self.is_failing && self.retry_at.is_none() {
            self.retry_at = Some(now + RETRY);
        }
        let limit = self.state.compaction_threshold_bytes();
        let limit = limit.max(self.compacted_bytes.saturating_mul(2));
        let may = self.no_compaction_until.is_none_or(|until| until <= now);
        if self.size_bytes > limit && may && self.is_regular && !self.is_failing {
            self.begin_rewrite(now);
        }
        written
    }

    /// Returns when [`Self::handle_timeout`] is due. May change after [`Self::flush`] and when a
    /// child ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Only one child syncs at a time.
        let sync = self.sync_at.filter(|_| self.children.is_empty());
        [self.retry_at, sync].into_iter().flatten().min()
    }

    /// Writes again after a failure, and starts the sync of notes, when due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.retry_at) {
            self.retry_at = None;
            if self.is_failing {
                self.begin_rewrite(now);
            }
        }
        if is_due(self.sync_at) && self.children.is_empty() {
            self.sync_at = None;
            // If no child can be started, the system writes the file on its own schedule.
            self.children.extend(sync::spawn(&self.file).ok());
        }
    }

    /// Handles SIGCHLD: one of the children may have ended.
    pub fn handle_sigchld(&mut self, now: Instant) {
        self.children
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let status = match &mut self.rewrite {
            Some(rewrite) => rewrite.child.try_wait(),
            None => return,
        };
        match status {
            Ok(None) => {}
            Ok(Some(status)) => match sync::outcome(status) {
                Ok(()) => self.finish_rewrite(now),
                Err(why) => self.rewrite_failed(&os_error(&why), now),
            },
            Err(why) => self.rewrite_failed(&os_error(&why), now),
        }
    }

    /// Writes and syncs everything at the end of the process.
    pub fn finish(&mut self) {
        self.append();
        self.abandon_rewrite();
        if !self.is_failing || !self.is_regular {
            let _ = self.file.sync_all();
            return;
        }
        let aside = atomic::beside(&self.path, ".compact");
        let held = FileLock::hold(&mut self.lock).map_err(io::Error::other);
        let written = held.and_then(|()| self.write_aside(&aside));
        let written = written.and_then(|(file, _)| {
            file.sync_all()?;
            fs::rename(&aside, &self.path)
        });
        match written {
            Ok(()) => atomic::sync_directory_of(&self.path),
            Err(why) => {
                let _ = fs::remove_file(&aside);
                let (path, why) = (shown(&self.path), os_error(&why));
                log::error!(target: "serf", "Snapshot {path} is not up to date: {why}");
            }
        }
    }

    /// Writes pending lines. On failure no partial line remains.
    fn append(&mut self) {
        let bytes = self.pending.take();
        if bytes.is_empty() || self.is_failing {
            return;
        }
        if self.is_regular && self.file.metadata().is_ok_and(|file| file.nlink() == 0) {
            return self.fail("the file was deleted");
        }
        match self.file.write_all(&bytes) {
            Ok(()) => self.size_bytes += bytes.len() as u64,
            Err(why) => {
                if self.is_regular {
                    let _ = self.file.set_len(self.size_bytes);
                }
                self.fail(&os_error(&why));
            }
        }
    }

    fn fail(&mut self, why: &str) {
        if !self.is_failing {
            let path = shown(&self.path);
            log::error!(
                target: "serf",
                "Failed to write snapshot {path}: {why}. \
                 Members and clocks are not recorded until writing works again"
            );
        }
        self.is_failing = true;
        self.pending = Pending::default();
    }

    /// Encodes the whole state as a file.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.state.lines().for_each(|line| line.encode(&mut bytes));
        if self.left {
            SnapshotLine::Leave.encode(&mut bytes);
        }
        bytes
    }

    fn works_again(&mut self) {
        if self.is_failing {
            let path = shown(&self.path);
            log::info!(target: "serf", "Snapshot {path} can be written again");
        }
        self.is_failing = false;
        self.retry_at = None;
    }
}

/// Reads a regular file; returns nothing for other kinds.
fn read_regular(file: &mut File, path: &Path) -> Result<Vec<u8>, String> {
    let failed = |what: &str, why: &io::Error| format!("{what} {}: {}", shown(path), os_error(why));
    let metadata = file.metadata().map_err(|why| failed("stat", &why))?;
    let mut text = Vec::new();
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{} is larger than {FILE_BYTES_MAX} bytes",
            shown(path)
        ));
    }
    if metadata.is_file() {
        file.read_to_end(&mut text)
            .map_err(|why| failed("read", &why))?;
    }
    Ok(text)
}

fn log_remarks(remarks: &[Remark]) {
    for remark in remarks.iter().take(REMARKS_MAX) {
        if remark.is_warning() {
            log::warn!(target: "serf", "{remark}");
        } else {
            log::info!(target: "serf", "{remark}");
        }
    }
    let more = remarks.len().saturating_sub(REMARKS_MAX);
    if more > 0 {
        log::warn!(target: "serf", "Skipped {} of the snapshot", Count(more as u64, "more line"));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
