//! Runs that somebody has asked for.

use super::{HandlerQueue, Waiting};
use crate::handler::Outcome;
use crate::handler::made_up::QUERY_TIME;
use crate::handler::moment::Moment;
use crate::serf::Event;

/// Why a run is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRun {
    /// There is no handler of that name.
    Unknown,
    /// It has no `sync` among its events.
    Unwanted,
    /// Its runs are held back.
    Paused,
    /// There is no room for the event.
    Full,
}

impl HandlerQueue {
    /// Has a handler run for an event that was made up, before all that waits, whatever its settings say of
    /// events. The ticket, if there is one, comes back with [`Self::poll_ended`].
    ///
    /// # Errors
    /// If there is no such handler, or it cannot be run now.
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
        // An id that no event of the cluster has: a handler that knows what it has done runs all the same.
        let id = format!("run:{}", self.last_local).into();
        let mut waiting = Waiting::new(event, id, at.unix_micros, 0);
        let bytes = self.asked.iter().fold(waiting.cost, |sum, w| sum + w.cost);
        if !self.has_room(bytes) {
            return Err(NoRun::Full);
        }
        let course = waiting.course_mut();
        course.asked_for = handler;
        course.tickets.extend(ticket);
        self.asked.push_back(waiting);
        Ok(())
    }

    /// Makes the first event that an operator has made up the one being handled, unless that is from a lane.
    pub(super) fn begin_asked(&mut self, at: Moment) -> bool {
        if self.current.as_ref().is_some_and(|c| c.lane.is_some()) {
            return false;
        }
        let Some(mut waiting) = self.asked.pop_front() else {
            return false;
        };
        if let Event::Query(query) = &mut waiting.event {
            query.deadline = at.now + QUERY_TIME;
        }
        let course = waiting.course();
        let mut handlers = self.handlers.list().iter();
        match handlers.position(|r| r.id == course.asked_for && !r.is_paused) {
            Some(index) => self.set_current(index, waiting, at),
            None => self.give_up_tickets(course.tickets.clone()),
        }
        true
    }

    /// Gives up some of the events that operators have made up. Returns how many.
    pub(super) fn drop_asked(&mut self, is_dropped: &dyn Fn(&Waiting) -> bool) -> usize {
        let before = self.asked.len();
        for waiting in std::mem::take(&mut self.asked) {
            match is_dropped(&waiting) {
                true => self.give_up_tickets(waiting.course().tickets.clone()),
                false => self.asked.push_back(waiting),
            }
        }
        before - self.asked.len()
    }

    /// A run that somebody has asked for by a ticket is over; `None`: it will not be. Changed by everything
    /// that takes `&mut self`.
    pub fn poll_ended(&mut self) -> Option<(u64, Option<Outcome>)> {
        self.ended.pop_front()
    }

    pub(super) fn give_up_tickets(&mut self, tickets: Vec<u64>) {
        self.ended
            .extend(tickets.into_iter().map(|ticket| (ticket, None)));
    }
}
