//! Changes of the handler list, and the member data that handlers need.

use super::fifo::Slot;
use super::{HandlerQueue, Progress, Waiting};
use crate::handler::journal::HandlerKey;
use crate::handler::moment::Moment;
use crate::handler::registered::Registered;
use crate::handler::{EventFilter, HandlerSettings};
use crate::ordered::sort_by;
use crate::serf::{Event, Member, MemberEventKind};
use crate::time::Instant;
use crate::wire::NodeName;

impl HandlerQueue {
    /// Replaces the handlers on reload. The new list applies from the next event on; the remaining runs of
    /// the current event are unchanged. Events in the lane of a removed handler go back to the FIFO, where an
    /// edited handler finds them. New and changed handlers with the filter `sync` get a `sync` run. Returns
    /// how many events were dropped because no handler wants them any more.
    ///
    /// [`Self::know_members`] must be called next.
    pub fn replace_handlers(&mut self, handlers: Vec<HandlerSettings>) -> usize {
        let keys: Vec<HandlerKey> = self.handlers.list().iter().map(|r| r.key).collect();
        let newest_id = self.handlers.list().iter().map(|r| r.id).max();
        let (gone, changed) = self.handlers.replace(handlers);
        for index in changed {
            let registered = self.handlers.get_mut(index);
            let synced = registered.filter(|r| r.settings.on.contains(&EventFilter::Sync));
            if let Some(registered) = synced {
                registered.lane.sync.get_or_insert_default();
            }
        }
        self.drop_unasked_syncs();
        for waiting in self.fifo.events_mut() {
            // Processing the event will show whether a handler wants it.
            waiting.wanted = true;
        }
        self.is_listed = false;
        self.unpark();
        for handler in &gone {
            self.close_to_later(handler.key, newest_id.unwrap_or_default());
        }
        let dropped = self.return_to_row(gone, &keys);
        self.describe_handlers();
        dropped
    }

    /// Tells the journal the handlers' texts, which decide later which handler replaces a missing one.
    pub(super) fn describe_handlers(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for registered in self.handlers.list() {
            journal.describe_again(registered.key, &registered.text());
        }
    }

    /// Cancels pending `sync` runs of handlers that no longer have the filter.
    fn drop_unasked_syncs(&mut self) {
        for index in 0..self.handlers.list().len() {
            let registered = self.handlers.get_mut(index);
            let unasked = registered.filter(|r| !r.settings.on.contains(&EventFilter::Sync));
            let sync = unasked.and_then(|r| r.lane.sync.take());
            self.give_up_tickets(sync.map(|sync| sync.tickets).unwrap_or_default());
        }
    }

    /// Reserves the events that the lane of a removed handler has taken: they go to its replacement, but not
    /// to other handlers with numbers above `newest_id`.
    fn close_to_later(&mut self, key: HandlerKey, newest_id: u64) {
        let close = |progress: &mut Progress| progress.close(key, newest_id);
        self.stored_progress.close(key, newest_id);
        for current in self.current.iter_mut().chain(&mut self.suspended) {
            current.waiting.with_progress(close);
        }
        for waiting in self.fifo.events_mut() {
            waiting.with_progress(close);
        }
    }

    /// Moves events from the lanes of removed handlers back to the FIFO. `keys` are those of all handlers
    /// before the reload. Returns how many events no handler wants any more.
    fn return_to_row(&mut self, gone: Vec<Registered>, keys: &[HandlerKey]) -> usize {
        let mut returned: Vec<Waiting> = Vec::new();
        let mut unwanted = Vec::new();
        for mut handler in gone {
            let key = handler.key;
            let sync = handler.lane.sync.take();
            self.give_up_tickets(sync.map(|sync| sync.tickets).unwrap_or_default());
            for mut event in handler.lane.clear(Instant::ORIGIN) {
                let progress = event.take_progress().unwrap_or_default();
                self.give_up_tickets(progress.tickets);
                // Member events were recorded for this handler alone.
                let is_members = matches!(event.event, Event::Member(_));
                let own = event.number.filter(|_| is_members);
                for number in progress.merged.into_iter().chain(own) {
                    self.lane_is_through(number, key, &progress.replaces);
                }
                event.number = event.number.filter(|_| !is_members);
                if let Some(number) = event.number {
                    self.holders.release(number, key);
                    if self.is_due_again(number, key) {
                        continue;
                    }
                    if let Some(it) = returned.iter_mut().find(|w| w.number == Some(number)) {
                        it.recorded = [&it.recorded[..], &[key]].concat().into();
                        continue;
                    }
                    event.recorded = [key].into();
                }
                let others = keys.iter().copied().filter(|other| *other != key);
                event.set_progress(Some(Box::new(Progress {
                    done: others.collect(),
                    ..Progress::default()
                })));
                match self.is_wanted(&event) {
                    true => returned.push(event),
                    false => unwanted.push(event),
                }
            }
        }
        sort_by(&mut returned, |a, b| a.position.cmp(&b.position));
        for event in returned.into_iter().rev() {
            self.fifo.push_front(event);
        }
        unwanted.iter().for_each(|w| self.query_ends(&w.event));
        unwanted.len()
    }

    /// If the FIFO still has the event, makes it due again to that handler or its replacement. Returns
    /// whether it has.
    fn is_due_again(&mut self, number: u64, key: HandlerKey) -> bool {
        if self.stored_progress.release(number, key) {
            return true;
        }
        for current in self.current.iter_mut().chain(&mut self.suspended) {
            if current.waiting.number == Some(number) {
                // The runs of the current event are fixed, so the event must be processed again.
                current.waiting.progress_mut().taken.retain(|k| *k != key);
                (current.is_held, current.expires_micros) = (true, 0);
                return true;
            }
        }
        let fifo = self.fifo.events_mut();
        let mut fifo = fifo.filter(|w| w.number == Some(number));
        let found = fifo.next().map(Waiting::progress_mut);
        found
            .map(|progress| progress.taken.retain(|k| *k != key))
            .is_some()
    }

    /// Stores the tags of all current members, for handlers that compare them before and after an update.
    pub fn know_members<'a>(&mut self, members: impl Iterator<Item = &'a Member>) {
        self.known_tags.forget();
        if self.handlers.want_tags {
            for member in members {
                self.known_tags.learn(member);
            }
        }
    }

    /// Notes a change of a member when the core sees it, before it is coalesced and delivered.
    pub fn note_member(&mut self, name: &NodeName, kind: MemberEventKind, now: Instant) {
        match self.handlers.want_sync {
            true => self.changes.note(name),
            false => self.changes.forget(),
        }
        if !self.handlers.hold_departures {
            self.departed.clear();
            return;
        }
        match kind {
            MemberEventKind::Failed | MemberEventKind::Leave => {
                self.departed.get_or_insert_with(name.clone(), || now);
            }
            _ => drop(self.departed.remove(name)),
        }
    }

    /// Offers the events in the FIFO to lanes that may have missed them, after a reload or after reading from
    /// disk.
    pub(super) fn enlist_row(&mut self, at: Moment) {
        if std::mem::replace(&mut self.is_listed, true) {
            return;
        }
        let mut slots = self.fifo.lend();
        for waiting in slots.iter_mut().filter_map(Slot::event_mut) {
            self.enlist(waiting, at, false);
            waiting.wanted = self.is_wanted(waiting);
        }
        self.fifo.give_back(slots);
    }
}
