//! Ring buffer of the last log lines, which RPC `monitor` reads (agent spec 2.4).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use log::Level;

use crate::os::clock;
use crate::os::sys::{self, LocalTime};

/// Limit for the lines, which `monitor` shows when it begins (agent spec 2.4).
pub const RING_LINES_MAX: usize = 512;
/// Limit for their bytes: a handler's output can make a line of 8 KiB.
pub(super) const RING_BYTES_MAX: usize = 1 << 20;

/// A log line. Each sink formats it as needed; `Display` has the format of console and monitors, without a
/// newline.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Local time at which it was logged.
    pub time: LocalTime,
    /// The component and the message: `agent: Serf agent starting`.
    pub text: Arc<str>,
}

impl Line {
    /// Creates a line with the current time.
    pub fn now(level: Level, target: &str, message: fmt::Arguments<'_>) -> Self {
        let text = format!("{target}: {message}");
        // Drops the newline that some messages have at their end.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let unix_seconds = i64::try_from(clock::unix_time().as_secs());
        Line {
            level,
            time: sys::local_time(unix_seconds.unwrap_or(i64::MAX)),
            text: text.into(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LocalTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.time;
        let level = match self.level {
            Level::Error => "ERR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        };
        write!(
            f,
            "{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} [{level}] {}",
            self.text
        )
    }
}

/// Position of a reader in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub(super) u64);

/// The last lines, numbered since the start.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) lines: VecDeque<Line>,
    pub(super) bytes: usize,
    /// Number of lines that were dropped from the front.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_as_the_reference_shows_them() {
        let mut line = Line::now(Level::Error, "agent", format_args!("two\nlines\n"));
        line.time = LocalTime {
            year: 2026,
            month: 1,
            day: 2,
            hour: 3,
            minute: 4,
            second: 5,
        };
        let shown = line.to_string();
        assert_eq!(shown, "2026/01/02 03:04:05 [ERR] agent: two\nlines");
        // A level inside the text has no effect.
        let line = Line::now(
            Level::Debug,
            "agent",
            format_args!("script output: [ERR] x"),
        );
        assert_eq!(line.level, Level::Debug);
        assert!(
            line.to_string()
                .ends_with(" [DEBUG] agent: script output: [ERR] x")
        );
    }
}
