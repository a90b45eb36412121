//! Events on their way to the scripts: one run at a time, in order, within a bound.

use super::{Answer, EventScript, Invocation, Local, Outcome};
use crate::serf::Event;
use crate::time::Instant;

/// Bytes of events that wait at most: more than 50,000 small ones, or 10,000 with a kilobyte each.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Runs that ended, however.
    pub runs: u64,
    /// Of these, ended by anything but exit status 0.
    pub failures: u64,
    /// Of these, ended by the time limit.
    pub timeouts: u64,
    /// User events dropped for want of room.
    pub dropped_user_events: u64,
    /// Queries dropped for want of room.
    pub dropped_queries: u64,
    /// Member news that newer news of the same node took the place of, for want of room.
    pub merged_members: u64,
    /// Runs and variables refused because an environment cannot hold a NUL.
    pub refused: u64,
}

/// The events that wait and the scripts that they wait for.
#[derive(Debug)]
pub struct HandlerQueue {
    handlers: Vec<EventScript>,
}

impl HandlerQueue {
    /// An empty queue of [`QUEUE_BYTES_MAX`].
    pub fn new(handlers: Vec<EventScript>) -> Self {
        HandlerQueue { handlers }
    }

    /// Replaces the handlers (reload). The next event to be handled meets the new list; the rest of
    /// the runs of the event being handled stay as they are.
    pub fn replace_handlers(&mut self, _handlers: Vec<EventScript>) {
        todo!()
    }

    /// The handlers last set, in the order of registration.
    pub fn handlers(&self) -> &[EventScript] {
        &self.handlers
    }

    /// An event was delivered. Logs it, as the reference does.
    pub fn push(&mut self, _event: Event, _now: Instant) {
        todo!()
    }

    /// The next run, if none is under way. Whoever takes it owes a [`Self::handle_outcome`].
    ///
    /// Changed by [`Self::push`] and [`Self::handle_outcome`].
    pub fn poll_invocation(&mut self, _local: Local<'_>, _now: Instant) -> Option<Invocation> {
        todo!()
    }

    /// The run ended. Logs how, and gives the answer if it was for a query and has one.
    pub fn handle_outcome(&mut self, _outcome: Outcome) -> Option<Answer> {
        todo!()
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        todo!()
    }

    /// Events that wait, not counting the one being handled.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether no event waits; one may still be being handled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Figures for `info`.
    pub fn counters(&self) -> Counters {
        todo!()
    }
}
