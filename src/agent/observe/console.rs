//! Non-blocking writer for standard output and standard error. Output that a full pipe does not take is
//! buffered up to a limit, then dropped and counted; output to a closed pipe is discarded.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use crate::count::Count;
use crate::os::sys;

/// Limit for buffered output in bytes.
pub(super) const CONSOLE_BYTES_MAX: usize = 256 << 10;
/// Size of a write that a pipe takes without blocking when poll(2) reports it as writable.
const PIPE_CHUNK_BYTES: usize = 4096;

/// Destination of the console's output.
#[derive(Debug)]
pub(super) enum Sink {
    /// A new file description in non-blocking mode, so that other processes that share stdout are not
    /// affected.
    Reopened(File),
    /// A socket.
    Socket(OwnedFd),
    /// A file or device that never blocks writers.
    Plain(File),
    /// A pipe or terminal that could not be reopened; polled before each write.
    Polled(File),
    /// For tests.
    #[cfg(test)]
    Memory { taken: Vec<u8>, room: usize },
    /// Closed by the reader.
    Gone,
}

/// Console with its buffered output.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) sink: Sink,
    pub(super) pending: VecDeque<u8>,
    dropped_lines: u64,
}

impl Sink {
    pub(super) fn stdout() -> Sink {
        Sink::open(io::stdout().as_fd(), "/proc/self/fd/1")
    }

    pub(super) fn stderr() -> Sink {
        Sink::open(io::stderr().as_fd(), "/proc/self/fd/2")
    }

    fn open(fd: BorrowedFd<'_>, path: &str) -> Sink {
        let Ok(fd) = fd.try_clone_to_owned() else {
            return Sink::Gone;
        };
        let file = File::from(fd);
        let kind = match file.metadata() {
            Ok(metadata) => metadata.file_type(),
            Err(_) => return Sink::Gone,
        };
        if kind.is_socket() {
            return Sink::Socket(file.into());
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Sink::Plain(file);
        }
        let reopened = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        match reopened {
            Ok(reopened) => Sink::Reopened(reopened),
            Err(_) => Sink::Polled(file),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Reopened(file) | Sink::Plain(file) => file.write(bytes),
            Sink::Socket(socket) => sys::send_now(socket.as_fd(), bytes),
            Sink::Polled(file) => {
                if !sys::is_writable(file.as_fd(), 0) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                file.write(bytes.get(..PIPE_CHUNK_BYTES).unwrap_or(bytes))
            }
            #[cfg(test)]
            Sink::Memory { taken, room } => {
                let count = bytes.len().min(*room);
                if count == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                taken.extend_from_slice(&bytes[..count]);
                *room -= count;
                Ok(count)
            }
            Sink::Gone => Ok(bytes.len()),
        }
    }

    pub(super) fn wait_writable(&self, timeout_ms: i32) -> bool {
        match self {
            Sink::Reopened(file) | Sink::Polled(file) => sys::is_writable(file.as_fd(), timeout_ms),
            Sink::Socket(socket) => sys::is_writable(socket.as_fd(), timeout_ms),
            Sink::Plain(_) | Sink::Gone => true,
            #[cfg(test)]
            Sink::Memory { .. } => false,
        }
    }
}

impl Console {
    pub(super) fn new(sink: Sink) -> Self {
        Console {
            sink,
            pending: VecDeque::new(),
            dropped_lines: 0,
        }
    }

    /// Writes as much as the reader takes and buffers the rest; drops all of `bytes` if the buffer is full.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.flush();
        if matches!(self.sink, Sink::Gone) {
            return;
        }
        if self.pending.len() + bytes.len() > CONSOLE_BYTES_MAX {
            self.dropped_lines += 1;
            return;
        }
        self.pending.extend(bytes);
        self.flush();
    }

    /// Returns whether output is buffered.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.pending.is_empty() || self.dropped_lines > 0
    }

    /// Writes buffered output; returns whether all of it was written.
    pub(super) fn flush(&mut self) -> bool {
        loop {
            let (front, _) = self.pending.as_slices();
            if front.is_empty() {
                if self.dropped_lines > 0 {
                    let lost = std::mem::take(&mut self.dropped_lines);
                    let note = format!(
                        "==> {} lost: stdout was not read in time\n",
                        Count(lost, "line")
                    );
                    self.pending.extend(note.as_bytes());
                    continue;
                }
                // Frees the memory after a burst.
                self.pending.shrink_to(PIPE_CHUNK_BYTES);
                return true;
            }
            match self.sink.write(front) {
                Ok(0) => return false,
                Ok(count) => {
                    self.pending.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    // This output is lost; the disk may have room again later.
                    self.pending.clear();
                }
                Err(_) => {
                    self.sink = Sink::Gone;
                    self.pending = VecDeque::new();
                    self.dropped_lines = 0;
                }
            }
        }
    }
}
