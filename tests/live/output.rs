//! What a process writes, as it comes.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// A file that a process writes to. It takes all that comes, whether anybody reads it or not.
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

    /// A copy of what comes from a reader.
    pub fn copy_of(reader: impl Read + Send + 'static) -> Output {
        let output = Output::new(None);
        output.copy(reader);
        output
    }

    /// Copies what comes from a reader.
    pub fn copy(&self, mut reader: impl Read + Send + 'static) {
        let mut copy = self.writer();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut copy));
    }

    /// The end for the process.
    pub fn writer(&self) -> File {
        self.file.try_clone().expect("a descriptor")
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.refreshed().text.clone()
    }

    /// Looks at all of it so far.
    pub fn look<T>(&self, at: impl FnOnce(&str) -> T) -> T {
        at(&self.refreshed().text)
    }

    /// Takes out the complete lines that have come: nobody else gets to see them.
    pub fn take_lines(&self) -> String {
        let mut read = self.refreshed();
        let end = read.text.rfind('\n').map_or(0, |end| end + 1);
        read.text.drain(..end).collect()
    }

    fn refreshed(&self) -> MutexGuard<'_, Text> {
        // A check may have panicked while it looked.
        let mut read = self.read.lock().unwrap_or_else(|held| held.into_inner());
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = self.file.read_at(&mut chunk, read.bytes);
            let chunk = &chunk[..count.expect("a readable file")];
            // A character that is not whole yet stays where it is.
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

/// The end of a long text.
pub fn tail(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
