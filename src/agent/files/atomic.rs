//! Replacing a file so that at any moment either the old or the new content is there.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Permissions of a file that did not exist: keys are secret, and tags may be.
const MODE_NEW: u32 = 0o600;

/// Writes `content` to `path`, through a temporary file beside it. Mode and owner of an existing file
/// stay. A symbolic link stays, too; what it points to is replaced.
///
/// Where nothing can be created beside the file, or it is mounted by itself, it is written in place; the
/// old content is put back if that fails.
///
/// # Errors
/// The operating system's.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let existing = fs::metadata(&path).ok();
    if existing.as_ref().is_some_and(|file| !file.is_file()) {
        return in_place(&path, content);
    }
    let aside = beside(&path, ".new");
    let result = write_aside(&aside, content, existing.as_ref())
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&aside, &path));
    match result {
        Ok(()) => {
            sync_directory_of(&path);
            Ok(())
        }
        Err(why) => {
            let _ = fs::remove_file(&aside);
            if existing.is_some() && is_directory_at_fault(&why) {
                return in_place(&path, content);
            }
            Err(why)
        }
    }
}

/// The path of a file beside another one: its name and `ending`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether the error speaks of the place and not of the content.
pub(super) fn is_directory_at_fault(why: &io::Error) -> bool {
    let code = why.raw_os_error();
    [libc::EACCES, libc::EPERM, libc::EROFS, libc::EBUSY]
        .iter()
        .any(|&known| code == Some(known))
}

/// Creates the temporary file with its content; what an earlier try has left there is removed.
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
        // Only root may give files away; for others it is theirs already.
        let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
        let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
        file.set_permissions(mode)?;
    }
    file.write_all(content)?;
    Ok(file)
}

/// Makes a rename last. Some file systems cannot, and the rename has happened all the same.
pub(super) fn sync_directory_of(path: &Path) {
    if let Some(directory) = path.parent()
        && let Ok(directory) = File::open(directory)
    {
        let _ = directory.sync_all();
    }
}

fn in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if !file.metadata()?.is_file() {
        return file.write_all(content);
    }
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    let mut write = |content: &[u8]| {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()
    };
    write(content).inspect_err(|_| {
        // It had room before.
        let _ = write(&old);
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
        // What a crash may have left does not matter.
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
        in_place(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }
}
