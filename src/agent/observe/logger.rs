//! Log lines and their destinations (agent spec 4.5).
//!
//! Every line goes to a ring buffer that RPC `monitor` reads. Lines of the configured level go to stdout, but
//! are held back until the agent reports that it runs. Writing never blocks.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::LevelFilter;

use super::console::{Console, Sink};
use super::ring::{Cursor, Line, Ring};
use super::syslog::Syslog;
use crate::os::clock::Deadline;

/// Prefix of each log line on the console.
const INDENT: &str = "    ";
/// All levels, as listed in the error for an invalid one.
pub const LEVELS: &str = "[TRACE DEBUG INFO WARN ERR]";

/// Returns the level with that name, ignoring case.
pub fn parse_level(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => Some(LevelFilter::Trace),
        "DEBUG" => Some(LevelFilter::Debug),
        "INFO" => Some(LevelFilter::Info),
        "WARN" => Some(LevelFilter::Warn),
        "ERR" => Some(LevelFilter::Error),
        _ => None,
    }
}

#[derive(Debug)]
struct Hub {
    ring: Ring,
    console: Console,
    /// Most verbose level on the console.
    level: LevelFilter,
    /// Most verbose level of any monitor.
    watched: LevelFilter,
    /// Lines held back until [`Logger::open_gate`]; counts those that were dropped.
    gate: Option<Ring>,
    syslog: Option<Syslog>,
    /// Destination of log lines after a failed start.
    aside: Option<Console>,
}

impl Hub {
    /// Returns the most verbose level that must be formatted.
    fn max_level(&self) -> LevelFilter {
        self.level.max(self.watched).max(LevelFilter::Debug)
    }

    fn take(&mut self, line: Line) {
        self.ring.push(line.clone());
        if line.level > self.level {
            return;
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(&line);
        }
        match &mut self.gate {
            Some(gate) => gate.push(line),
            None => self.show(&line),
        }
    }

    fn show(&mut self, line: &Line) {
        let text = format!("{INDENT}{line}\n");
        let console = self.aside.as_mut().unwrap_or(&mut self.console);
        console.write(text.as_bytes());
    }
}

/// The log and the console; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logger(Arc<Mutex<Hub>>);

impl Logger {
    fn new(level: LevelFilter, sink: Sink) -> Self {
        Logger(Arc::new(Mutex::new(Hub {
            ring: Ring::default(),
            console: Console::new(sink),
            level,
            watched: LevelFilter::Off,
            gate: Some(Ring::default()),
            syslog: None,
            aside: None,
        })))
    }

    /// Creates a logger that keeps lines but prints nothing, and does not install it.
    pub fn silent() -> Self {
        Logger::new(LevelFilter::Off, Sink::Gone)
    }

    /// Takes a line as if it had been logged.
    pub fn note(&self, line: Line) {
        self.hub().take(line);
    }

    /// Creates a logger on stdout and installs it for the whole program.
    pub fn install(level: LevelFilter) -> Self {
        let logger = Logger::new(level, Sink::stdout());
        let taker = logger.clone();
        let env = env_logger::Builder::new()
            .filter_level(LevelFilter::Trace)
            // Lines stay structured: env_logger's own target gets nothing.
            .format(move |_, record| {
                taker.note(Line::now(record.level(), record.target(), *record.args()));
                Ok(())
            })
            .target(env_logger::Target::Pipe(Box::new(io::sink())))
            .build();
        // Fails only if another logger is installed; then that one gets the lines.
        let _ = log::set_boxed_logger(Box::new(env));
        logger.set_level(level);
        logger
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the console's level.
    ///
    /// Lines down to debug are always formatted, for the ring buffer; trace lines, one per packet, only if
    /// the console or a monitor shows them.
    pub fn set_level(&self, level: LevelFilter) {
        let mut hub = self.hub();
        hub.level = level;
        log::set_max_level(hub.max_level());
    }

    /// Sets the most verbose level that any monitor wants.
    pub fn set_watched(&self, level: LevelFilter) {
        let mut hub = self.hub();
        if hub.watched != level {
            hub.watched = level;
            log::set_max_level(hub.max_level());
        }
    }

    /// Sends the console's lines to syslog as well from now on.
    pub fn set_syslog(&self, syslog: Syslog) {
        self.hub().syslog = Some(syslog);
    }

    /// Prints text on the console unchanged, with a newline added.
    pub fn print(&self, text: &str) {
        let mut hub = self.hub();
        hub.console.write(format!("{text}\n").as_bytes());
    }

    /// Prints the lines held back, and from now on each line at once. Further calls do nothing.
    pub fn open_gate(&self) {
        let mut hub = self.hub();
        if let Some(gate) = hub.gate.take() {
            for line in &gate.lines {
                hub.show(line);
            }
        }
    }

    /// Like [`Self::open_gate`] for a failed start: lines go to stderr, so that stdout has only the
    /// reference's messages.
    pub fn open_gate_aside(&self) {
        let mut hub = self.hub();
        if hub.gate.is_some() {
            hub.aside = Some(Console::new(Sink::stderr()));
        }
        drop(hub);
        self.open_gate();
    }

    /// Writes buffered output; returns whether all of it was written.
    pub fn flush(&self) -> bool {
        let mut hub = self.hub();
        let aside = hub.aside.as_mut().is_none_or(Console::flush);
        hub.console.flush() && aside
    }

    /// Returns whether output is buffered.
    pub fn has_unwritten(&self) -> bool {
        let hub = self.hub();
        let mut consoles = hub.aside.iter().chain([&hub.console]);
        consoles.any(Console::has_unwritten)
    }

    /// Flushes at the end of the process; waits at most `timeout` for slow readers.
    pub fn finish(&self, timeout: Duration) {
        let deadline = Deadline::after(timeout);
        let mut hub = self.hub();
        let Hub { console, aside, .. } = &mut *hub;
        for console in aside.iter_mut().chain([console]) {
            while !console.flush() {
                let left = deadline.left();
                if left.is_zero() {
                    break;
                }
                let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
                console.sink.wait_writable(left_ms.max(1));
            }
        }
    }

    /// Returns whether there are lines after `cursor`.
    pub fn has_more(&self, cursor: Cursor) -> bool {
        self.hub().ring.end() > cursor
    }

    /// Returns the position of the oldest line in the ring buffer.
    pub fn oldest(&self) -> Cursor {
        Cursor(self.hub().ring.gone)
    }

    /// Returns the lines of that level after `cursor`, which is moved to the end, and how many lines the
    /// reader has missed because they were overwritten.
    pub fn lines_since(&self, cursor: &mut Cursor, level: LevelFilter) -> (Vec<Line>, u64) {
        let hub = self.hub();
        let missed = hub.ring.gone.saturating_sub(cursor.0);
        let skip = usize::try_from(cursor.0.saturating_sub(hub.ring.gone)).unwrap_or(usize::MAX);
        let lines = hub.ring.lines.iter().skip(skip);
        let lines = lines.filter(|line| line.level <= level).cloned().collect();
        *cursor = hub.ring.end();
        (lines, missed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
