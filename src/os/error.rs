//! Errors of the operating system with the reference's texts, which scripts and people look for.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::wire::name::Escaped;

/// Escapes a path for a message: it may contain newlines and bytes that are not UTF-8.
pub fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// Returns the reference's text for an error, independent of the C library.
pub fn os_error(error: &io::Error) -> String {
    let known = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused",
        Some(libc::ECONNRESET) => "connection reset by peer",
        Some(libc::ENETUNREACH) => "network is unreachable",
        Some(libc::EHOSTUNREACH) => "no route to host",
        Some(libc::EADDRINUSE) => "address already in use",
        Some(libc::EADDRNOTAVAIL) => "cannot assign requested address",
        Some(libc::ETIMEDOUT) => "connection timed out",
        Some(libc::EPIPE) => "broken pipe",
        Some(libc::EACCES) => "permission denied",
        Some(libc::EPERM) => "operation not permitted",
        Some(libc::EMFILE) => "too many open files",
        Some(libc::ENFILE) => "too many open files in system",
        Some(libc::EMSGSIZE) => "message too long",
        Some(libc::EAFNOSUPPORT) => "address family not supported by protocol",
        Some(libc::EINVAL) => "invalid argument",
        Some(libc::ENOENT) => "no such file or directory",
        Some(code) => {
            // Cuts the number off "Some text (os error 7)", and lowers the case like the texts above.
            let text = io::Error::from_raw_os_error(code).to_string();
            let bare = text.split(" (os error").next().unwrap_or(&text);
            return bare.to_ascii_lowercase();
        }
        None if error.kind() == io::ErrorKind::TimedOut => "i/o timeout",
        None => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_references() {
        let words = |code| os_error(&io::Error::from_raw_os_error(code));
        assert_eq!(words(libc::ECONNREFUSED), "connection refused");
        assert_eq!(words(libc::ENOSPC), "no space left on device");
        assert_eq!(os_error(&io::ErrorKind::TimedOut.into()), "i/o timeout");
    }
}
