//! What the end of a run means (agent spec 1.7, 1.8, 1.13).

use std::fmt;
use std::sync::Arc;

use crate::serf::Command;
use crate::time::Duration;

/// Bytes of output that are kept, the last ones (agent spec 1.7).
pub const OUTPUT_BYTES_MAX: usize = 8192;
/// A run that lasts longer is worth a warning (agent spec 1.8).
pub const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It ran longer than this limit and was ended for it.
    TimedOut(Duration),
    /// It could not be started, or was lost; why.
    Failed(String),
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

/// The answer to a query. If the command fails, [`Self::warn_refused`] tells the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A [`Command::Respond`].
    pub command: Command,
    /// The query as log lines name it.
    pub query: Arc<str>,
}

impl Answer {
    /// Logs that the core refused the answer: already given, too late, or too large.
    pub fn warn_refused(query: &str, reason: &str) {
        log::warn!(target: "agent", "Failed to respond to query '{query}': {reason}");
    }
}

/// The reference's words for a failed run.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(status) => write!(f, "exit status {status}"),
            End::Signalled(signal) => write!(f, "signal: {}", signal_words(*signal)),
            End::TimedOut(limit) => write!(f, "time limit of {limit:?} exceeded"),
            End::Failed(why) => f.write_str(why),
        }
    }
}

fn signal_words(_signal: i32) -> String {
    todo!()
}
