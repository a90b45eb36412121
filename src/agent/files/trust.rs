//! Checks that only root and the agent's own user can change a file that the agent executes, or anything on
//! the path to it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::os::error::{os_error, shown};

/// Limit for the symbolic links on one path, as in the kernel.
const LINKS_MAX: usize = 40;
/// Write permission for the group or others.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a path is not trusted.
#[derive(Debug)]
pub enum Distrust {
    /// It does not exist or cannot be examined.
    Unseen(io::Error),
    /// Another user may change it; the text says what and who.
    Others(String),
}

impl Distrust {
    /// Returns the text to print.
    pub fn text(&self) -> String {
        match self {
            Distrust::Unseen(why) => os_error(why),
            Distrust::Others(why) => why.clone(),
        }
    }
}

/// Resolves all symbolic links of a path and returns the result, if only root and `user` may change the files
/// and directories on it, including its end. A sticky directory of root that everybody may write to, such as
/// /tmp, is accepted on the way: others cannot rename the files in it, and those are checked as well.
///
/// # Errors
/// If the path does not exist, or another user may change it; see [`Distrust`].
pub fn trusted_path(path: &Path, user: u32) -> Result<(PathBuf, Metadata), Distrust> {
    let path = std::path::absolute(path).map_err(Distrust::Unseen)?;
    let mut rest = components(&path);
    let mut links = 0;
    let mut way = PathBuf::from("/");
    let mut here = look(&way, user)?;
    while let Some(name) = rest.pop_front() {
        if !here.is_dir() {
            let why = io::Error::from_raw_os_error(libc::ENOTDIR);
            return Err(Distrust::Unseen(why));
        }
        check_writers(&way, &here, Sticky::IsSafe)?;
        if name == ".." {
            way.pop();
            here = look(&way, user)?;
            continue;
        }
        let next = way.join(&name);
        here = look(&next, user)?;
        if here.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                let why = io::Error::from_raw_os_error(libc::ELOOP);
                return Err(Distrust::Unseen(why));
            }
            let target = fs::read_link(&next).map_err(Distrust::Unseen)?;
            if target.is_absolute() {
                way = PathBuf::from("/");
            }
            let mut steps = components(&target);
            steps.append(&mut rest);
            rest = steps;
            here = look(&way, user)?;
        } else {
            way = next;
        }
    }
    check_writers(&way, &here, Sticky::IsNotSafe)?;
    Ok((way, here))
}

/// Returns the names on a path, without `.` components.
fn components(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

/// Returns the metadata of a path, or of the link itself if it is one, and checks the owner.
fn look(path: &Path, user: u32) -> Result<Metadata, Distrust> {
    let found = fs::symlink_metadata(path).map_err(Distrust::Unseen)?;
    match found.uid() {
        owner if owner == 0 || owner == user => Ok(found),
        owner => Err(Distrust::Others(format!(
            "{} belongs to user {owner} instead of root or the agent's user",
            shown(path)
        ))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sticky {
    IsSafe,
    IsNotSafe,
}

fn check_writers(path: &Path, found: &Metadata, sticky: Sticky) -> Result<(), Distrust> {
    let mode = found.mode();
    let is_safe = sticky == Sticky::IsSafe && mode & STICKY != 0 && found.uid() == 0;
    if found.is_symlink() || mode & OTHERS_WRITE == 0 || is_safe {
        return Ok(());
    }
    Err(Distrust::Others(format!(
        "other users can write to {} (mode {:04o})",
        shown(path),
        mode & 0o7777
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use crate::os::sys::effective_user;

    /// Creates a directory for which the checks succeed.
    fn place() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn verdict(path: &Path) -> String {
        match trusted_path(path, effective_user()) {
            Ok((path, _)) => format!("ok {}", shown(&path)),
            Err(Distrust::Unseen(why)) => format!("unseen {}", os_error(&why)),
            Err(Distrust::Others(why)) => why,
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn ways_are_followed_to_their_ends() {
        let dir = place();
        let root = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "").unwrap();
        symlink("file", at("d/link")).unwrap();
        symlink("../d/link", at("d/link2")).unwrap();
        symlink(at("d"), at("dirlink")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        let file = format!("ok {}", shown(&at("d/file")));
        for name in [
            "d/file",
            "d/link",
            "d/link2",
            "dirlink/link2",
            "dirlink/../d/./file",
        ] {
            assert_eq!(verdict(&at(name)), file, "{name}");
        }
        assert_eq!(verdict(Path::new("/")), "ok /");
        for name in ["missing", "dangling", "missing/x", "d/../missing"] {
            let expected = "unseen no such file or directory";
            assert_eq!(verdict(&at(name)), expected, "{name}");
        }
        assert_eq!(verdict(&at("d/file/x")), "unseen not a directory");
        let too_many = os_error(&io::Error::from_raw_os_error(libc::ELOOP));
        assert_eq!(verdict(&at("loop")), format!("unseen {too_many}"));
    }

    #[test]
    fn nobody_else_may_write_on_the_way() {
        let dir = place();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (inner, file) = (root.join("inner"), root.join("inner/file"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        let safe = format!("ok {}", shown(&file));
        let writable = |path: &Path, mode: &str| {
            format!("other users can write to {} (mode {mode})", shown(path))
        };
        set_mode(&file, 0o755);
        set_mode(&inner, 0o755);
        assert_eq!(verdict(&file), safe);
        for mode in [0o775, 0o757, 0o777] {
            set_mode(&file, mode);
            assert_eq!(verdict(&file), writable(&file, &format!("{mode:04o}")));
        }
        set_mode(&file, 0o755);
        for mode in [0o775, 0o757] {
            set_mode(&inner, mode);
            assert_eq!(verdict(&file), writable(&inner, &format!("{mode:04o}")));
        }
        // Everybody may create files there, but the sticky bit protects this one.
        set_mode(&inner, 0o1777);
        if effective_user() == 0 {
            assert_eq!(verdict(&file), safe);
        }
        assert_eq!(verdict(&inner), writable(&inner, "1777"));
        // A link to the file leads through the same directories.
        set_mode(&inner, 0o757);
        symlink(&file, root.join("link")).unwrap();
        assert_eq!(verdict(&root.join("link")), writable(&inner, "0757"));
    }

    #[test]
    fn files_of_other_users_are_not_trusted() {
        if effective_user() != 0 {
            return;
        }
        let dir = place();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (inner, file, link) = (root.join("i"), root.join("i/file"), root.join("i/link"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        let judge = |path: &Path, user| match trusted_path(path, user) {
            Ok(_) => "ok".to_owned(),
            Err(why) => why.text(),
        };
        for foreign in [&file, &inner, &link] {
            match std::os::unix::fs::lchown(foreign, Some(65_533), None) {
                // In a user namespace without other users, nothing can belong to one.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
                changed => changed.unwrap(),
            }
            let why = format!(
                "{} belongs to user 65533 instead of root or the agent's user",
                shown(foreign)
            );
            assert_eq!(judge(&link, 0), why);
            assert_eq!(judge(&link, 65_533), "ok");
            std::os::unix::fs::lchown(foreign, Some(0), None).unwrap();
        }
    }
}
