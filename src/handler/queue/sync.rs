//! Runs with the state of the cluster instead of a change in it.

use super::HandlerQueue;
use crate::handler::EventFilter;
use crate::handler::journal::HandlerKey;
use crate::serf::Event;

/// Why a sync is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSync {
    /// There is no handler of that name.
    Unknown,
    /// It has no `sync` among its events.
    Unwanted,
    /// Its runs are held back.
    Paused,
}

impl HandlerQueue {
    /// All handlers that have `sync` among their events are to be run with the state of the cluster.
    /// Returns how many there are.
    pub fn sync_all(&mut self) -> usize {
        let names = self.sync_names();
        let asked = names.iter().filter(|name| self.ask_for_sync(name).is_ok());
        asked.count()
    }

    /// The same for one handler; the ticket, if there is one, comes back with [`Self::poll_ended`].
    ///
    /// # Errors
    /// If it cannot be run so. A paused handler gets its sync when it goes on.
    pub fn sync(&mut self, name: &str, ticket: Option<u64>) -> Result<(), NoSync> {
        let index = self.ask_for_sync(name)?;
        let registered = self.handlers.get_mut(index).filter(|r| !r.is_paused);
        let lane = registered.map(|r| &mut r.lane).ok_or(NoSync::Paused)?;
        lane.sync.get_or_insert_default().tickets.extend(ticket);
        Ok(())
    }

    /// The names of the handlers that have `sync` among their events.
    pub fn sync_names(&self) -> Vec<String> {
        let handlers = self.handlers.list().iter();
        let wanting = handlers.filter(|r| r.settings.on.contains(&EventFilter::Sync));
        wanting.map(|r| r.name.clone()).collect()
    }

    fn ask_for_sync(&mut self, name: &str) -> Result<usize, NoSync> {
        let index = self.handlers.index_of(name).ok_or(NoSync::Unknown)?;
        let registered = self.handlers.get_mut(index).ok_or(NoSync::Unknown)?;
        if !registered.settings.on.contains(&EventFilter::Sync) {
            return Err(NoSync::Unwanted);
        }
        registered.lane.sync.get_or_insert_default();
        Ok(index)
    }

    /// A handler is told how things are: what waits in the row about members is nothing to it any more.
    pub(super) fn pass_members_over(&mut self, key: HandlerKey) {
        for waiting in self.row.events_mut().chain(self.parked.events_mut()) {
            if matches!(waiting.event, Event::Member(_)) && !waiting.course().is_through(key) {
                waiting.course_mut().done.push(key);
            }
        }
        if let Some(current) = &mut self.current {
            if matches!(current.waiting.event, Event::Member(_)) {
                current.scripts.retain(|run| run.key != key);
            }
        }
    }
}
