//! Log lines and where they go (agent spec 4.5).
//!
//! Every line goes to a ring that RPC `monitor` reads, and those of the chosen level to stdout, held
//! back until the agent says that it runs. Nothing here waits for whoever reads stdout.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::LevelFilter;

use super::console::{Console, Sink};
use super::ring::{Cursor, Line, Ring};
use super::syslog::Syslog;
use crate::os::clock::Deadline;

/// In front of each log message on the console.
const INDENT: &str = "    ";
/// The levels, as the error for a wrong one lists them.
pub const LEVELS: &str = "[TRACE DEBUG INFO WARN ERR]";

/// The level of that name, in any case.
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
    /// What the console shows.
    level: LevelFilter,
    /// What monitors show.
    watched: LevelFilter,
    /// Lines that wait for [`Logger::open_gate`], and what was lost of them.
    gate: Option<Ring>,
    syslog: Option<Syslog>,
    /// Where log lines go after a failed start.
    aside: Option<Console>,
}

impl Hub {
    /// Which lines are made at all.
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

    /// A logger that keeps lines but prints nowhere and is nobody's default.
    pub fn silent() -> Self {
        Logger::new(LevelFilter::Off, Sink::Gone)
    }

    /// Takes a line as though it had been logged.
    pub fn note(&self, line: Line) {
        self.hub().take(line);
    }

    /// A logger on stdout that takes all that the program logs from here on.
    pub fn install(level: LevelFilter) -> Self {
        let logger = Logger::new(level, Sink::stdout());
        let taker = logger.clone();
        let env = env_logger::Builder::new()
            .filter_level(LevelFilter::Trace)
            // Lines stay structured: nothing is written to env_logger's own target.
            .format(move |_, record| {
                taker.note(Line::now(record.level(), record.target(), *record.args()));
                Ok(())
            })
            .target(env_logger::Target::Pipe(Box::new(io::sink())))
            .build();
        // It fails only if there is a logger already: then its owner sees the lines.
        let _ = log::set_boxed_logger(Box::new(env));
        logger.set_level(level);
        logger
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the console shows.
    ///
    /// Down to debug all lines are made in any case, for the ring; a line for each packet only if
    /// somebody wants to see it.
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

    /// From here on sends what the console shows to the system's log, too.
    pub fn set_syslog(&self, syslog: Syslog) {
        self.hub().syslog = Some(syslog);
    }

    /// Prints text on the console as it is, log lines or not; the end of the line is added.
    pub fn print(&self, text: &str) {
        let mut hub = self.hub();
        hub.console.write(format!("{text}\n").as_bytes());
    }

    /// Shows what was held back, and from here on each line at once. A second call does nothing.
    pub fn open_gate(&self) {
        let mut hub = self.hub();
        if let Some(gate) = hub.gate.take() {
            for line in &gate.lines {
                hub.show(line);
            }
        }
    }

    /// Like [`Self::open_gate`] for a start that failed: the lines go to stderr, and stdout has nothing
    /// but what the reference says there.
    pub fn open_gate_aside(&self) {
        let mut hub = self.hub();
        if hub.gate.is_some() {
            hub.aside = Some(Console::new(Sink::stderr()));
        }
        drop(hub);
        self.open_gate();
    }

    /// Writes what waits for a reader; whether all of it is written.
    pub fn flush(&self) -> bool {
        let mut hub = self.hub();
        let aside = hub.aside.as_mut().is_none_or(Console::flush);
        hub.console.flush() && aside
    }

    /// Whether text waits for a reader.
    pub fn has_unwritten(&self) -> bool {
        let hub = self.hub();
        let mut consoles = hub.aside.iter().chain([&hub.console]);
        consoles.any(Console::has_unwritten)
    }

    /// Before the end of the process: gives a slow reader a last chance.
    pub fn finish(&self, patience: Duration) {
        let deadline = Deadline::after(patience);
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

    /// Whether there are lines behind `cursor`.
    pub fn has_more(&self, cursor: Cursor) -> bool {
        self.hub().ring.end() > cursor
    }

    /// Where a new reader starts to see the last lines.
    pub fn oldest(&self) -> Cursor {
        Cursor(self.hub().ring.gone)
    }

    /// The lines of that level since `cursor`, which moves on, and how many were missed by a reader who
    /// came too late.
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
