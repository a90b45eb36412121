//! Child processes, driven by the loop: [`Process`] is one child with bytes for its stdin and bounded
//! output, [`Runner`] runs handlers with it, one at a time.
//!
//! Nothing here blocks but the start of a process itself. The loop hands in readiness, SIGCHLD and time,
//! and asks for the next deadline and the outcome. Dropping either leaves the children alone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mio::{Registry, Token};

use super::program::{Programs, cannot_start};
use super::{Leftover, Limits, Process, Tokens, drain};
use crate::handler::outcome::{
    OUTPUT_BYTES_MAX, SLOW_AFTER, STOPPED_AFTER, Shown, warn_slow, warn_stopped,
};
use crate::handler::{End, HandlerSettings, Invocation, Outcome};
use crate::os::error::os_error;
use crate::time::{Duration, Instant};

/// How long output may stay open after the end of the process itself, unless told otherwise.
pub const GRACE: Duration = Duration::from_secs(1);
/// Pipes of finished handlers that background children still hold, at most.
///
/// One more, and the oldest is closed: its holder gets SIGPIPE at its next write. A quarter of the usual
/// limit of 1,024 descriptors, which belong to the network first.
pub const LEFTOVERS_MAX: usize = 256;

/// Runs handlers, one at a time, and drains what their background children write afterwards.
#[derive(Debug)]
pub struct Runner {
    /// Stdin has the first token, the pipes for output those after it.
    first_token: usize,
    /// Tokens for output that are not in use.
    free: Vec<Token>,
    limits: Limits,
    programs: Programs,
    running: Option<Running>,
    ended: Option<Outcome>,
    /// Oldest first.
    leftovers: VecDeque<Leftover>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    script: Arc<[u8]>,
    output: Token,
    /// When the warning about a slow script is due.
    slow_at: Option<Instant>,
    /// When the warning about a stopped script is due.
    stopped_at: Option<Instant>,
    /// The script is stopped.
    stopped: bool,
}

impl Runner {
    /// Tokens that a runner uses, from the first one it is given.
    pub const TOKENS: usize = LEFTOVERS_MAX + 2;

    /// A runner with nothing to do. `first_token` and the [`Self::TOKENS`] - 1 after it are its own.
    pub fn new(first_token: usize, time_limit: Option<Duration>) -> Self {
        Runner {
            first_token,
            free: (first_token + 1..first_token + Self::TOKENS)
                .rev()
                .map(Token)
                .collect(),
            limits: Limits {
                time: time_limit,
                grace: GRACE,
                output_bytes_max: OUTPUT_BYTES_MAX,
            },
            programs: Programs::new(),
            running: None,
            ended: None,
            leftovers: VecDeque::new(),
        }
    }

    /// Changes the time limit and the grace for later runs.
    pub fn set_limits(&mut self, time_limit: Option<Duration>, grace: Duration) {
        self.limits.time = time_limit;
        self.limits.grace = grace;
    }

    /// Changes how many bytes of output later runs keep, the last ones.
    pub fn set_output_bytes_max(&mut self, bytes: usize) {
        self.limits.output_bytes_max = bytes;
    }

    /// Gives all handlers these variables.
    pub fn set_variables(&mut self, variables: Vec<(&'static str, OsString)>) {
        self.programs.set_variables(variables);
    }

    /// The limits of a handler's runs.
    pub fn limits_of(&self, handler: Option<&HandlerSettings>) -> Limits {
        let time = match handler.and_then(|settings| settings.timeout) {
            Some(limit) => (!limit.is_zero()).then_some(limit),
            None => self.limits.time,
        };
        let grace = handler.and_then(|settings| settings.grace);
        Limits {
            time,
            grace: grace.unwrap_or(self.limits.grace),
            ..self.limits
        }
    }

    /// Runs a script. If that cannot be done, the outcome is there at once.
    ///
    /// The one before must have ended and its outcome been polled.
    pub fn start(&mut self, invocation: Invocation, registry: &Registry, now: Instant) {
        debug_assert!(self.running.is_none() && self.ended.is_none());
        let command = match self.programs.command(&invocation) {
            Ok(command) => command,
            Err(why) => {
                self.ended = Some(not_started(why));
                return;
            }
        };
        let program = command.get_program().to_owned();
        let limits = self.limits_of(Some(&invocation.settings));
        let Some(output) = self.free.pop() else {
            // There is one token more than leftovers.
            self.ended = Some(not_started("no token is free".to_owned()));
            return;
        };
        let tokens = Tokens {
            stdin: Token(self.first_token),
            output,
        };
        match Process::start(command, invocation.stdin, limits, tokens, registry, now) {
            Ok(process) => {
                self.running = Some(Running {
                    process,
                    script: invocation.script,
                    output,
                    slow_at: Some(now + SLOW_AFTER),
                    stopped_at: None,
                    stopped: false,
                });
            }
            Err(error) => {
                self.free.push(output);
                let why = cannot_start(&program, &os_error(&error));
                self.ended = Some(not_started(why));
            }
        }
    }

    /// Whether a token is one of the runner's.
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + Self::TOKENS).contains(&token.0)
    }

    /// One of the runner's tokens is ready.
    pub fn handle_event(&mut self, token: Token, registry: &Registry, now: Instant) {
        if let Some(at) = self.leftovers.iter().position(|l| l.token() == token) {
            let closed = self
                .leftovers
                .get_mut(at)
                .is_some_and(|leftover| leftover.handle_event(registry));
            if closed {
                self.leftovers.remove(at);
                self.free.push(token);
            }
        } else if let Some(running) = &mut self.running {
            running.process.handle_event(token, registry, now);
            self.settle();
        }
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        if let Some(running) = &mut self.running {
            running.process.handle_sigchld(registry, now);
            running.note_stop(now);
            self.settle();
        }
    }

    /// The deadline of [`Self::poll_timeout`] has come. Too early a call does no harm.
    pub fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        if let Some(running) = &mut self.running {
            if running.slow_at.take_if(|at| now >= *at).is_some() {
                warn_slow(&running.script);
            }
            if running.stopped_at.take_if(|at| now >= *at).is_some() && running.process.is_stopped()
            {
                warn_stopped(&running.script, running.process.id());
            }
            running.process.handle_timeout(registry, now);
            self.settle();
        }
    }

    /// Ends the run before its time, as the time limit would.
    pub fn terminate(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.process.terminate(now);
        }
    }

    /// The next deadline. Changed by `start`, `terminate` and every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let deadlines = [
            running.slow_at,
            running.stopped_at,
            running.process.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The end of the run, once; for [`crate::handler::HandlerQueue::handle_outcome`]. Changed by
    /// `start` and every `handle_*`.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.ended.take()
    }

    /// The process of the script that runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.pid())
    }

    /// Whether a script runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Pipes of finished handlers that background children still hold.
    pub fn leftovers(&self) -> usize {
        self.leftovers.len()
    }

    /// The agent ends: what handlers and their background processes still write is left to children of our
    /// own, which read and discard it. Warns about a script that still runs, and leaves it alone.
    pub fn abandon(&mut self) {
        let mut pipes: Vec<OwnedFd> = Vec::new();
        if let Some(mut running) = self.running.take() {
            log::warn!(
                target: "agent",
                "Exiting while script '{}' runs (process {}): not killing it",
                Shown(&running.script),
                running.process.id()
            );
            pipes.extend(running.process.take_output());
        }
        pipes.extend(self.leftovers.drain(..).map(Leftover::into_pipe));
        for pipe in pipes {
            if let Err(why) = drain::leave_to_child(pipe) {
                log::warn!(
                    target: "agent",
                    "Cannot start a reader for the output of running handlers: {}", os_error(&why)
                );
            }
        }
    }

    /// Takes over the end of the process, if it has come.
    fn settle(&mut self) {
        let ended = self
            .running
            .as_mut()
            .and_then(|running| running.process.poll_outcome());
        let Some((outcome, leftover)) = ended else {
            return;
        };
        self.ended = Some(outcome);
        let Some(running) = self.running.take() else {
            return;
        };
        match leftover {
            Some(leftover) => self.keep(leftover, &running.script),
            None => self.free.push(running.output),
        }
    }

    fn keep(&mut self, leftover: Leftover, script: &[u8]) {
        log::debug!(
            target: "agent",
            "Script '{}' has exited, but its output is still open: not waiting any longer",
            Shown(script)
        );
        self.leftovers.push_back(leftover);
        if self.leftovers.len() > LEFTOVERS_MAX {
            if let Some(oldest) = self.leftovers.pop_front() {
                self.free.push(oldest.token());
                log::warn!(
                    target: "agent",
                    "{LEFTOVERS_MAX} background processes hold the output of their handlers open: closing \
                     the oldest (start them with '>/dev/null 2>&1 &')"
                );
            }
        }
    }
}

impl Running {
    /// The script may have been stopped or continued. A child that is stopped sends SIGCHLD like one that
    /// has ended; one that is continued may send none, so that the warning asks again.
    fn note_stop(&mut self, now: Instant) {
        let stopped = self.process.is_stopped();
        if stopped != self.stopped {
            self.stopped = stopped;
            self.stopped_at = stopped.then(|| now + STOPPED_AFTER);
        }
    }
}

fn not_started(why: String) -> Outcome {
    Outcome {
        end: End::NotStarted(why),
        output: Vec::new(),
        output_bytes: 0,
        duration: Duration::ZERO,
    }
}
