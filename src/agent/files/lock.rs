//! Locks on the agent's files, so that no two agents write the same file.
//!
//! The lock is on a separate file `FILE.lock`: replacing `FILE` by a rename would lose a lock on the file
//! itself. It is a record lock of fcntl(2), which ends with the process and is not inherited by handlers.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::atomic;
use crate::os::clock::Deadline;
use crate::os::error::{os_error, shown};
use crate::os::sys::{self, Locked};

/// A lock held by this process. It is released when this value is dropped, and also when any other descriptor
/// of the same lock file is closed, so nothing else may open that file.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    lock_path: PathBuf,
    /// The protected file.
    path: PathBuf,
}

/// Locks on the files that an agent writes.
#[derive(Debug, Default)]
pub struct Locks {
    /// Lock on the tags file.
    pub tags: Option<FileLock>,
    /// Lock on the keyring file.
    pub keyring: Option<FileLock>,
    /// Lock on the snapshot, until the snapshot takes it over.
    pub snapshot: Option<FileLock>,
}

/// How long a start waits for another process to release a lock; it may be about to end.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

impl FileLock {
    /// Acquires a lock like [`Self::acquire`], but waits a few seconds for another process to release it.
    /// `note` gets a line to print before the wait. Blocks, so it must be called before the agent's loop
    /// runs.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub fn await_turn(path: &Path, note: &mut dyn FnMut(&str)) -> Result<Option<Self>, String> {
        let deadline = Deadline::after(HOLDER_TIMEOUT);
        let mut is_noted = false;
        loop {
            match FileLock::acquire(path) {
                Err(why) if !deadline.is_over() => {
                    if !std::mem::replace(&mut is_noted, true) {
                        note(&format!("{why}. Waiting for it to end"));
                    }
                    thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Acquires a held lock again if its lock file was removed: otherwise another process could acquire a
    /// lock with the same name.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub fn hold(held: &mut Option<Self>) -> Result<(), String> {
        let lost = held.as_ref().filter(|lock| !lock.is_in_place());
        if let Some(lost) = lost {
            if let Some(lock) = FileLock::acquire(&lost.path)? {
                *held = Some(lock);
            }
        }
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let identity = |found: io::Result<fs::Metadata>| found.map(|f| (f.dev(), f.ino())).ok();
        identity(fs::symlink_metadata(&self.lock_path)) == identity(self.file.metadata())
    }

    /// Locks `path`, which need not exist. `None`: it needs no lock (a device or a pipe), or no lock file can
    /// be created or locked there, which is logged.
    ///
    /// # Errors
    /// If another process holds the lock; the text names the file and the process.
    pub fn acquire(path: &Path) -> Result<Option<Self>, String> {
        let path = resolved(path);
        if fs::metadata(&path).is_ok_and(|found| is_never_ours(found.file_type())) {
            return Ok(None);
        }
        let lock_path = atomic::beside(&path, ".lock");
        match lock(&lock_path) {
            Ok((file, Locked::Ours)) => Ok(Some(FileLock {
                file,
                lock_path,
                path,
            })),
            Ok((_, Locked::By(pid))) => {
                let path = shown(&path);
                // A process in another PID namespace or on another host has no process id here.
                let holder = match pid {
                    pid if pid > 0 => format!("process {pid}"),
                    _ => "a process of another host or namespace".to_owned(),
                };
                Err(format!(
                    "{path} is in use by {holder}, which has locked {}",
                    shown(&lock_path)
                ))
            }
            // Opening the file itself gives a better error message.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => {
                log::warn!(
                    target: "agent",
                    "Cannot lock {}: {}. A second agent that uses the same file will not be detected",
                    shown(&lock_path),
                    os_error(&why)
                );
                Ok(None)
            }
        }
    }
}

/// Returns whether the file is a device or a pipe.
fn is_never_ours(kind: FileType) -> bool {
    !(kind.is_file() || kind.is_dir() || kind.is_socket())
}

fn lock(path: &Path) -> io::Result<(File, Locked)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let locked = sys::lock_whole(file.as_fd())?;
    Ok((file, locked))
}

/// Resolves symbolic links, so that all paths to a file use the same lock. The file itself may be missing.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
    match (parent, path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_beside_the_file_that_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        fs::write(&real, "").unwrap();
        assert!(FileLock::acquire(&link).unwrap().is_some());
        assert!(dir.path().join("real.lock").exists());
        assert!(!dir.path().join("link.lock").exists());
        let missing = dir.path().join("missing");
        assert!(FileLock::acquire(&missing).unwrap().is_some());
        assert!(!missing.exists());
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        let mut lock = FileLock::acquire(&path).unwrap();
        assert!(lock.as_ref().unwrap().is_in_place());
        fs::remove_dir_all(&folder).unwrap();
        // Without the directory there is nothing to lock; the old lock is kept for another attempt.
        FileLock::hold(&mut lock).unwrap();
        assert!(!lock.as_ref().unwrap().is_in_place());
        fs::create_dir(&folder).unwrap();
        FileLock::hold(&mut lock).unwrap();
        assert!(lock.as_ref().unwrap().is_in_place());
        assert!(folder.join("file.lock").exists());
    }

    #[test]
    fn what_cannot_be_locked_is_not_refused() {
        assert!(FileLock::acquire(Path::new("/dev/null")).unwrap().is_none());
        assert!(FileLock::acquire(Path::new("/no/such")).unwrap().is_none());
        assert!(
            FileLock::acquire(Path::new("/proc/version"))
                .unwrap()
                .is_none()
        );
        // A link in place of the lock file is not followed.
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, dir.path().join("file.lock")).unwrap();
        assert!(
            FileLock::acquire(&dir.path().join("file"))
                .unwrap()
                .is_none()
        );
        assert!(!target.exists());
    }
}
