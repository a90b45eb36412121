//! The agent's files: tags, keyring, snapshot and journal (agent spec 4.10).

pub mod atomic;
pub mod journal;
pub mod key;
pub mod keyring;
pub mod lock;
pub mod saver;
pub mod snapshot;
pub mod sync;
pub mod tags;
pub mod trust;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::os::error::{os_error, shown};

/// Size limit of a tags or keyring file; typical ones have a few hundred bytes.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a small file; `None` if it is missing. The text of another error completes `Failed to read ...: `.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match File::open(path) {
        Ok(file) => read_bounded(file, path, SMALL_FILE_BYTES_MAX).map(Some),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(format!("open {}: {}", shown(path), os_error(&why))),
    }
}

/// Reads the rest of a file that must not exceed `bytes_max`.
///
/// # Errors
/// If it is larger or cannot be read; the text names the file.
pub fn read_bounded(file: File, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(|why| format!("read {}: {}", shown(path), os_error(&why)))?;
    if text.len() as u64 > bytes_max {
        return Err(format!("{} is larger than {bytes_max} bytes", shown(path)));
    }
    Ok(text)
}

/// Removes the UTF-8 byte order mark from the beginning of a JSON file, if there is one.
///
/// # Errors
/// If the byte order mark is that of UTF-16.
pub fn without_mark(text: &[u8]) -> Result<&[u8], String> {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err("it is UTF-16 instead of UTF-8".to_owned()),
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(rest),
        text => Ok(text),
    }
}

/// Checks that the parent directory of a file or directory to be created exists.
///
/// # Errors
/// If it does not; the text completes `Failed to ...: `.
pub fn check_place(path: &Path) -> Result<(), String> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match fs::metadata(parent.unwrap_or(Path::new("."))) {
        Ok(parent) if parent.is_dir() => Ok(()),
        Ok(_) => Err(format!("create {}: not a directory", shown(path))),
        Err(why) => Err(format!("create {}: {}", shown(path), os_error(&why))),
    }
}

/// Checks that a directory exists or can be created.
///
/// # Errors
/// If not; the text completes `Failed to ...: `.
pub fn check_directory(path: &Path) -> Result<(), String> {
    match fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => check_place(path),
        Err(why) => Err(format!("open {}: {}", shown(path), os_error(&why))),
    }
}
