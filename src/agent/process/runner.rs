//! Runs handlers for the event loop: [`Process`] is a single child with bounded output, and [`Runner`] runs
//! handlers with it, one at a time.
//!
//! Only starting a process blocks. The loop passes in readiness, SIGCHLD and time, and polls for the next
//! deadline and the outcome. Dropping either leaves the children running.

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

/// Default time that output may stay open after the process itself has ended.
pub const GRACE: Duration = Duration::from_secs(1);
/// Limit for output pipes of finished handlers that background processes still hold.
///
/// Beyond it, the oldest pipe is closed, so its writer gets SIGPIPE at the next write. A quarter of the usual
/// limit of 1,024 file descriptors, most of which the network needs.
pub const LEFTOVERS_MAX: usize = 256;

/// Runs handlers, one at a time, and drains the later output of their background processes.
#[derive(Debug)]
pub struct Runner {
    /// Token of stdin; those after it are for output pipes.
    first_token: usize,
    /// Unused tokens for output pipes.
    free: Vec<Token>,
    limits: Limits,
    programs: Programs,
    running: Option<Running>,
    ended: Option<Outcome>,
    /// Leftover output pipes, oldest first.
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
    /// Whether the script is stopped.
    stopped: bool,
}

impl Runner {
    /// Number of poll tokens that a runner uses.
    pub const TOKENS: usize = LEFTOVERS_MAX + 2;

    /// Creates an idle runner. It owns `first_token` and the [`Self::TOKENS`] - 1 tokens after it.
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

    /// Sets the default time limit and grace for later runs.
    pub fn set_limits(&mut self, time_limit: Option<Duration>, grace: Duration) {
        self.limits.time = time_limit;
        self.limits.grace = grace;
    }

    /// Sets how many bytes from the end of the output later runs keep.
    pub fn set_output_bytes_max(&mut self, bytes: usize) {
        self.limits.output_bytes_max = bytes;
    }

    /// Sets additional variables for all handlers.
    pub fn set_variables(&mut self, variables: Vec<(&'static str, OsString)>) {
        self.programs.set_variables(variables);
    }

    /// Returns the limits for a handler's runs; `None`: the defaults.
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

    /// Starts a run. If it cannot be started, the outcome is available at once.
    ///
    /// The previous run must have ended and its outcome must have been polled.
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
            // Cannot happen: there is one token more than there can be leftovers.
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

    /// Returns whether a token belongs to the runner.
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + Self::TOKENS).contains(&token.0)
    }

    /// Handles readiness of a token.
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

    /// Handles SIGCHLD.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        if let Some(running) = &mut self.running {
            running.process.handle_sigchld(registry, now);
            running.note_stop(now);
            self.settle();
        }
    }

    /// Handles the deadline of [`Self::poll_timeout`]. Calls before the deadline do nothing.
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

    /// Terminates the active run like the time limit does.
    pub fn terminate(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.process.terminate(now);
        }
    }

    /// Returns the next deadline. May change after `start`, `terminate` and every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let deadlines = [
            running.slow_at,
            running.stopped_at,
            running.process.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the outcome of the run, once; pass it to [`crate::handler::HandlerQueue::handle_outcome`].
    /// Poll again after `start` and every `handle_*`.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.ended.take()
    }

    /// Returns the process id of the active run.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.pid())
    }

    /// Returns whether a run is active.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns the number of output pipes that background processes still hold.
    pub fn leftovers(&self) -> usize {
        self.leftovers.len()
    }

    /// Hands the output pipes of handlers and their background processes over to drains when the agent ends.
    /// Warns of an active run and leaves its process running.
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

    /// Takes over the outcome if the run is over.
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
    /// Updates the stop warning. A child that is stopped causes SIGCHLD; one that is continued may not, so
    /// the state is checked again before the warning.
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
