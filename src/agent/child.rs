//! Child processes, driven by the loop: [`Process`] is one child with bytes for its stdin and bounded
//! output, [`Runner`] runs handlers with it, one at a time.
//!
//! Nothing here blocks but posix_spawn itself. The loop hands in readiness, SIGCHLD and time, and asks
//! for the next deadline and the outcome.

use std::process::Command;
use std::sync::Arc;

use mio::{Registry, Token};

use crate::handler::{Invocation, Outcome};
use crate::time::{Duration, Instant};

/// How long output may stay open after the end of the process itself.
pub const GRACE: Duration = Duration::from_secs(1);
/// From TERM to KILL.
pub const KILL_AFTER: Duration = Duration::from_secs(2);
/// Pipes of finished handlers that background children still hold, at most; the oldest is closed then.
pub const LEFTOVERS_MAX: usize = 256;

/// Limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ends a run that lasts longer: TERM to its process group, KILL after [`KILL_AFTER`].
    pub time: Option<Duration>,
    /// How long output may stay open after the end of the process itself.
    pub grace: Duration,
    /// Bytes of output kept, the last ones.
    pub output_bytes_max: usize,
}

/// The tokens of a process's pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tokens {
    pub stdin: Token,
    pub output: Token,
}

/// One child in its own process group: bytes go to its stdin, what it writes to stdout and stderr is
/// kept up to a bound.
#[derive(Debug)]
pub struct Process {}

/// The output of a process that has ended while others still hold it open.
#[derive(Debug)]
pub struct Leftover {}

impl Process {
    /// Starts `command`; its stdin, stdout, stderr and process group are set here. Leave `pre_exec`
    /// alone, or the start copies the whole page table of the agent.
    ///
    /// # Errors
    /// If there are no descriptors, or no process could be started.
    pub fn start(
        _command: Command,
        _stdin: Arc<[u8]>,
        _limits: Limits,
        _tokens: Tokens,
        _registry: &Registry,
        _now: Instant,
    ) -> std::io::Result<Self> {
        todo!()
    }

    /// One of the tokens is ready. Others are ignored.
    pub fn handle_event(&mut self, _token: Token, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// The deadline of [`Self::poll_timeout`] has come. Too early a call does no harm.
    pub fn handle_timeout(&mut self, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// The next deadline. Changed by every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Ends it before its time, as the time limit would; its outcome is [`crate::handler::End::TimedOut`].
    pub fn terminate(&mut self, _now: Instant) {
        todo!()
    }

    /// The end of it, once, if it has come; and its output, if somebody else still holds it.
    /// Changed by every `handle_*`.
    pub fn poll_outcome(&mut self) -> Option<(Outcome, Option<Leftover>)> {
        todo!()
    }
}

/// Runs handlers, one at a time, and drains what their background children write afterwards.
#[derive(Debug)]
pub struct Runner {}

impl Runner {
    /// Tokens that a runner uses, from the first one it is given.
    pub const TOKENS: usize = LEFTOVERS_MAX + 2;

    /// A runner with nothing to do. `first_token` and the [`Self::TOKENS`] - 1 after it are its own.
    /// Reads the environment of the agent once, to know which stale variables handlers must not see.
    pub fn new(_first_token: usize, _time_limit: Option<Duration>) -> Self {
        todo!()
    }

    /// Changes the time limit and the grace for later runs.
    pub fn set_limits(&mut self, _time_limit: Option<Duration>, _grace: Duration) {
        todo!()
    }

    /// Runs a script. If that cannot be done, the outcome is there at once.
    ///
    /// The one before must have ended: poll the queue only after its outcome was handed over.
    pub fn start(&mut self, _invocation: Invocation, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// Whether a token is one of the runner's.
    pub fn owns(&self, _token: Token) -> bool {
        todo!()
    }

    /// One of the runner's tokens is ready.
    pub fn handle_event(&mut self, _token: Token, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// The deadline of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, _registry: &Registry, _now: Instant) {
        todo!()
    }

    /// The next deadline. Changed by `start` and every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The end of the run, once; for [`crate::handler::HandlerQueue::handle_outcome`]. Changed by
    /// `start` and every `handle_*`.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        todo!()
    }

    /// Whether a script runs.
    pub fn is_running(&self) -> bool {
        todo!()
    }
}
