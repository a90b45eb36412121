//! Users and groups of processes.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::{io, mem};

use libc::{c_void, socklen_t};

use super::check;

/// Limit for the groups of a process (NGROUPS_MAX).
const GROUPS_MAX: usize = 65_536;
/// Buffer size that is enough for most processes, in groups.
const GROUPS_USUAL: usize = 64;

/// Credentials of the peer of a Unix socket at the time of its connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// Returns the credentials of the peer of a Unix socket.
///
/// # Errors
/// If getsockopt(2) fails.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = mem::size_of_val(&found) as socklen_t;
    let place: *mut c_void = (&raw mut found).cast();
    // SAFETY: the descriptor is open while it is borrowed, and `place` has `len` writable bytes.
    check(unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        libc::getsockopt(socket.as_raw_fd(), level, option, place, &mut len)
    })?;
    let libc::ucred { pid, uid, gid } = found;
    Ok(PeerCredentials { pid, uid, gid })
}

/// Returns the supplementary groups of the peer of a Unix socket.
///
/// # Errors
/// If getsockopt(2) fails, as on kernels before 4.13, which lack the option.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut room = GROUPS_USUAL;
    loop {
        let mut groups = vec![0_u32; room];
        let mut len = mem::size_of_val(&groups[..]) as socklen_t;
        // SAFETY: the descriptor is open while it is borrowed, and the list has `len` writable bytes.
        let result = check(unsafe {
            let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
            let place: *mut c_void = groups.as_mut_ptr().cast();
            libc::getsockopt(socket.as_raw_fd(), level, option, place, &mut len)
        });
        match result {
            Ok(()) => {
                groups.truncate(len as usize / mem::size_of::<u32>());
                return Ok(groups);
            }
            Err(why) if why.raw_os_error() == Some(libc::ERANGE) && room < GROUPS_MAX => {
                room = GROUPS_MAX;
            }
            Err(why) => return Err(why),
        }
    }
}

/// Returns the effective user id.
pub fn effective_user() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Runs `act` with another file mode creation mask; the mask applies to the whole process meanwhile.
pub fn with_umask<T>(mask: u32, act: impl FnOnce() -> T) -> T {
    // SAFETY: takes and returns integers, and cannot fail.
    let before = unsafe { libc::umask(mask as libc::mode_t) };
    let result = act();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn the_kernel_says_who_has_connected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let peer = peer_credentials(accepted.as_fd()).unwrap();
        assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
        assert_eq!(peer.uid, effective_user());
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("Groups:"));
        let mut own: Vec<u32> = own
            .unwrap()
            .split_whitespace()
            .map(|group| group.parse().unwrap())
            .collect();
        let mut groups = peer_groups(accepted.as_fd()).unwrap();
        own.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, own);
    }

    #[test]
    fn what_is_no_unix_socket_has_no_peer_groups() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(peer_groups(listener.as_fd()).is_err());
    }
}
