//! Examines one file of a handler directory.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::agent::files::trust::trusted_path;
use crate::agent::process::program;
use crate::handler::header::{HEADER_BYTES_MAX, MARK, read_header};
use crate::handler::{Action, HandlerSettings, InvalidSetting};
use crate::os::error::os_error;
use crate::os::sys;
use crate::wire::name::Escaped;

/// Suffixes of files that package managers and editors leave behind.
const LEFTOVERS: [&[u8]; 8] = [
    b".bak",
    b".orig",
    b".rej",
    b".swp",
    b".tmp",
    b".rpmnew",
    b".rpmorig",
    b".rpmsave",
];
/// Beginnings of further such suffixes.
const LEFTOVER_STEMS: [&[u8]; 2] = [b".dpkg-", b".ucf-"];

/// Byte order mark of UTF-8, which some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Result of examining a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a handler.
    Handler(Box<HandlerSettings>),
    /// It is not a handler and not meant to be one, for this reason.
    Skipped(String),
    /// It looks like a handler but does not declare itself as one, for this reason.
    Undeclared(String),
    /// It is a handler that must not or cannot be run, for this reason.
    Refused(String),
}

/// File metadata that changes when a file is modified or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    bytes: u64,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    pub(super) fn of(found: &Metadata) -> Self {
        Signature {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Returns whether the file's mtime and ctime are older than `micros`; times in the future count as
    /// recent.
    pub(super) fn is_older_than(&self, micros: u64, unix_micros: u64) -> bool {
        let last = |(seconds, nanos): (i64, i64)| seconds.saturating_mul(1_000_000) + nanos / 1000;
        let last = last(self.modified).max(last(self.changed));
        let border = unix_micros.saturating_sub(micros);
        u64::try_from(last).is_ok_and(|last| last < border)
    }
}

/// Returns whether a file with this name is never a handler: a hidden file or a leftover.
fn is_leftover(name: &[u8]) -> bool {
    let dot = name.iter().rposition(|&byte| byte == b'.');
    let ending = dot.and_then(|dot| name.get(dot..)).unwrap_or_default();
    name.starts_with(b".")
        || name.ends_with(b"~")
        || LEFTOVERS.contains(&ending)
        || LEFTOVER_STEMS.iter().any(|stem| ending.starts_with(stem))
}

/// Returns whether a file has header lines, valid or not.
pub(super) fn has_header(path: &Path) -> bool {
    let Ok(text) = read(path) else {
        return false;
    };
    match read_header(&text) {
        Ok(pairs) => !pairs.is_empty(),
        // A script without settings may begin with a long comment.
        Err(_) => text.windows(MARK.len()).any(|part| part == MARK),
    }
}

/// Examines a file. `found` is the metadata of the link's target, `user` the agent's user id.
pub(super) fn examine(path: &Path, found: &Metadata, user: u32) -> Verdict {
    let kind = found.file_type();
    let skipped = |why: &str| Verdict::Skipped(why.to_owned());
    if is_leftover(path.file_name().unwrap_or_default().as_bytes()) {
        return skipped("it has the name of a hidden or backup file");
    }
    if kind.is_dir() {
        return skipped("it is a directory");
    }
    if !kind.is_file() {
        return match fs::canonicalize(path) {
            Ok(target) if target == Path::new("/dev/null") => {
                skipped("it is disabled by a link to /dev/null")
            }
            _ => skipped("it is not a regular file"),
        };
    }
    if found.mode() & 0o111 == 0 {
        return skipped("it is not executable");
    }
    match handler(path, user) {
        Ok(verdict) => verdict,
        Err(why) => Verdict::Refused(why),
    }
}

/// Examines an executable file.
///
/// # Errors
/// If it must not or cannot be run; returns the reason.
fn handler(path: &Path, user: u32) -> Result<Verdict, String> {
    let (file, end) = trusted_path(path, user).map_err(|why| why.text())?;
    if !end.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if !sys::may_execute(&file) {
        return Err(
            "this user may not execute it, or its file system is mounted noexec".to_owned(),
        );
    }
    let text = read(&file).map_err(|why| format!("cannot read it: {}", os_error(&why)))?;
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(
            "it begins with a byte order mark, so that the system cannot execute it".to_owned(),
        );
    }
    let pairs = read_header(&text)?;
    if !pairs.iter().any(|(key, _)| key == "on") {
        let why = "no 'cottar: on=EVENTS' in its first comment lines";
        return Ok(Verdict::Undeclared(why.to_owned()));
    }
    check_interpreter(&text)?;
    let action = Action::Exec([path.as_os_str().as_bytes().to_vec()].into());
    let settings = HandlerSettings::from_header(action, &pairs).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(InvalidSetting::to_string).collect();
        faults.join("; ")
    })?;
    program::check(&settings).map_err(|fault| fault.to_string())?;
    Ok(Verdict::Handler(Box::new(settings)))
}

/// Reads the beginning of a file; follows no link at its end. Never blocks, even if the path now is a FIFO.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file: File = opened?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut text = Vec::new();
    file.take(HEADER_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// Checks that a script begins with `#!` and an existing interpreter.
fn check_interpreter(text: &[u8]) -> Result<(), String> {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some(named) = line.strip_prefix(b"#!") else {
        return Err(
            "it does not begin with '#!' and an interpreter, as in '#!/bin/sh': the system cannot \
             execute it"
                .to_owned(),
        );
    };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = named.split(is_blank).filter(|word| !word.is_empty());
    let interpreter = words.next().unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(interpreter));
    // The text after the interpreter's name, with the carriage return, becomes its argument.
    let is_windows = named.ends_with(b"\r");
    let why = match fs::metadata(path) {
        Ok(found) if !found.is_file() => "not a file".to_owned(),
        Ok(_) if !sys::may_execute(path) => "this user may not execute it".to_owned(),
        Ok(_) if !is_windows => return Ok(()),
        Ok(_) => "its argument ends with '\\r'".to_owned(),
        Err(why) => os_error(&why),
    };
    let hint = match is_windows {
        true => " (the file has Windows line ends)",
        false => "",
    };
    let interpreter = Escaped(interpreter);
    Err(format!("its interpreter '{interpreter}': {why}{hint}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "file_tests.rs"]
mod tests;
