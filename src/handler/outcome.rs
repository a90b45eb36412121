//! What the end of a run means (agent spec 1.7, 1.8, 1.13).

use std::fmt;
use std::sync::Arc;

use super::{Described, event_type};
use crate::count::Count;
use crate::serf::config::RESPONSE_BYTES_MAX;
use crate::serf::{Command, Event};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Bytes of output that are kept, the last ones (agent spec 1.7), unless answers may be larger.
pub const OUTPUT_BYTES_MAX: usize = 8192;

/// Bytes of output that are kept where answers may take `answer_bytes_max` as messages. Output that is
/// cut to this size still exceeds the limit of an answer, so that no part of an answer is ever sent.
pub fn output_bytes_kept(answer_bytes_max: usize) -> usize {
    answer_bytes_max.clamp(OUTPUT_BYTES_MAX, RESPONSE_BYTES_MAX)
}
/// A run that lasts longer is worth a warning (agent spec 1.8).
pub const SLOW_AFTER: Duration = Duration::from_secs(1);
/// A run that has been stopped by a signal for so long is worth a warning: nobody sees it otherwise.
pub const STOPPED_AFTER: Duration = Duration::from_secs(10);
/// Bytes of a script in a log line: enough to know it by.
const SCRIPT_BYTES_SHOWN: usize = 256;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It ran longer than this limit and was ended for it.
    TimedOut(Duration),
    /// It could not be started; why.
    NotStarted(String),
    /// Its end was lost; why.
    Failed(String),
}

/// The exit status that stands for a run that there was not.
pub const NOT_RUN: u8 = 125;
/// That of timeout(1) when the time limit has ended a program.
const TIMED_OUT: u8 = 124;
/// That of shells for a program that cannot be started.
const NOT_STARTED: u8 = 126;

impl End {
    /// The exit status by which a command of our own passes it on, as shells do.
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

/// A process that has ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The last bytes of standard output and error, in the order written.
    pub output: Vec<u8>,
    /// All bytes written.
    pub output_bytes: u64,
    /// From the start to the end of output and process.
    pub duration: Duration,
}

/// The answer to a query. If the command fails, [`Answer::warn_refused`] tells the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A [`Command::Respond`].
    pub command: Command,
    /// The query as log lines name it.
    pub query: Arc<str>,
    /// All bytes that the script wrote, of which the command has the last ones.
    pub output_bytes: u64,
}

impl Answer {
    /// Logs that the core refused the answer: already given, too late, or too large. The reason names
    /// the limit; how much too large the output was is for whoever mends the script.
    pub fn warn_refused(query: &str, output_bytes: u64, reason: &str) {
        log::warn!(
            target: "agent",
            "Failed to respond to query '{query}': {reason} ({} of output)",
            Count(output_bytes, "byte")
        );
    }
}

impl Outcome {
    /// Whether the script did its job.
    pub fn is_success(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// The lines that the operator gets about a run.
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

/// The first [`SCRIPT_BYTES_SHOWN`], whole characters, and dots if there are more.
fn beginning(script: &[u8]) -> (&[u8], &'static str) {
    let continues = |end: usize| script.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut end = SCRIPT_BYTES_SHOWN;
    // A character has four bytes at most; what is no UTF-8 is cut anywhere.
    while end > SCRIPT_BYTES_SHOWN - 4 && continues(end) {
        end -= 1;
    }
    match script.get(..end) {
        Some(shown) if shown.len() < script.len() => (shown, "..."),
        _ => (script, ""),
    }
}

/// A script in a log line: escaped, and only the beginning of a long one.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = beginning(self.0);
        write!(f, "{}{cut}", Escaped(shown))
    }
}

/// A duration as `12.345ms`, whatever its size: always one number and one unit.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}ms", micros / 1000, micros % 1000)
    }
}

/// Logs that a script did not run or did not run well.
pub(super) fn warn_failed(script: &[u8], reason: &dyn fmt::Display) {
    log::error!(
        target: "agent",
        "Error invoking script '{}': {reason}",
        Shown(script)
    );
}

/// Logs, once a run, that it has lasted for [`SLOW_AFTER`].
pub fn warn_slow(script: &[u8]) {
    log::warn!(
        target: "agent",
        "Script '{}' slow, execution exceeding {SLOW_AFTER:?}",
        Shown(script)
    );
}

/// Logs, once a stop, that a script has been stopped for [`STOPPED_AFTER`]. It is not ended: whoever has
/// stopped it, an administrator or a debugger, must not lose the run.
pub fn warn_stopped(script: &[u8], pid: u32) {
    log::warn!(
        target: "agent",
        "Script '{}' has been stopped by a signal for {STOPPED_AFTER:?} and the handlers behind it wait: \
         'kill -CONT -{pid}' continues it, 'kill -KILL -{pid}' ends it",
        Shown(script)
    );
}

/// The reference's words for a failed run.
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

/// The numbers that are the same on every Linux.
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
