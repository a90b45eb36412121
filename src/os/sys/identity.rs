//! The user and groups of a process.

use std::io;

use super::check;

/// Returns whether the effective user is root.
pub fn is_root() -> bool {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Permanently sets the supplementary groups, the group and, if given, the user.
///
/// # Errors
/// If setgroups(2), setgid(2) or setuid(2) fails. Earlier ones of these calls stay in effect.
pub fn take_identity(uid: Option<u32>, gid: u32, groups: &[u32]) -> io::Result<()> {
    // The type of the length differs between C libraries.
    #[allow(clippy::useless_conversion)]
    let count = groups
        .len()
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `count` is the length of the list.
    check(unsafe { libc::setgroups(count, groups.as_ptr()) })?;
    // SAFETY: takes an integer.
    check(unsafe { libc::setgid(gid) })?;
    match uid {
        // SAFETY: takes an integer.
        Some(uid) => check(unsafe { libc::setuid(uid) }),
        None => Ok(()),
    }
}
