//! What the end of a run means for its query and for the log (agent spec 1.7, 1.8, 1.13).

use std::fmt;
use std::sync::Arc;

use super::{Described, event_type};
use crate::count::Count;
use crate::serf::config::RESPONSE_BYTES_MAX;
use crate::serf::{Command, Event};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Size of the kept tail of the output in bytes (agent spec 1.7), unless answers may be larger.
pub const OUTPUT_BYTES_MAX: usize = 8192;

/// Returns how many bytes of output to keep if answers may take `answer_bytes_max` as messages. Output that
/// was cut to this size still exceeds the limit of an answer, so a partial answer is never sent.
pub fn output_bytes_kept(answer_bytes_max: usize) -> usize {
    answer_bytes_max.clamp(OUTPUT_BYTES_MAX, RESPONSE_BYTES_MAX)
}
/// Duration of a run after which a warning is logged (agent spec 1.8).
pub const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long a run must be stopped by a signal before a warning is logged; nothing else shows it.
pub const STOPPED_AFTER: Duration = Duration::from_secs(10);
/// Limit for a script in a log line, in bytes; enough to recognize it.
const SCRIPT_BYTES_SHOWN: usize = 256;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Exited with this status.
    Exited(i32),
    /// Terminated by this signal.
    Signalled(i32),
    /// Exceeded this time limit and was terminated.
    TimedOut(Duration),
    /// Could not be started, for this reason.
    NotStarted(String),
    /// Its exit status could not be read, for this reason.
    Failed(String),
}

/// Exit status for a run that did not take place.
pub const NOT_RUN: u8 = 125;
/// Exit status of timeout(1) when the time limit ends a program.
const TIMED_OUT: u8 = 124;
/// Exit status of shells for a program that cannot be started.
const NOT_STARTED: u8 = 126;

impl End {
    /// Returns the exit status by which our own commands report this end, as shells do.
    pub fn shell_status(&self) -> u8 {
        let status = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match self {
            End::Exited(number) => status(*number),
            End::Signalled(signal) => status(signal.saturating_add(128)),
            End::TimedOut(_) => TIMED_OUT,
            End::NotStarted(_) | End::Failed(_) => NOT_STARTED,
        }
    }
}

/// End and output of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The last bytes of standard output and standard error, in the order written.
    pub output: Vec<u8>,
    /// Size of the complete output.
    pub output_bytes: u64,
    /// Time from the start until both the process and its output have ended.
    pub duration: Duration,
}

/// Answer to a query. If the command fails, the caller logs it with [`Answer::warn_refused`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A [`Command::Respond`].
    pub command: Command,
    /// Name of the query in log lines.
    pub query: Arc<str>,
    /// Size of the script's complete output, of which the command has the last bytes.
    pub output_bytes: u64,
}

impl Answer {
    /// Logs that the core refused the answer: already answered, past the deadline, or too large. The reason
    /// names the limit; the size of the output helps to correct the script.
    pub fn warn_refused(query: &str, output_bytes: u64, reason: &str) {
        log::warn!(
            target: "agent",
            "Failed to respond to query '{query}': {reason} ({} of output)",
            Count(output_bytes, "byte")
        );
    }
}

impl Outcome {
    /// Returns whether the script exited with status 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// Logs the output and the end of a run.
    pub(super) fn log(&self, event: &Event, id: &str, script: &[u8]) {
        log::debug!(
            target: "agent",
            "Event '{}' script output: {}",
            event_type(event),
            Escaped(&self.output)
        );
        let kept = self.output.len();
        if self.output_bytes > kept as u64 {
            log::warn!(
                target: "agent",
                "Script '{}' wrote {} bytes, keeping only the last {kept}",
                Shown(script),
                self.output_bytes
            );
        }
        if !self.is_success() {
            warn_failed(script, &self.end);
        }
        if matches!(self.end, End::NotStarted(_)) {
            return;
        }
        log::info!(
            target: "agent",
            "Script '{}' ran for '{}': {}, {} ({id})",
            Shown(script),
            Described(event),
            self.end,
            Millis(self.duration)
        );
    }
}

/// Returns the first [`SCRIPT_BYTES_SHOWN`] bytes, cut between characters, and `...` if more follow.
fn beginning(script: &[u8]) -> (&[u8], &'static str) {
    let continues = |end: usize| script.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut end = SCRIPT_BYTES_SHOWN;
    // A character has at most four bytes; anything but UTF-8 is cut at the limit.
    while end > SCRIPT_BYTES_SHOWN - 4 && continues(end) {
        end -= 1;
    }
    match script.get(..end) {
        Some(shown) if shown.len() < script.len() => (shown, "..."),
        _ => (script, ""),
    }
}

/// Displays a script in a log line: escaped, and cut to its beginning if it is long.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = beginning(self.0);
        write!(f, "{}{cut}", Escaped(shown))
    }
}

/// Displays a duration as `12.345ms`, always with one number and this unit.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}ms", micros / 1000, micros % 1000)
    }
}

/// Logs that a script could not run or failed.
pub(super) fn warn_failed(script: &[u8], reason: &dyn fmt::Display) {
    log::error!(
        target: "agent",
        "Error invoking script '{}': {reason}",
        Shown(script)
    );
}

/// Logs that a run has exceeded [`SLOW_AFTER`]; called once per run.
pub fn warn_slow(script: &[u8]) {
    log::warn!(
        target: "agent",
        "Script '{}' slow, execution exceeding {SLOW_AFTER:?}",
        Shown(script)
    );
}

/// Logs that a script has been stopped for [`STOPPED_AFTER`]; called once per stop. The run is not
/// terminated: an administrator or a debugger may have stopped it and must not lose it.
pub fn warn_stopped(script: &[u8], pid: u32) {
    log::warn!(
        target: "agent",
        "Script '{}' has been stopped by a signal for {STOPPED_AFTER:?} and the handlers behind it wait: \
         'kill -CONT -{pid}' continues it, 'kill -KILL -{pid}' ends it",
        Shown(script)
    );
}

/// Displays the reference's text for a failed run.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(status) => write!(f, "exit status {status}"),
            End::Signalled(signal) => match signal_words(*signal) {
                Some(words) => write!(f, "signal: {words}"),
                None => write!(f, "signal: signal {signal}"),
            },
            End::TimedOut(limit) => write!(f, "time limit of {limit:?} exceeded"),
            End::NotStarted(why) | End::Failed(why) => f.write_str(why),
        }
    }
}

/// Names the signals whose numbers are the same on every Linux architecture.
const fn signal_words(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_references_words() {
        assert_eq!(End::Exited(127).to_string(), "exit status 127");
        assert_eq!(End::Signalled(9).to_string(), "signal: killed");
        assert_eq!(End::Signalled(15).to_string(), "signal: terminated");
        assert_eq!(End::Signalled(64).to_string(), "signal: signal 64");
        assert_eq!(
            End::TimedOut(Duration::from_secs(5)).to_string(),
            "time limit of 5s exceeded"
        );
        assert_eq!(
            End::Failed("no such file".into()).to_string(),
            "no such file"
        );
        assert_eq!(format!("{SLOW_AFTER:?}"), "1s");
    }

    #[test]
    fn what_is_kept_grows_with_the_limit_of_answers() {
        for (limit, kept) in [
            (0, 8192),
            (1024, 8192),
            (8192, 8192),
            (20_000, 20_000),
            (RESPONSE_BYTES_MAX, RESPONSE_BYTES_MAX),
            (usize::MAX, RESPONSE_BYTES_MAX),
        ] {
            assert_eq!(output_bytes_kept(limit), kept, "{limit}");
            let name = crate::wire::NodeName::new(b"n").unwrap();
            let reply = crate::wire::serf::QueryResponseMessage {
                ltime: crate::serf::LamportTime(1),
                id: 1,
                from: name,
                flags: 0,
                payload: Some(vec![b'x'; kept]),
            };
            assert!(
                crate::serf::encode_response(&reply, limit).is_err(),
                "{limit}"
            );
        }
    }

    #[test]
    fn durations_have_one_unit() {
        for (nanos, shown) in [
            (0, "0.000ms"),
            (1_999, "0.001ms"),
            (12_345_678, "12.345ms"),
            (61_000_000_000, "61000.000ms"),
        ] {
            assert_eq!(Millis(Duration::from_nanos(nanos)).to_string(), shown);
        }
    }

    #[test]
    fn a_long_script_is_cut_between_characters() {
        let show = |script: &str| {
            let (shown, cut) = beginning(script.as_bytes());
            (shown.len(), cut)
        };
        let ascii = |count| "x".repeat(count);
        assert_eq!(show(""), (0, ""));
        assert_eq!(show(&ascii(256)), (256, ""));
        assert_eq!(show(&ascii(257)), (256, "..."));
        assert_eq!(show(&(ascii(254) + "\u{20ac}")), (254, "..."));
        assert_eq!(show(&(ascii(253) + "\u{20ac}")), (256, ""));
        assert_eq!(beginning(&[0x80; 300]).0.len(), 252);
    }
}
