//! Runs handlers without an agent, in an event loop with nothing but the runner.

use std::io;

use mio::{Events, Poll, Token};

use super::Runner;
use crate::handler::Moment;
use crate::handler::{Invocation, Outcome};
use crate::os::clock::Clock;
use crate::os::signals::{Caught, Signals};
use crate::os::sys;
use crate::time::{Duration, Instant};

const SIGNALS: usize = 0;
const RUNNER: usize = 1;
const EVENTS_A_TURN: usize = 8;

/// Runs handlers one after the other, and waits for each.
pub struct Alone {
    clock: Clock,
    poll: Poll,
    signals: Signals,
    runner: Runner,
}

impl Alone {
    /// Starts to catch signals, and prevents handlers from inheriting file descriptors and ignored or blocked
    /// signals.
    ///
    /// # Errors
    /// If the poll or the signal handlers cannot be set up.
    pub fn new(
        time_limit: Option<Duration>,
        grace: Duration,
        output_bytes_max: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let signals = Signals::install(poll.registry(), Token(SIGNALS))?;
        sys::isolate_children();
        let mut runner = Runner::new(RUNNER, time_limit);
        runner.set_limits(time_limit, grace);
        runner.set_output_bytes_max(output_bytes_max);
        Ok(Alone {
            clock: Clock::new(),
            poll,
            signals,
            runner,
        })
    }

    /// Returns the monotonic time and the time of day.
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Returns the monotonic time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Runs a handler to its end. Returns its outcome, and the signal that has cut it short, if any.
    ///
    /// # Errors
    /// If the poll fails.
    pub fn run(&mut self, invocation: Invocation) -> io::Result<(Outcome, Option<Caught>)> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        let mut cut_short = None;
        self.runner
            .start(invocation, self.poll.registry(), self.clock.now());
        loop {
            if let Some(outcome) = self.runner.poll_outcome() {
                return Ok((outcome, cut_short));
            }
            let now = self.clock.now();
            let wait = self.runner.poll_timeout().map(|at| at.since(now));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                result => result?,
            }
            let (registry, now) = (self.poll.registry(), self.clock.now());
            let pending = self.signals.take();
            if pending.child {
                self.runner.handle_sigchld(registry, now);
            }
            let stops = |caught: &&Caught| **caught != Caught::User1;
            if let Some(caught) = pending.caught.iter().find(stops) {
                cut_short = cut_short.or(Some(*caught));
                self.runner.terminate(now);
            }
            for event in &events {
                if self.runner.owns(event.token()) {
                    self.runner.handle_event(event.token(), registry, now);
                }
            }
            if self.runner.poll_timeout().is_some_and(|at| at <= now) {
                self.runner.handle_timeout(registry, now);
            }
        }
    }
}
