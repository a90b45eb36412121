//! The Unix socket of the RPC server: nobody can connect before its rights are set, and it goes with the agent.

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

/// Longest path, in bytes: what the address of a socket holds, without the zero at its end.
const PATH_BYTES_MAX: usize = 107;
/// What is masked while the socket is made: it is its owner's alone, until the rights are set.
const UMASK: u32 = 0o177;

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permissions of the file.
    pub mode: u32,
    /// Its group; `None`: the agent's.
    pub group: Option<u32>,
}

/// The file of a socket that listens. Removed in the end.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Held as long as the socket is there.
    _lock: Option<FileLock>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another one may have taken its place.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Whether a path can be that of a socket, as far as it shows without a look.
///
/// # Errors
/// If it cannot.
fn check_path(path: &Path) -> Result<(), String> {
    match path.as_os_str().as_bytes().len() {
        0 => Err("no path after 'unix:'".to_owned()),
        bytes if bytes > PATH_BYTES_MAX => Err(format!(
            "the path has {bytes} bytes; the maximum is {PATH_BYTES_MAX}"
        )),
        _ => Ok(()),
    }
}

/// The same, with a look at what is there; the socket of another agent is no fault.
///
/// # Errors
/// If it cannot, or if something else is there.
pub fn check_place(path: &Path) -> Result<(), String> {
    check_path(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err("the file exists and is not a socket".to_owned())
        }
        _ => Ok(()),
    }
}

/// The group of a setting.
///
/// # Errors
/// If there is none of that name.
pub fn group(key: &str, name: Option<&str>) -> Result<Option<u32>, String> {
    let Some(name) = name else {
        return Ok(None);
    };
    let found = accounts::group_id(name).map_err(|why| format!("Invalid {key} '{name}': {why}"));
    found.map(Some)
}

/// Listens; in the place of a socket at which nobody listens any more.
///
/// # Errors
/// If somebody does, if something else is there, or the operating system's.
pub fn listen(path: &Path, rights: Rights) -> Result<(UnixListener, SocketFile), String> {
    // A lock follows links: none is made beside a file that is not ours.
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

/// Removes a socket that an agent has left behind.
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
            // It has more connections waiting than it may.
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
        // What has taken its place meanwhile is not this one's.
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
