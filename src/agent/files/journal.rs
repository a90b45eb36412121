//! Files of the journal: a directory of append-only segments. [`crate::handler::journal`] determines their
//! content.
//!
//! Errors never end the agent, and it waits for a disk only for small appends and reads: a short-lived child
//! does the syncing, at most once a second. While the disk fails, the agent runs without a journal.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::lock::FileLock;
use super::sync;
use crate::count::Count;
use crate::handler::HandlerQueue;
use crate::handler::journal::{
    Damage, Journal, Read, Recovered, Recovery, SEGMENT_BYTES_MAX, SegmentId, Settings,
    TURN_BYTES_MAX,
};
use crate::os::error::{os_error, shown};
use crate::os::own_child::OwnChild;
use crate::time::{Duration, Instant};

/// Delay before writing is tried again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Minimum interval between two syncs.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Limits for the files with damaged bytes, of which the newest are kept: their number and total size.
const DAMAGED_FILES_MAX: usize = 16;
const DAMAGED_BYTES_MAX: u64 = 4 << 20;
/// Limit for full segments that wait to be synced; the system has long written older ones.
const UNSYNCED_MAX: usize = 4;
/// Additional bytes per turn for a run's records, beside the 64 KiB for all others.
const RUN_BYTES: usize = 4 << 10;

/// The journal's directory and the segment that is open for writing.
#[derive(Debug)]
pub struct JournalFiles {
    directory: PathBuf,
    lock: Option<FileLock>,
    current: Option<(SegmentId, File)>,
    /// Full segments and the directory itself that wait to be synced.
    unsynced: VecDeque<File>,
    is_dirty: bool,
    next_sync: Instant,
    child: Option<OwnChild>,
    /// Bytes that may still be written, and read, in this turn.
    write_budget: usize,
    read_budget: usize,
    retry_at: Option<Instant>,
}

impl JournalFiles {
    /// Opens the directory, or creates it, and reads its segments. Damaged bytes are logged and saved in
    /// separate files.
    ///
    /// # Errors
    /// If the directory does not exist and cannot be created, or another process has locked it. The text
    /// completes `Failed to setup journal: `.
    pub fn open(
        directory: &Path,
        settings: Settings,
    ) -> Result<(Self, Journal, Recovered), String> {
        let failed =
            |what: &str, why: &io::Error| format!("{what} {}: {}", shown(directory), os_error(why));
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &why));
            }
            _ => {}
        }
        let entries = fs::read_dir(directory).map_err(|why| failed("open", &why))?;
        let lock = FileLock::await_turn(&directory.join("journal"), &mut |why| {
            log::info!(target: "agent", "{why}");
        })?;
        check_writable(directory).map_err(|why| failed("write to", &why))?;
        let mut seed = [0; 8];
        getrandom::getrandom(&mut seed).map_err(|why| format!("no entropy: {why}"))?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut segments: Vec<SegmentId> = names.filter_map(|name| segment_of(&name)).collect();
        crate::ordered::sort_by(&mut segments, SegmentId::cmp);
        let files = JournalFiles {
            directory: directory.to_owned(),
            lock,
            current: None,
            unsynced: VecDeque::new(),
            is_dirty: false,
            next_sync: Instant::ORIGIN,
            child: None,
            write_budget: TURN_BYTES_MAX,
            read_budget: TURN_BYTES_MAX,
            retry_at: None,
        };
        let mut recovery = Recovery::default();
        for id in segments {
            files.recover(id, &mut recovery);
        }
        files.prune_damaged();
        let (journal, recovered) = recovery.finish(settings, u64::from_le_bytes(seed));
        Ok((files, journal, recovered))
    }

    /// Reads a whole segment; skips one that cannot be read.
    fn recover(&self, id: SegmentId, recovery: &mut Recovery) {
        let path = self.path_of(id);
        let read = open_segment(&path, false).and_then(|file| {
            let mut bytes = Vec::new();
            (&file).take(SEGMENT_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok((file, bytes))
        });
        let (file, bytes) = match read {
            Ok(read) => read,
            Err(why) => {
                let path = shown(&path);
                let why = os_error(&why);
                log::error!(target: "agent", "Cannot read journal {path}: {why}. Events in it are not handled");
                return;
            }
        };
        let damage = recovery.segment(id, &bytes);
        self.keep_damaged(id, &bytes, &damage);
        if let Some(end) = damage.torn_at {
            if let Err(why) = file.set_len(end) {
                let path = shown(&path);
                log::warn!(target: "agent", "Cannot truncate journal {path}: {}", os_error(&why));
            }
        }
    }

    fn keep_damaged(&self, id: SegmentId, bytes: &[u8], damage: &Damage) {
        for &(offset, count) in &damage.spans {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let span = bytes
                .get(start..start.saturating_add(count))
                .unwrap_or_default();
            let name = format!("damaged-{:016x}-{offset:08x}", id.number);
            let path = self.directory.join(name);
            log::warn!(
                target: "agent",
                "Journal {}: damaged at offset {offset}, {} kept in {}",
                shown(&self.path_of(id)),
                Count(count as u64, "byte"),
                shown(&path)
            );
            let written = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
                .and_then(|mut file| file.write_all(span));
            match written {
                Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                    let (path, why) = (shown(&path), os_error(&why));
                    log::warn!(target: "agent", "Cannot write {path}: {why}");
                }
                _ => {}
            }
        }
    }

    /// Removes the oldest files with damaged bytes beyond the limits.
    fn prune_damaged(&self) {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        let damaged = entries.filter_map(|entry| {
            let is_one = entry.file_name().to_str()?.starts_with("damaged-");
            let metadata = fs::symlink_metadata(entry.path()).ok()?;
            let time = (metadata.mtime(), metadata.mtime_nsec());
            is_one.then(|| (time, entry.path(), metadata.len()))
        });
        let mut damaged: Vec<_> = damaged.collect();
        crate::ordered::sort_by(&mut damaged, |a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        let mut bytes = 0;
        for (at, (_, path, len)) in damaged.iter().enumerate() {
            bytes += len;
            if at >= DAMAGED_FILES_MAX || bytes > DAMAGED_BYTES_MAX {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Resets the budgets at the beginning of a turn of the loop.
    pub fn begin_turn(&mut self) {
        self.write_budget = TURN_BYTES_MAX;
        self.read_budget = TURN_BYTES_MAX;
    }

    /// Returns whether all unwritten bytes fit into this turn's budget, which leaves room for a run's
    /// records.
    pub fn may_begin_run(&self, journal: &Journal) -> bool {
        journal.unwritten_bytes() <= self.write_budget
    }

    /// Writes the journal's pending bytes within the turn's budget, and removes unneeded segments.
    pub fn flush(&mut self, queue: &mut HandlerQueue, now: Instant) {
        self.write(queue, self.write_budget + RUN_BYTES, now);
        let Some(journal) = queue.journal_mut() else {
            return;
        };
        while let Some(id) = journal.poll_unlink() {
            self.remove(id);
        }
        queue.spill();
        queue.carry();
    }

    fn write(&mut self, queue: &mut HandlerQueue, mut budget: usize, now: Instant) {
        while let Some(journal) = queue.journal_mut() {
            let Some(write) = journal.poll_write() else {
                return;
            };
            if write.bytes.len() > budget {
                return;
            }
            budget -= write.bytes.len();
            self.write_budget = self.write_budget.saturating_sub(write.bytes.len());
            let result = self.append(write.segment, write.offset, write.bytes);
            self.is_dirty |= result.is_ok();
            let is_news = journal.handle_written(result.is_ok());
            match result {
                Ok(()) => {
                    self.retry_at = None;
                    if is_news {
                        let path = shown(&self.directory);
                        log::info!(target: "agent", "Journal {path} can be written again");
                        queue.record_unrecorded();
                    }
                }
                Err(why) => {
                    self.current = None;
                    self.retry_at = Some(now + RETRY);
                    if is_news {
                        self.tell_failure(&why);
                    }
                    return;
                }
            }
        }
    }

    fn tell_failure(&self, why: &io::Error) {
        log::error!(
            target: "agent",
            "Failed to write journal {}: {}. User events are not recorded until writing works again",
            shown(&self.directory),
            os_error(why)
        );
    }

    /// Appends to a segment. On failure the segment is as before.
    fn append(&mut self, id: SegmentId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.current.as_ref().is_none_or(|(open, _)| *open != id) {
            if let Some((_, full)) = self.current.take() {
                self.sync_later(full);
            }
            let file = self.create(id)?;
            self.current = Some((id, file));
            if let Ok(directory) = File::open(&self.directory) {
                self.sync_later(directory);
            }
        }
        let Some((_, file)) = &mut self.current else {
            return Ok(());
        };
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::other("the file was deleted"));
        }
        let written = file.write_all(bytes);
        if written.is_err() {
            let _ = file.set_len(offset);
            // Each attempt uses a new segment; without this, a full disk would collect empty ones.
            if offset == 0 {
                let _ = fs::remove_file(self.path_of(id));
            }
        }
        written
    }

    fn create(&mut self, id: SegmentId) -> io::Result<File> {
        if !self.directory.exists() {
            // The directory was removed, and the lock with it.
            DirBuilder::new().mode(0o700).create(&self.directory)?;
        }
        FileLock::hold(&mut self.lock).map_err(io::Error::other)?;
        open_segment(&self.path_of(id), true)
    }

    fn sync_later(&mut self, file: File) {
        self.unsynced.push_back(file);
        if self.unsynced.len() > UNSYNCED_MAX {
            self.unsynced.pop_front();
        }
    }

    fn remove(&mut self, id: SegmentId) {
        if self.current.as_ref().is_some_and(|(open, _)| *open == id) {
            self.current = None;
        }
        let _ = fs::remove_file(self.path_of(id));
    }

    /// Performs the read that the queue asks for, if any and if this turn's budget allows it. Returns whether
    /// it did.
    pub fn read_for(&mut self, queue: &mut HandlerQueue) -> bool {
        if self.read_budget < TURN_BYTES_MAX {
            return false;
        }
        let Some(read) = queue.poll_read() else {
            return false;
        };
        self.read_budget = 0;
        let bytes = self.read(read);
        if let Err(why) = &bytes {
            let path = self.path_of(read.segment);
            log::error!(target: "agent", "Cannot read journal {}: {}", shown(&path), os_error(why));
        }
        queue.handle_read(read, bytes.ok().as_deref());
        true
    }

    /// Returns whether this turn has read, so that more may be read in the next one.
    pub fn has_read(&self) -> bool {
        self.read_budget < TURN_BYTES_MAX
    }

    fn read(&self, read: Read) -> io::Result<Vec<u8>> {
        let file = open_segment(&self.path_of(read.segment), false)?;
        let mut bytes = vec![0; read.bytes];
        file.read_exact_at(&mut bytes, read.offset)?;
        Ok(bytes)
    }

    /// Returns when [`Self::handle_timeout`] is due. May change after [`Self::flush`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dirty = self.is_dirty || !self.unsynced.is_empty();
        let sync = (dirty && self.child.is_none()).then_some(self.next_sync);
        [self.retry_at, sync].into_iter().flatten().min()
    }

    /// Starts a sync, or writes again after a failure, when due.
    pub fn handle_timeout(&mut self, queue: &mut HandlerQueue, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if let Some(journal) = queue.journal_mut() {
                journal.try_again();
            }
            self.flush(queue, now);
        }
        if self.child.is_some() || self.next_sync > now {
            return;
        }
        let file = match self.unsynced.pop_front() {
            Some(file) => Some(file),
            None if self.is_dirty => {
                self.is_dirty = false;
                self.current
                    .as_ref()
                    .and_then(|(_, file)| file.try_clone().ok())
            }
            None => return,
        };
        self.next_sync = now + SYNC_INTERVAL;
        // If no child can be started, the system writes the file on its own schedule.
        self.child = file.and_then(|file| sync::spawn(&file).ok());
    }

    /// Handles SIGCHLD: the syncing child may have ended.
    pub fn handle_sigchld(&mut self) {
        let is_over = |child: &mut OwnChild| !matches!(child.try_wait(), Ok(None));
        if let Some(child) = &mut self.child {
            if is_over(child) {
                self.child = None;
            }
        }
    }

    /// Writes and syncs everything at the end of the process; removes all segments if no event is pending.
    pub fn finish(&mut self, queue: &mut HandlerQueue, now: Instant) {
        self.write(queue, usize::MAX, now);
        let Some(journal) = queue.journal_mut() else {
            return;
        };
        while let Some(id) = journal.poll_unlink() {
            self.remove(id);
        }
        if journal.is_empty() && !journal.is_failing() {
            self.current = None;
            for id in journal.segments() {
                self.remove(id);
            }
            return;
        }
        if let Some((_, file)) = &self.current {
            let _ = file.sync_all();
        }
    }

    fn path_of(&self, id: SegmentId) -> PathBuf {
        let name = format!("{:016x}-{:016x}.journal", id.number, id.salt);
        self.directory.join(name)
    }
}

/// Checks at the start that files can be created in the directory. A full disk is not an error, because it
/// may have room again later.
fn check_writable(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!("writable-{}", std::process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(_) => fs::remove_file(&path),
        Err(why) => match why.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Err(why),
            _ => Ok(()),
        },
    }
}

/// Parses the file name of a segment; `None` for other files.
fn segment_of(name: &str) -> Option<SegmentId> {
    let (number, salt) = name.strip_suffix(".journal")?.split_once('-')?;
    let hex = |digits: &str| {
        let is_whole = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_whole
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
    };
    Some(SegmentId {
        number: hex(number)?,
        salt: hex(salt)?,
    })
}

fn open_segment(path: &Path, is_new: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(is_new)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
