//! The output of a process, readable while it runs.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// A file that a process writes to. Unlike a pipe, it never blocks the writer.
#[derive(Debug)]
pub struct Output {
    file: File,
    read: Mutex<Text>,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Text {
    text: String,
    bytes: u64,
}

impl Output {
    /// A new file at that path, or one without a name.
    pub fn new(path: Option<&Path>) -> Output {
        let file = match path {
            Some(path) => OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(path),
            None => tempfile::tempfile(),
        };
        Output {
            file: file.expect("a file for output"),
            read: Mutex::default(),
        }
    }

    /// Collects the data of a reader, in a thread.
    pub fn copy_of(reader: impl Read + Send + 'static) -> Output {
        let output = Output::new(None);
        output.copy(reader);
        output
    }

    /// Copies the data of a reader until its end.
    pub fn copy(&self, mut reader: impl Read + Send + 'static) {
        let mut copy = self.writer();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut copy));
    }

    /// A file handle for the process to write to.
    pub fn writer(&self) -> File {
        self.file.try_clone().expect("a descriptor")
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.refreshed().text.clone()
    }

    /// Passes the output so far to `at`.
    pub fn look<T>(&self, at: impl FnOnce(&str) -> T) -> T {
        at(&self.refreshed().text)
    }

    /// Removes the complete lines from the output so far and returns them.
    pub fn take_lines(&self) -> String {
        let mut read = self.refreshed();
        let end = read.text.rfind('\n').map_or(0, |end| end + 1);
        read.text.drain(..end).collect()
    }

    fn refreshed(&self) -> MutexGuard<'_, Text> {
        // The lock is poisoned if a check panicked while it held it.
        let mut read = self.read.lock().unwrap_or_else(|held| held.into_inner());
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = self.file.read_at(&mut chunk, read.bytes);
            let chunk = &chunk[..count.expect("a readable file")];
            // An incomplete character stays in the file for the next read.
            let whole = match std::str::from_utf8(chunk) {
                Err(why) if why.error_len().is_none() => &chunk[..why.valid_up_to()],
                _ => chunk,
            };
            if whole.is_empty() {
                return read;
            }
            read.text.push_str(&String::from_utf8_lossy(whole));
            read.bytes += whole.len() as u64;
        }
    }
}

/// The last `bytes_max` bytes of a text, from a character boundary.
pub fn tail(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
