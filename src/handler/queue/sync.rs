//! `sync` runs: they get the current state of the cluster instead of a change.

use super::waiting::Progress;
use super::{HandlerQueue, NoRun, Waiting};
use crate::handler::journal::HandlerKey;
use crate::handler::{EventFilter, Registered};
use crate::ordered::OrderedMap;
use crate::serf::Event;
use crate::wire::NodeName;

/// Numbers of the first and the last undelivered change of a member.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: u64,
    last: u64,
}

/// Changes of members that the cluster's state already includes and that were not delivered yet. Numbered
/// from 1.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_name: OrderedMap<NodeName, Pending>,
    last: u64,
    /// The last change that some handler's `sync` included.
    synced: u64,
}

impl Changes {
    pub(super) fn note(&mut self, name: &NodeName) {
        self.last += 1;
        let (first, last) = (self.last, self.last);
        let pending = || Pending { first, last };
        let pending = self.by_name.get_or_insert_with(name.clone(), pending);
        pending.last = last;
    }

    pub(super) fn forget(&mut self) {
        self.by_name.clear();
    }

    /// Begins a `sync` run. Returns the number of the last change that it includes.
    pub(super) fn sync(&mut self) -> u64 {
        self.synced = self.last;
        self.last
    }

    /// Stores in a delivered event which of its changes a `sync` may have included.
    pub(super) fn follow(&mut self, waiting: &mut Waiting) {
        let Event::Member(event) = &waiting.event else {
            return;
        };
        let mut known = OrderedMap::new();
        for member in &event.members {
            let change = self.by_name.remove(&member.name).map(|p| p.last);
            if let Some(change) = change.filter(|change| *change <= self.synced) {
                known.insert(member.name.clone(), change);
            }
        }
        if !known.is_empty() {
            waiting.progress_mut().known = Some(Box::new(known));
        }
    }
}

impl Progress {
    /// Returns whether a `sync` that included all changes up to `synced` covers the event for this member.
    pub(super) fn is_known(&self, name: &NodeName, synced: u64) -> bool {
        let known = self.known.as_ref().and_then(|known| known.get(name));
        known.is_some_and(|change| *change <= synced)
    }
}

impl HandlerQueue {
    /// Requests a `sync` run of every handler with that filter. Returns how many there are.
    pub fn sync_all(&mut self) -> usize {
        let names = self.sync_names();
        let requested = names.iter().filter(|name| self.ask_for_sync(name).is_ok());
        requested.count()
    }

    /// Requests a `sync` run of one handler; the ticket, if any, is returned by [`Self::poll_ended`].
    ///
    /// # Errors
    /// If there is no such handler, it lacks the filter `sync`, or it is paused. A paused handler still gets
    /// its `sync` when it is resumed.
    pub fn sync(&mut self, name: &str, ticket: Option<u64>) -> Result<(), NoRun> {
        let index = self.ask_for_sync(name)?;
        let registered = self.handlers.get_mut(index).filter(|r| !r.is_paused);
        let lane = registered.map(|r| &mut r.lane).ok_or(NoRun::Paused)?;
        lane.sync.get_or_insert_default().tickets.extend(ticket);
        Ok(())
    }

    /// Returns the names of the handlers with the filter `sync`.
    pub fn sync_names(&self) -> Vec<String> {
        let handlers = self.handlers.list().iter();
        let wanting = handlers.filter(|r| r.settings.on.contains(&EventFilter::Sync));
        wanting.map(|r| r.name.clone()).collect()
    }

    /// Notes that changes of a member cancelled out and will not be delivered. Handlers whose last
    /// `sync` included only a part of them get another one.
    pub fn note_unchanged(&mut self, name: &NodeName) {
        let Some(pending) = self.changes.by_name.remove(name) else {
            return;
        };
        for name in self.sync_names() {
            let index = self.handlers.index_of(&name);
            let registered = index.and_then(|index| self.handlers.get_mut(index));
            if let Some(Registered { lane, .. }) = registered {
                if (pending.first..pending.last).contains(&lane.synced) {
                    lane.sync.get_or_insert_default();
                }
            }
        }
    }

    fn ask_for_sync(&mut self, name: &str) -> Result<usize, NoRun> {
        let index = self.handlers.index_of(name).ok_or(NoRun::Unknown)?;
        let registered = self.handlers.get_mut(index).ok_or(NoRun::Unknown)?;
        if !registered.settings.on.contains(&EventFilter::Sync) {
            return Err(NoRun::Unwanted);
        }
        registered.lane.sync.get_or_insert_default();
        Ok(index)
    }

    /// Marks member events in the FIFO as finished for a handler that gets the current state.
    pub(super) fn pass_members_over(&mut self, key: HandlerKey) {
        for waiting in self.fifo.events_mut().chain(self.parked.events_mut()) {
            if matches!(waiting.event, Event::Member(_)) && !waiting.progress().is_through(key) {
                waiting.progress_mut().done.push(key);
            }
        }
        if let Some(current) = &mut self.current {
            if matches!(current.waiting.event, Event::Member(_)) {
                current.scripts.retain(|run| run.key != key);
            }
        }
    }
}
