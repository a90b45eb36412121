//! What an operator sees of the queue, and can do with it.

use super::{HandlerQueue, Slot, Waiting, note_handled};
use crate::handler::Described;
use crate::handler::journal::HandlerKey;
use crate::ordered::OrderedSet;

/// Where an event stands with a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// The handler runs for it.
    Running,
    /// It waits for its turn.
    Waiting,
    /// The handler is paused.
    Paused,
    /// The handler is not there any more.
    Missing,
}

impl EntryState {
    /// Its name in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            EntryState::Running => "running",
            EntryState::Waiting => "waiting",
            EntryState::Paused => "paused",
            EntryState::Missing => "missing",
        }
    }
}

/// A run that is still to come, or under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's id.
    pub id: String,
    /// When the event was taken in, in microseconds since 1970.
    pub taken_micros: u64,
    /// The event as log lines name it.
    pub event: String,
    /// The handler's name; if it is missing, its filter and script.
    pub handler: Vec<u8>,
    /// How often the run has begun.
    pub attempts: u32,
    /// Where it stands.
    pub state: EntryState,
}

impl HandlerQueue {
    /// The runs to come, first things first: `limit` at most, and how many events more there are. Those
    /// on the disk alone are among these.
    pub fn entries(&self, limit: usize) -> (Vec<Entry>, usize) {
        let mut entries = self.current_entries();
        let mut shown = 0;
        let parked = self.parked.iter();
        let events = parked.chain(self.in_memory().filter(|w| w.wanted));
        for waiting in events {
            if entries.len() >= limit {
                break;
            }
            entries.extend(self.entries_of(waiting));
            shown += 1;
        }
        (entries, self.wanted_len() - shown)
    }

    /// Events that wait for some handler. Others wait, too, until it is their turn to be passed over.
    fn wanted_len(&self) -> usize {
        self.len() - self.in_memory().filter(|w| !w.wanted).count()
    }

    fn current_entries(&self) -> Vec<Entry> {
        let Some(current) = &self.current else {
            return Vec::new();
        };
        let running = current.running.iter().map(|run| (run, EntryState::Running));
        let waiting = current.scripts.iter().map(|run| (run, EntryState::Waiting));
        let entry = |(run, state): (&super::Run, EntryState)| Entry {
            handler: self.handlers.name_of(run.id).into(),
            attempts: run.attempt - u32::from(state != EntryState::Running),
            state,
            ..blank(&current.waiting)
        };
        running.chain(waiting).map(entry).collect()
    }

    fn entries_of(&self, waiting: &Waiting) -> Vec<Entry> {
        let begun = waiting.progress.as_deref().and_then(|p| p.begun);
        let owed = self.owed(waiting);
        let present = owed.present.into_iter().map(|(r, _)| Entry {
            handler: r.name.clone().into_bytes(),
            attempts: begun
                .filter(|b| b.handler == r.key)
                .map_or(0, |b| b.attempt),
            state: match r.is_paused {
                true => EntryState::Paused,
                false => EntryState::Waiting,
            },
            ..blank(waiting)
        });
        let missing = owed.missing.into_iter().map(|key| Entry {
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

    /// Gives up all that waits; the run under way goes on. Returns the number of events that some
    /// handler would have run for.
    pub fn drop_all(&mut self) -> usize {
        let count = self.wanted_len();
        let kept = self.current.as_ref().and_then(|c| c.waiting.number);
        let pending = self.pending_numbers();
        if let Some(journal) = &mut self.journal {
            let kept: Vec<u64> = kept.into_iter().chain(pending).collect();
            journal.clear_except(&kept);
        }
        for slot in std::mem::take(&mut self.waiting) {
            if let Slot::Event(waiting) = slot {
                note_handled(&mut self.handled_queries, &waiting.event);
            }
        }
        self.bytes = 0;
        self.parked.clear();
        self.parked_bytes = 0;
        count
    }

    /// Gives up what waits for the handler of that name; the run under way goes on. Returns the number
    /// of events in memory; `None`: there is no such handler.
    pub fn drop_handler(&mut self, name: &str) -> Option<usize> {
        let key = self.handlers.key_of(name)?;
        let mut count = 0;
        let mut given_up = OrderedSet::from([key]);
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut parked = std::mem::take(&mut self.parked);
        let events = waiting.iter_mut().filter_map(|slot| match slot {
            Slot::Event(waiting) => Some(waiting),
            Slot::Stored(_) => None,
        });
        for waiting in events.chain(&mut parked) {
            let present = self.owed(waiting).present.into_iter();
            let mut present = present.map(|(registered, replaces)| (registered.key, replaces));
            let Some((_, replaces)) = present.find(|(present, _)| *present == key) else {
                continue;
            };
            drop(present);
            let progress = waiting.progress.get_or_insert_default();
            progress.done.push(key);
            progress.done.extend_from_slice(&replaces);
            given_up.extend(replaces);
            count += 1;
        }
        (self.waiting, self.parked) = (waiting, parked);
        for key in &given_up {
            if let Some(journal) = &mut self.journal {
                journal.drop_handler(*key);
            }
        }
        if let Some(current) = &mut self.current {
            let before = current.scripts.len();
            current.scripts.retain(|run| run.key != key);
            count += before - current.scripts.len();
        }
        Some(count)
    }

    /// Gives up the event with that id, unless a handler runs for it. Tells whether it was there, in
    /// memory.
    pub fn drop_event(&mut self, id: &str) -> bool {
        let mut finished = Vec::new();
        let (mut found, mut bytes) = (false, 0);
        let handled = &mut self.handled_queries;
        self.waiting.retain(|slot| match slot {
            Slot::Event(waiting) if *waiting.id == *id => {
                note_handled(handled, &waiting.event);
                finished.push(waiting.number);
                bytes += waiting.cost;
                found = true;
                false
            }
            _ => true,
        });
        self.bytes -= bytes;
        let parked_bytes = &mut self.parked_bytes;
        self.parked.retain(|waiting| {
            let is_it = *waiting.id == *id;
            if is_it {
                finished.push(waiting.number);
                *parked_bytes -= waiting.cost;
                found = true;
            }
            !is_it
        });
        for number in finished {
            self.finish(number);
        }
        found
    }

    /// Holds the runs of a handler back, or lets it go on. `false`: there is no such handler.
    pub fn set_paused(&mut self, name: &str, is_paused: bool) -> bool {
        let found = self.handlers.set_paused(name, is_paused);
        if found && !is_paused {
            self.unpark();
        }
        found
    }

    /// Events in memory that wait for the handler with that key, the one under way included.
    pub fn waiting_for(&self, key: HandlerKey) -> usize {
        let current = self
            .current
            .iter()
            .flat_map(|c| c.running.iter().chain(&c.scripts));
        let current = current.filter(|run| run.key == key).count();
        let events = self.in_memory().chain(&self.parked);
        let waits = |w: &&Waiting| {
            let done = w.progress.as_ref().is_some_and(|p| p.done.contains(&key));
            !done && self.handlers.matching(&w.event).any(|r| r.key == key)
        };
        current + events.filter(waits).count()
    }
}

/// An entry of an event without its handler.
fn blank(waiting: &Waiting) -> Entry {
    Entry {
        id: waiting.id.to_string(),
        taken_micros: waiting.taken_micros,
        event: Described(&waiting.event).to_string(),
        handler: Vec::new(),
        attempts: 0,
        state: EntryState::Waiting,
    }
}
