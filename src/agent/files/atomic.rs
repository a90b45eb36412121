//! Replaces a file so that at any time it has either the old or the new content.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Permissions of a new file: keys are secret, and tags may be.
const MODE_NEW: u32 = 0o600;

/// A replacement of a file's content, through a temporary file beside it. Keeps mode and owner of an existing
/// file. A symbolic link is kept, and its target is replaced.
///
/// If no file can be created beside it, or the file is a mount point, it is written in place; if that fails,
/// the old content is restored.
///
/// Nothing here waits for a disk: the caller syncs the files that [`Self::unsynced`] returns.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Path and file of the temporary file, and the content to write in place if it cannot be renamed.
    Aside(PathBuf, File, Option<Vec<u8>>),
    /// The file itself, with the new content, and its old content to restore on failure.
    InPlace(File, Vec<u8>),
    /// The directory of the renamed file, which must be synced.
    Renamed(File),
    Done,
}

impl Replacement {
    /// Writes the content to the temporary file; a file that can be replaced is not changed yet.
    ///
    /// # Errors
    /// If neither the temporary file nor the file itself can be written.
    pub fn begin(path: &Path, content: &[u8]) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = fs::metadata(&path).ok();
        let in_place = existing.is_some().then(|| content.to_vec());
        let stage = if existing.as_ref().is_some_and(|file| !file.is_file()) {
            Stage::in_place(&path, content)?
        } else {
            let aside = beside(&path, ".new");
            match write_aside(&aside, content, existing.as_ref()) {
                Ok(file) => Stage::Aside(aside, file, in_place),
                Err(why) => Stage::give_up(&path, &aside, in_place.as_deref(), why)?,
            }
        };
        Ok(Replacement { path, stage })
    }

    /// Returns the file that must be synced next; `None` when all is done.
    pub fn unsynced(&self) -> Option<&File> {
        match &self.stage {
            Stage::Aside(_, file, _) | Stage::InPlace(file, _) | Stage::Renamed(file) => Some(file),
            Stage::Done => None,
        }
    }

    /// Takes the result of syncing and continues.
    ///
    /// # Errors
    /// If syncing or the rename failed. The file then has its old content, and the replacement is over.
    pub fn synced(&mut self, result: io::Result<()>) -> io::Result<()> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Aside(aside, _, in_place) => {
                match result.and_then(|()| fs::rename(&aside, &self.path)) {
                    Ok(()) => Stage::renamed(&self.path),
                    Err(why) => Stage::give_up(&self.path, &aside, in_place.as_deref(), why)?,
                }
            }
            Stage::InPlace(mut file, old) => {
                if let Err(why) = result {
                    let _ = overwrite(&mut file, &old);
                    return Err(why);
                }
                Stage::Done
            }
            // A failed sync is ignored: some file systems do not support it, and the rename has happened
            // anyway.
            Stage::Renamed(_) | Stage::Done => Stage::Done,
        };
        Ok(())
    }

    /// Completes the replacement and waits for the disk.
    ///
    /// # Errors
    /// As for [`Self::synced`].
    pub fn finish(mut self) -> io::Result<()> {
        while let Some(file) = self.unsynced() {
            let result = file.sync_all();
            self.synced(result)?;
        }
        Ok(())
    }
}

impl Stage {
    fn renamed(path: &Path) -> Stage {
        let directory = path.parent().and_then(|path| File::open(path).ok());
        directory.map_or(Stage::Done, Stage::Renamed)
    }

    /// Continues by writing in place, if possible, after the temporary file has failed.
    fn give_up(
        path: &Path,
        aside: &Path,
        in_place: Option<&[u8]>,
        why: io::Error,
    ) -> io::Result<Stage> {
        let _ = fs::remove_file(aside);
        match in_place {
            Some(content) if is_directory_at_fault(&why) => Stage::in_place(path, content),
            _ => Err(why),
        }
    }

    fn in_place(path: &Path, content: &[u8]) -> io::Result<Stage> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        if !file.metadata()?.is_file() {
            return file.write_all(content).map(|()| Stage::Done);
        }
        let mut old = Vec::new();
        file.read_to_end(&mut old)?;
        if let Err(why) = overwrite(&mut file, content) {
            // There was room for the old content before.
            let _ = overwrite(&mut file, &old);
            return Err(why);
        }
        Ok(Stage::InPlace(file, old))
    }
}

fn overwrite(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

/// Returns the path of a file beside another one: the same name with `ending` appended.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns whether the error is due to the directory and not to the content.
pub(super) fn is_directory_at_fault(why: &io::Error) -> bool {
    let code = why.raw_os_error();
    [libc::EACCES, libc::EPERM, libc::EROFS, libc::EBUSY]
        .iter()
        .any(|&known| code == Some(known))
}

/// Creates the temporary file with its content, and replaces one from an earlier attempt.
pub(super) fn write_aside(
    aside: &Path,
    content: &[u8],
    like: Option<&Metadata>,
) -> io::Result<File> {
    let create = || {
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(MODE_NEW)
            .open(aside)
    };
    let mut file = match create() {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(aside)?;
            create()?
        }
        result => result?,
    };
    if let Some(like) = like {
        // Only root may change owners; for other users, the owner is already correct.
        let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
        let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
        file.set_permissions(mode)?;
    }
    file.write_all(content)?;
    Ok(file)
}

/// Syncs a file's directory after a rename. Errors are ignored: some file systems do not support it, and the
/// rename has happened anyway.
pub(super) fn sync_directory_of(path: &Path) {
    if let Some(Ok(directory)) = path.parent().map(File::open) {
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
        Replacement::begin(path, content)?.finish()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn modes_are_kept_and_new_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tags");
        replace(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // A temporary file left by a crash does not matter.
        fs::write(dir.path().join("tags.new"), "half").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn failures_leave_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        assert!(replace(&dir.path().join("no/such"), b"x").is_err());
        let full = replace(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn in_place_is_whole_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "a longer text").unwrap();
        let in_place = |content: &[u8]| Replacement {
            path: path.clone(),
            stage: Stage::in_place(&path, content).unwrap(),
        };
        in_place(b"short").finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        let broken = in_place(b"shorter").synced(Err(io::ErrorKind::Other.into()));
        assert!(broken.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn a_disk_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"old").unwrap();
        let mut new = Replacement::begin(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old", "nothing yet");
        let no_space = || io::Error::from_raw_os_error(libc::ENOSPC);
        let why = new.synced(Err(no_space())).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(libc::ENOSPC));
        assert!(new.unsynced().is_none());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // The file is synced before its directory, and only errors of the former count.
        let mut new = Replacement::begin(&path, b"new").unwrap();
        assert!(new.unsynced().unwrap().metadata().unwrap().is_file());
        new.synced(Ok(())).unwrap();
        assert!(new.unsynced().unwrap().metadata().unwrap().is_dir());
        new.synced(Err(no_space())).unwrap();
        assert!(new.unsynced().is_none());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
