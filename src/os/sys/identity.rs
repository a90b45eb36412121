//! The user and groups of a process.

use std::io;

use super::check;

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Switches to other groups, another group and, if given, another user, for good.
///
/// # Errors
/// Those of setgroups(2), setgid(2) and setuid(2). The switch may be half done then.
pub fn take_identity(uid: Option<u32>, gid: u32, groups: &[u32]) -> io::Result<()> {
    // The type of the length differs between C libraries.
    #[allow(clippy::useless_conversion)]
    let count = groups
        .len()
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the list has as many entries as is said.
    check(unsafe { libc::setgroups(count, groups.as_ptr()) })?;
    // SAFETY: takes an integer.
    check(unsafe { libc::setgid(gid) })?;
    match uid {
        // SAFETY: takes an integer.
        Some(uid) => check(unsafe { libc::setuid(uid) }),
        None => Ok(()),
    }
}
