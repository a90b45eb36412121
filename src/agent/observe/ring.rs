//! The ring buffer of the last log lines, which RPC `monitor` reads (agent spec 2.4).

use std::collections::VecDeque;
use std::sync::Arc;

use log::Level;

/// Lines that `monitor` shows from before it was asked (agent spec 2.4).
pub const RING_LINES_MAX: usize = 512;
/// Bytes of these lines, at most: a handler's output can make a line of 8 KiB.
pub(super) const RING_BYTES_MAX: usize = 1 << 20;

/// A log line without its end.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Date, level, component, text.
    pub text: Arc<str>,
}

/// Where a reader of the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub(super) u64);

/// The last lines, numbered since the start.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) lines: VecDeque<Line>,
    pub(super) bytes: usize,
    /// Lines that were pushed out.
    pub(super) gone: u64,
}

impl Ring {
    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > RING_LINES_MAX || self.bytes > RING_BYTES_MAX {
            let Some(old) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= old.text.len();
            self.gone += 1;
        }
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor(self.gone + self.lines.len() as u64)
    }
}
