//! Runs that somebody has asked for.

use super::HandlerQueue;
use crate::handler::Outcome;

/// Why a sync is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRun {
    /// There is no handler of that name.
    Unknown,
    /// It has no `sync` among its events.
    Unwanted,
    /// Its runs are held back.
    Paused,
}

impl HandlerQueue {
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
