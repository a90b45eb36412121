//! Unix socket of the RPC server: not connectable before its permissions are set, and removed at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::files::lock::FileLock;
use crate::os::accounts;
use crate::os::error::os_error;
use crate::os::sys;

/// Longest path of a socket address in bytes, without the terminating zero.
const PATH_BYTES_MAX: usize = 107;
/// File mode mask while the socket is created: only the owner may connect until the permissions are set.
const UMASK: u32 = 0o177;

/// Permissions of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// File mode.
    pub mode: u32,
    /// Group; `None`: the agent's.
    pub group: Option<u32>,
}

/// File of a listening socket. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode number.
    identity: (u64, u64),
    /// Held as long as the socket exists.
    _lock: Option<FileLock>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not if another file has replaced it.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Checks the length of a socket's path.
///
/// # Errors
/// If it is empty or too long.
fn check_path(path: &Path) -> Result<(), String> {
    match path.as_os_str().as_bytes().len() {
        0 => Err("no path after 'unix:'".to_owned()),
        bytes if bytes > PATH_BYTES_MAX => Err(format!(
            "the path has {bytes} bytes; the maximum is {PATH_BYTES_MAX}"
        )),
        _ => Ok(()),
    }
}

/// Checks that a socket can be created at a path, or that a socket exists there, which may be another
/// agent's.
///
/// # Errors
/// If the path is empty or too long, or another kind of file is there.
pub fn check_place(path: &Path) -> Result<(), String> {
    check_path(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err("the file exists and is not a socket".to_owned())
        }
        _ => Ok(()),
    }
}

/// Returns the id of the group with this name, if one is configured.
///
/// # Errors
/// If there is no such group.
pub fn group(key: &str, name: Option<&str>) -> Result<Option<u32>, String> {
    let Some(name) = name else {
        return Ok(None);
    };
    let found = accounts::group_id(name).map_err(|why| format!("Invalid {key} '{name}': {why}"));
    found.map(Some)
}

/// Listens on a Unix socket; replaces an old socket without a listener.
///
/// # Errors
/// If another process listens there, another kind of file is there, or a system call fails.
pub fn listen(path: &Path, rights: Rights) -> Result<(UnixListener, SocketFile), String> {
    // Checked first, because a lock beside a link would be created at its target.
    check_place(path)?;
    let lock = FileLock::acquire(path)?;
    clear_way(path)?;
    let failed = |what: &'static str| move |why: io::Error| format!("{what}: {}", os_error(&why));
    let listener = sys::with_umask(UMASK, || UnixListener::bind(path)).map_err(failed("bind"))?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path).map_err(failed("stat"))?,
        _lock: lock,
    };
    if rights.group.is_some() {
        lchown(path, None, rights.group).map_err(failed("chown"))?;
    }
    fs::set_permissions(path, Permissions::from_mode(rights.mode)).map_err(failed("chmod"))?;
    listener.set_nonblocking(true).map_err(failed("listen"))?;
    Ok((listener, file))
}

/// Removes the socket that an earlier agent has left behind.
fn clear_way(path: &Path) -> Result<(), String> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let live = "another process listens there";
    match sys::connect_to_path(path, Duration::ZERO) {
        Ok(_) => Err(live.to_owned()),
        Err(why) => match why.raw_os_error() {
            Some(libc::ECONNREFUSED) => fs::remove_file(path)
                .map_err(|why| format!("cannot remove the old socket: {}", os_error(&why))),
            Some(libc::ENOENT) => Ok(()),
            // The listener exists, but its backlog is full.
            Some(libc::EAGAIN) => Err(live.to_owned()),
            _ => Err(format!("connect: {}", os_error(&why))),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RIGHTS: Rights = Rights {
        mode: 0o640,
        group: None,
    };

    #[test]
    fn a_socket_has_its_rights_and_goes_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (listener, file) = listen(&path, RIGHTS).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        drop(file);
        assert!(!path.exists());
        // A file that has replaced the socket is not removed.
        let (_other, file) = listen(&path, RIGHTS).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        drop(file);
        assert!(path.exists());
        drop(listener);
    }

    #[test]
    fn only_a_socket_without_a_listener_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let refused = |path: &Path| listen(path, RIGHTS).unwrap_err();
        let live = UnixListener::bind(&path).unwrap();
        assert_eq!(refused(&path), "another process listens there");
        drop(live);
        let (_listener, file) = listen(&path, RIGHTS).unwrap();
        drop(file);
        fs::write(&path, "precious").unwrap();
        let why = "the file exists and is not a socket";
        assert_eq!(refused(&path), why);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        assert_eq!(refused(&link), why);
        assert!(!dir.path().join("nowhere.lock").exists());
        assert_eq!(refused(dir.path()), why);
        let missing = dir.path().join("no/socket");
        assert_eq!(refused(&missing), "bind: no such file or directory");
    }

    #[test]
    fn paths_must_fit_into_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        let left = PATH_BYTES_MAX - path.as_os_str().len() - 1;
        path.push("x".repeat(left));
        assert_eq!(path.as_os_str().len(), 107);
        assert!(listen(&path, RIGHTS).is_ok());
        path.set_file_name("x".repeat(left + 1));
        let why = "the path has 108 bytes; the maximum is 107";
        assert_eq!(listen(&path, RIGHTS).unwrap_err(), why);
        assert!(check_path(Path::new("")).is_err());
    }
}
