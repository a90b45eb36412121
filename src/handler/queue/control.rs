//! The operator's view of the queue, and the actions on it.

use super::run::Run;
use super::{Fifo, HandlerQueue, StoredProgress, Waiting, note_handled};
use crate::handler::journal::HandlerKey;
use crate::handler::{Described, Registered};
use crate::ordered::OrderedSet;
use crate::serf::Event;
use crate::time::Instant;
use crate::wire::NodeName;

/// State of an event with respect to one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// The handler is running for it.
    Running,
    /// It waits in the queue.
    Waiting,
    /// Its hold time has not passed: the member may come back.
    Held,
    /// It is being debounced.
    Settling,
    /// It waits for a retry.
    Retrying,
    /// The handler is paused.
    Paused,
    /// The handler no longer exists.
    Missing,
}

impl EntryState {
    /// Returns the name of the state in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            EntryState::Running => "running",
            EntryState::Waiting => "waiting",
            EntryState::Held => "held",
            EntryState::Settling => "settling",
            EntryState::Retrying => "retrying",
            EntryState::Paused => "paused",
            EntryState::Missing => "missing",
        }
    }
}

/// Limit for the members named in an entry: the list shows events, not members.
const ENTRY_MEMBERS_MAX: usize = 3;

/// A pending or active run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Id of the event.
    pub id: String,
    /// When this node received the event, in microseconds since 1970.
    pub taken_micros: u64,
    /// The event as log lines name it.
    pub event: String,
    /// Names of the first `ENTRY_MEMBERS_MAX` members of a member event.
    pub members: Vec<NodeName>,
    /// Number of members of a member event.
    pub member_count: usize,
    /// Name of the handler; its filter and script if it is missing, or was removed and had no configured name.
    pub handler: Vec<u8>,
    /// How often the run has begun.
    pub attempts: u32,
    /// State of the run.
    pub state: EntryState,
}

impl HandlerQueue {
    /// Returns at most `limit` pending runs in order, and how many more events wait, including those only on
    /// disk.
    pub fn entries(&self, limit: usize) -> (Vec<Entry>, usize) {
        let mut entries = self.current_entries();
        let mut shown = 0;
        for waiting in self.requested.iter().take(limit) {
            let mut entry = blank(waiting);
            entry.handler = self
                .handlers
                .name_of(waiting.progress().requested_for)
                .into();
            entries.push(entry);
            shown += 1;
        }
        for registered in self.handlers.list() {
            for (waiting, state) in registered.waiting() {
                if entries.len() >= limit {
                    break;
                }
                entries.push(registered.entry(waiting, state));
                shown += 1;
            }
        }
        let parked = self.parked.events();
        let events = parked.chain(self.fifo.events().filter(|w| w.wanted));
        for waiting in events {
            if entries.len() >= limit {
                break;
            }
            entries.extend(self.entries_of(waiting));
            shown += 1;
        }
        (entries, self.wanted_len() - shown)
    }

    /// Returns how many waiting events some handler wants. The others stay until they reach the head of the
    /// FIFO.
    fn wanted_len(&self) -> usize {
        self.len() - self.fifo.events().filter(|w| !w.wanted).count()
    }

    /// Returns the name of a run's handler. One that was removed has its configured name, or its filter and
    /// script.
    fn name_of_run(&self, run: &Run) -> Vec<u8> {
        let name = self.handlers.name_of(run.id);
        let settings = &run.settings;
        match (name.is_empty(), &settings.name) {
            (false, _) => name.into(),
            (true, Some(name)) => name.as_bytes().to_vec(),
            (true, None) => settings.text(),
        }
    }

    fn current_entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for current in self.current.iter().chain(&self.suspended) {
            let running = current.running.iter().map(|run| (run, EntryState::Running));
            let waiting = current.scripts.iter().map(|run| (run, EntryState::Waiting));
            entries.extend(running.chain(waiting).map(|(run, state)| Entry {
                handler: self.name_of_run(run),
                attempts: run.attempt - u32::from(state != EntryState::Running),
                state,
                ..blank(&current.waiting)
            }));
        }
        entries
    }

    fn entries_of(&self, waiting: &Waiting) -> Vec<Entry> {
        let recipients = self.recipients(waiting);
        let present = recipients.present.into_iter().map(|r| r.registered);
        let present = present.map(|registered| registered.entry(waiting, registered.state()));
        let missing = recipients.missing.into_iter().map(|key| Entry {
            handler: self.text_of(key),
            state: EntryState::Missing,
            ..blank(waiting)
        });
        present.chain(missing).collect()
    }

    fn text_of(&self, key: HandlerKey) -> Vec<u8> {
        let text = self.journal.as_ref().and_then(|journal| journal.text(key));
        text.map_or_else(|| format!("{key:016x}").into_bytes(), <[u8]>::to_vec)
    }

    pub(super) fn is_dropped(&self, waiting: &Waiting, key: HandlerKey) -> bool {
        let (Some(number), Some(journal)) = (waiting.number, &self.journal) else {
            return false;
        };
        journal.is_dropped(key, number)
    }

    /// Drops all waiting events; the active run continues. Returns the number of events that some handler
    /// wanted.
    pub fn drop_all(&mut self) -> usize {
        let count = self.wanted_len();
        let under_way = self.current.iter().chain(&self.suspended);
        let kept: Vec<u64> = under_way.flat_map(|c| c.waiting.numbers()).collect();
        let pending = self.pending_numbers();
        for waiting in self.fifo.take() {
            note_handled(&mut self.handled_queries, &waiting.event);
        }
        // The event of a lane's active run may also have been in the FIFO, for other handlers.
        let under_way = self.current.iter().chain(&self.suspended);
        let of_lanes = under_way.filter(|c| c.lane.is_some());
        let of_lanes: Vec<u64> = of_lanes.flat_map(|c| c.waiting.numbers()).collect();
        for number in of_lanes {
            self.finish(Some(number));
        }
        for index in 0..self.handlers.list().len() {
            self.drop_lane(index);
        }
        if let Some(journal) = &mut self.journal {
            let kept: Vec<u64> = kept.into_iter().chain(pending).collect();
            journal.clear_except(&kept);
        }
        self.stored_progress = StoredProgress::default();
        self.parked = Fifo::default();
        count
    }

    /// Drops the events in a handler's lane; returns how many.
    fn drop_lane(&mut self, index: usize) -> usize {
        let Some(registered) = self.handlers.get_mut(index) else {
            return 0;
        };
        let (id, key) = (registered.id, registered.key);
        let sync = registered.lane.sync.take();
        // Members whose departures were dropped count as gone from the beginning.
        let events = registered.lane.clear(Instant::ORIGIN);
        let requested = self.drop_requested(&|waiting| waiting.progress().requested_for == id);
        let count = events.len() + usize::from(sync.is_some()) + requested;
        self.lanes_are_through(events, key);
        self.give_up_tickets(sync.map(|sync| sync.tickets).unwrap_or_default());
        count
    }

    /// Drops all events that wait for the handler with that name; the active run continues. Returns how many
    /// of them were in memory; `None`: there is no such handler.
    pub fn drop_handler(&mut self, name: &str) -> Option<usize> {
        let index = self.handlers.index_of(name)?;
        let key = self.handlers.get(index)?.key;
        let mut count = 0;
        let mut given_up = OrderedSet::from([key]);
        let mut fifo = std::mem::take(&mut self.fifo);
        let mut parked = std::mem::take(&mut self.parked);
        for waiting in fifo.events_mut().chain(parked.events_mut()) {
            let mut present = self.recipients(waiting).present.into_iter();
            let recipient = present.find(|recipient| recipient.index == index);
            if let Some(replaces) = recipient.map(|recipient| recipient.replaces) {
                drop(present);
                let done = &mut waiting.progress_mut().done;
                done.push(key);
                done.extend_from_slice(&replaces);
                given_up.extend(replaces);
                count += 1;
            }
        }
        (self.fifo, self.parked) = (fifo, parked);
        for key in &given_up {
            if let Some(journal) = &mut self.journal {
                journal.drop_handler(*key);
            }
        }
        count += self.drop_lane(index);
        for current in self.current.iter_mut().chain(&mut self.suspended) {
            let before = current.scripts.len();
            current.scripts.retain(|run| run.key != key);
            count += before - current.scripts.len();
        }
        // Processes parked events again, to finish those that waited only for this handler.
        self.unpark();
        Some(count)
    }

    /// Drops the event with that id, unless a handler is running for it. Returns whether it was found in
    /// memory.
    pub fn drop_event(&mut self, id: &str) -> bool {
        let mut finished = Vec::new();
        let handled = &mut self.handled_queries;
        let mut is_kept = |waiting: &mut Waiting| {
            let is_it = *waiting.id == *id;
            if is_it {
                note_handled(handled, &waiting.event);
                finished.push(waiting.number);
            }
            !is_it
        };
        self.fifo.retain(&mut is_kept);
        self.parked.retain(&mut is_kept);
        let mut found = !finished.is_empty();
        for number in finished {
            self.finish(number);
        }
        for index in 0..self.handlers.list().len() {
            let Some(registered) = self.handlers.get_mut(index) else {
                break;
            };
            let key = registered.key;
            let mut gone = registered.lane.retain(|waiting| *waiting.id != *id);
            gone.extend(registered.lane.hold.remove(id));
            found |= !gone.is_empty();
            self.lanes_are_through(gone, key);
        }
        found | (self.drop_requested(&|waiting| *waiting.id == *id) > 0)
    }

    /// Pauses or resumes a handler. Returns `false` if there is no such handler.
    pub fn set_paused(&mut self, name: &str, is_paused: bool) -> bool {
        let found = self.handlers.set_paused(name, is_paused);
        if found && !is_paused {
            self.unpark();
        }
        found
    }

    /// Returns how many events in memory wait for the handler with that key, including the one being
    /// processed.
    pub fn waiting_for(&self, key: HandlerKey) -> usize {
        let under_way = self.current.iter().chain(&self.suspended);
        let runs = under_way.flat_map(|c| c.running.iter().chain(&c.scripts));
        let under_way = runs.filter(|run| run.key == key).count();
        let registered = self.handlers.list().iter().find(|r| r.key == key);
        let Some(registered) = registered else {
            return under_way;
        };
        let events = self.fifo.events().chain(self.parked.events());
        let is_over = |w: &Waiting| {
            let is_late = registered.comes_after(w.progress()) && !w.recorded.contains(&key);
            is_late || w.progress().is_through(key)
        };
        let waits = |w: &&Waiting| !is_over(w) && registered.wants(&w.event);
        let in_lane = registered.waiting().count() + usize::from(registered.lane.sync.is_some());
        let requested = self.requested.iter();
        let requested = requested.filter(|w| w.progress().requested_for == registered.id);
        under_way + requested.count() + in_lane + events.filter(waits).count()
    }
}

impl Registered {
    /// Returns the state of an event that only waits for this handler to be able to run.
    fn state(&self) -> EntryState {
        match (self.is_paused, self.lane.pause) {
            (true, _) => EntryState::Paused,
            (false, Some(_)) => EntryState::Retrying,
            (false, None) => EntryState::Waiting,
        }
    }

    /// Returns the events in its lane with their states.
    fn waiting(&self) -> impl Iterator<Item = (&Waiting, EntryState)> {
        let ready = self.state();
        let lane = &self.lane;
        let held = lane.hold.iter().map(|w| (w, EntryState::Held));
        let settling = lane.settling().map(|w| (w, EntryState::Settling));
        let ready = lane.ready.iter().map(move |w| (w, ready));
        ready.chain(settling).chain(held)
    }

    fn entry(&self, waiting: &Waiting, state: EntryState) -> Entry {
        let progress = waiting.progress();
        let begun = progress.begun.filter(|begun| begun.handler == self.key);
        let ended = progress.attempts_ended(self.key);
        Entry {
            handler: self.name.clone().into_bytes(),
            attempts: begun.map_or(ended, |begun| begun.attempt),
            state,
            ..blank(waiting)
        }
    }
}

/// Returns an entry for an event, without the handler.
fn blank(waiting: &Waiting) -> Entry {
    let members = match &waiting.event {
        Event::Member(event) => &event.members[..],
        Event::User(_) | Event::Query(_) => &[],
    };
    let first = members.iter().take(ENTRY_MEMBERS_MAX);
    Entry {
        members: first.map(|member| member.name.clone()).collect(),
        member_count: members.len(),
        id: waiting.id.to_string(),
        taken_micros: waiting.taken_micros,
        event: Described(&waiting.event).to_string(),
        handler: Vec::new(),
        attempts: 0,
        state: EntryState::Waiting,
    }
}
