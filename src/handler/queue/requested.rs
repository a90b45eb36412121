//! Runs requested by an operator.

use super::{HandlerQueue, Waiting};
use crate::handler::Outcome;
use crate::handler::moment::Moment;
use crate::handler::synthetic::QUERY_TIME;
use crate::serf::Event;

/// Why a requested run is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRun {
    /// There is no handler with that name.
    Unknown,
    /// The handler does not have the filter `sync`.
    Unwanted,
    /// The handler is paused.
    Paused,
    /// The queue is full.
    Full,
}

impl HandlerQueue {
    /// Queues a run of a handler for a synthetic event, before all other events and regardless of the
    /// handler's filters. The ticket, if any, is returned by [`Self::poll_ended`].
    ///
    /// # Errors
    /// If there is no such handler, it is paused, or the queue is full.
    #[cold]
    pub fn run(
        &mut self,
        name: &str,
        event: Event,
        ticket: Option<u64>,
        at: Moment,
    ) -> Result<(), NoRun> {
        let index = self.handlers.index_of(name).ok_or(NoRun::Unknown)?;
        let registered = self.handlers.get(index).ok_or(NoRun::Unknown)?;
        if registered.is_paused {
            return Err(NoRun::Paused);
        }
        let handler = registered.id;
        self.last_local = self.next_local(at);
        // This id differs from those of all real events, so handlers that skip known ids run all the same.
        let id = format!("run:{}", self.last_local).into();
        let mut waiting = Waiting::new(event, id, at.unix_micros, 0);
        let bytes = self
            .requested
            .iter()
            .fold(waiting.cost, |sum, w| sum + w.cost);
        if !self.has_room(bytes) {
            return Err(NoRun::Full);
        }
        let progress = waiting.progress_mut();
        progress.requested_for = handler;
        progress.tickets.extend(ticket);
        self.requested.push_back(waiting);
        Ok(())
    }

    /// Starts to process the first synthetic event, unless an event of a lane is being processed.
    pub(super) fn begin_requested(&mut self, at: Moment) -> bool {
        if self.current.as_ref().is_some_and(|c| c.lane.is_some()) {
            return false;
        }
        let Some(mut waiting) = self.requested.pop_front() else {
            return false;
        };
        if let Event::Query(query) = &mut waiting.event {
            query.deadline = at.now + QUERY_TIME;
        }
        let progress = waiting.progress();
        let mut handlers = self.handlers.list().iter();
        match handlers.position(|r| r.id == progress.requested_for && !r.is_paused) {
            Some(index) => self.set_current(index, waiting, at),
            None => self.give_up_tickets(progress.tickets.clone()),
        }
        true
    }

    /// Drops synthetic events that match; returns how many.
    pub(super) fn drop_requested(&mut self, is_dropped: &dyn Fn(&Waiting) -> bool) -> usize {
        let before = self.requested.len();
        for waiting in std::mem::take(&mut self.requested) {
            match is_dropped(&waiting) {
                true => self.give_up_tickets(waiting.progress().tickets.clone()),
                false => self.requested.push_back(waiting),
            }
        }
        before - self.requested.len()
    }

    /// Returns the ticket of a requested run that has completed, and the outcome; `None`: it will not take
    /// place. Poll again after any method that takes `&mut self`.
    pub fn poll_ended(&mut self) -> Option<(u64, Option<Outcome>)> {
        self.ended.pop_front()
    }

    pub(super) fn give_up_tickets(&mut self, tickets: Vec<u64>) {
        self.ended
            .extend(tickets.into_iter().map(|ticket| (ticket, None)));
    }
}
