//! The queue and its journal.
//!
//! A user event is recorded when the core takes it in ([`HandlerQueue::take_in`]), with the handlers that
//! it is for; each run is recorded when it begins and when it ends. After a crash the events that wait
//! are read back a piece at a time when it is their turn. A run that had begun is repeated once.
//!
//! An event is owed once to each handler that it was recorded for. A handler is its filter and script. If
//! it is missing when the event's turn comes, one that was not there before takes its place if it has the
//! same filter or the same script: it was edited. What that one has done is not done again by the old
//! one, should it come back. Without such a successor the event waits for the missing handler. Other new
//! handlers get an event only if none has had it before.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{HandlerQueue, Run, Slot, Waiting, note_handled};
use crate::count::Count;
use crate::handler::Described;
use crate::handler::journal::{HandlerKey, Journal, ProcessId, Progress, Recovered};
use crate::handler::moment::Moment;
use crate::handler::registered::Registered;
use crate::ordered::OrderedMap;
use crate::serf::{Event, LamportTime, UserEvent, event_hash};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// How long a user event that the journal has may wait.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often a run may begin: once, and once again if the agent ended during it.
const ATTEMPTS_MAX: u32 = 2;
/// Events that the journal has and that were not handed over, at most. The core holds 4,096 back for
/// coalescing, and fewer for other reasons; one beyond is not recorded.
const PENDING_MAX: usize = 8192;

/// Events between their intake and their hand-over, by name: the coalescer drops all of a name but those
/// of the highest time.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_name: OrderedMap<Vec<u8>, Vec<Unhanded>>,
    count: usize,
}

#[derive(Debug)]
struct Unhanded {
    ltime: LamportTime,
    hash: u64,
    coalesce: bool,
    number: u64,
    taken_micros: u64,
    handlers: Vec<HandlerKey>,
}

/// What an event is still for.
pub(super) struct Owed<'a> {
    /// Handlers, each with the missing ones that it replaces.
    pub(super) present: Vec<(&'a Registered, Vec<HandlerKey>)>,
    /// Missing ones that are waited for.
    pub(super) missing: Vec<HandlerKey>,
}

impl Run {
    /// The handlers that are done with the event when it is.
    fn keys(&self) -> impl Iterator<Item = HandlerKey> + '_ {
        std::iter::once(self.key).chain(self.replaces.iter().copied())
    }
}

impl HandlerQueue {
    /// Goes on with a journal of an earlier life, or begins an empty one. To be called before the first
    /// event.
    pub fn attach_journal(&mut self, journal: Journal, recovered: Recovered) {
        for (number, progress) in recovered.progress {
            if let Some(process) = progress.begun.and_then(|begun| begun.process) {
                self.awaited.push_back(process);
            }
            self.progress.insert(number, progress);
        }
        for recorded in recovered.coalescing {
            self.note_pending(
                &recorded.event,
                recorded.number,
                recorded.taken_micros,
                recorded.handlers,
            );
        }
        self.waiting.extend(journal.stored().map(Slot::Stored));
        self.journal = Some(journal);
    }

    /// The journal, if there is one.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// The journal, for whoever writes and reads its files.
    pub fn journal_mut(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    /// A process of an earlier life that must end before any handler is run.
    pub fn awaited(&self) -> Option<ProcessId> {
        self.awaited.front().copied()
    }

    /// It has ended, or its end is not waited for any longer.
    pub fn handle_gone(&mut self) {
        self.awaited.pop_front();
    }

    /// The core has taken a user event in; it is recorded if some handler wants it.
    pub fn take_in(&mut self, event: &UserEvent, at: impl Into<Moment>) {
        let at = at.into();
        let Some(journal) = &mut self.journal else {
            return;
        };
        let event = Event::User(event.clone());
        let durable = self.handlers.matching(&event);
        let durable = durable.filter(|r| r.is_durable());
        let mut keys = Vec::new();
        for registered in durable {
            journal.describe(registered.key, &registered.text());
            keys.push(registered.key);
        }
        let Event::User(event) = event else {
            return;
        };
        if keys.is_empty() || self.pending.count >= PENDING_MAX {
            return;
        }
        if let Some(number) = journal.take(&event, at.unix_micros, event.coalesce, keys.clone()) {
            self.note_pending(&event, number, at.unix_micros, keys);
        }
    }

    /// Numbers of the events that were not handed over yet.
    pub(super) fn pending_numbers(&self) -> Vec<u64> {
        let unhanded = self.pending.by_name.values().flatten();
        unhanded.map(|unhanded| unhanded.number).collect()
    }

    fn note_pending(
        &mut self,
        event: &UserEvent,
        number: u64,
        taken_micros: u64,
        handlers: Vec<HandlerKey>,
    ) {
        let unhanded = Unhanded {
            ltime: event.ltime,
            hash: event_hash(&event.name, &event.payload),
            coalesce: event.coalesce,
            number,
            taken_micros,
            handlers,
        };
        self.pending.count += 1;
        let of_name = &mut self.pending.by_name;
        of_name
            .get_or_insert_with(event.name.clone(), Vec::new)
            .push(unhanded);
    }

    /// When the agent took an event in that it is about to hand over, in microseconds since 1970.
    pub fn taken_micros(&self, event: &Event, at: Moment) -> u64 {
        let Event::User(event) = event else {
            return at.unix_micros;
        };
        let hash = event_hash(&event.name, &event.payload);
        let mut of_name = self.pending.by_name.get(&event.name).into_iter().flatten();
        let it = of_name.find(|u| u.ltime == event.ltime && u.hash == hash);
        it.map_or(at.unix_micros, |unhanded| unhanded.taken_micros)
    }

    /// A user event is handed over: its number in the journal, when it came, and for which handlers.
    /// Those of its name that the coalescer has dropped for it are finished.
    pub(super) fn handed_over(
        &mut self,
        event: &UserEvent,
        at: Moment,
    ) -> (Option<u64>, u64, Box<[HandlerKey]>) {
        let nothing = (None, at.unix_micros, Box::default());
        let Some(of_name) = self.pending.by_name.get_mut(&event.name) else {
            return nothing;
        };
        let hash = event_hash(&event.name, &event.payload);
        let (mut found, mut superseded) = (None, Vec::new());
        let before = of_name.len();
        for unhanded in std::mem::take(of_name) {
            if unhanded.ltime == event.ltime && unhanded.hash == hash {
                found = Some(unhanded);
            } else if event.coalesce && unhanded.coalesce && unhanded.ltime < event.ltime {
                superseded.push(unhanded.number);
            } else {
                of_name.push(unhanded);
            }
        }
        self.pending.count -= before - of_name.len();
        if of_name.is_empty() {
            self.pending.by_name.remove(&event.name);
        }
        for number in superseded {
            self.finish(Some(number));
        }
        let Some(found) = found else {
            return nothing;
        };
        if let Some(journal) = self.journal.as_mut().filter(|_| event.coalesce) {
            journal.handed_over(found.number);
        }
        (
            Some(found.number),
            found.taken_micros,
            found.handlers.into(),
        )
    }

    /// Whether an event can wait on the disk alone.
    pub(super) fn may_spill(&self, waiting: &Waiting) -> bool {
        let journal = self
            .journal
            .as_ref()
            .filter(|journal| !journal.is_failing());
        let recorded = |number| journal.is_some_and(|journal| journal.contains(number));
        waiting.wanted && waiting.number.is_some_and(recorded)
    }

    /// Nothing more is to be done for an event.
    pub(super) fn finish(&mut self, number: Option<u64>) {
        if let (Some(number), Some(journal)) = (number, &mut self.journal) {
            journal.finished(number);
        }
    }

    /// What an event is still for.
    pub(super) fn owed<'a>(&'a self, waiting: &'a Waiting) -> Owed<'a> {
        let done = waiting.progress.as_deref().map_or(&[][..], |p| &p.done);
        let is_done = |key: HandlerKey| done.contains(&key) || self.is_dropped(waiting, key);
        let text = |key| self.journal.as_ref().and_then(|journal| journal.text(key));
        let is_missing = |key: &HandlerKey| !is_done(*key) && !self.handlers.has_key(*key);
        let recorded = waiting.number.map_or(&[][..], |_| &waiting.recorded);
        let missing: Vec<_> = recorded.iter().copied().filter(is_missing).collect();
        let (mut present, mut replaced) = (Vec::new(), Vec::new());
        for registered in self.handlers.matching(&waiting.event) {
            let is_new = waiting.number.is_some() && !recorded.contains(&registered.key);
            let succeeds = |key: &&HandlerKey| {
                text(**key).is_some_and(|text| registered.succeeds(**key, text))
            };
            let replaces: Vec<_> = match is_new && registered.is_durable() {
                true => missing.iter().filter(succeeds).copied().collect(),
                false => Vec::new(),
            };
            replaced.extend_from_slice(&replaces);
            let is_late = is_new && !done.is_empty() && replaces.is_empty();
            if !is_late && !is_done(registered.key) {
                present.push((registered, replaces));
            }
        }
        let is_replaced = |key: &HandlerKey| replaced.contains(key);
        Owed {
            present,
            missing: missing.into_iter().filter(|k| !is_replaced(k)).collect(),
        }
    }

    /// The handlers to be run for an event, and whether others are left for it that cannot be.
    pub(super) fn plan(&mut self, waiting: &mut Waiting) -> (VecDeque<Run>, bool) {
        let begun = waiting.progress.as_deref().and_then(|p| p.begun);
        let owed = self.owed(waiting);
        let (mut runs, mut is_held) = (VecDeque::new(), !owed.missing.is_empty());
        let mut given_up = Vec::new();
        for (registered, replaces) in owed.present {
            let key = registered.key;
            if registered.is_paused {
                // Nobody waits for the answer to a query so long.
                is_held |= !matches!(waiting.event, Event::Query(_));
                continue;
            }
            let begun = begun.filter(|begun| begun.handler == key);
            let attempt = begun.map_or(1, |begun| begun.attempt.saturating_add(1));
            if attempt > ATTEMPTS_MAX || (begun.is_some() && registered.is_once()) {
                given_up.push((key, replaces, registered.text(), attempt));
                continue;
            }
            runs.push_back(Run {
                id: registered.id,
                key,
                settings: Arc::clone(&registered.settings),
                replaces,
                script: registered.settings.action.text(),
                attempt,
            });
        }
        let is_last = runs.is_empty() && !is_held;
        for (key, replaces, text, attempt) in given_up {
            self.give_up(waiting, &text, attempt);
            let progress = waiting.progress.get_or_insert_default();
            for key in std::iter::once(key).chain(replaces) {
                if let (Some(journal), Some(number), false) =
                    (&mut self.journal, waiting.number, is_last)
                {
                    journal.done(number, key);
                }
                progress.done.push(key);
            }
            progress.begun = None;
        }
        (runs, is_held)
    }

    fn give_up(&mut self, waiting: &Waiting, text: &[u8], attempt: u32) {
        self.counters.given_up += 1;
        let (text, event, id) = (Escaped(text), Described(&waiting.event), &waiting.id);
        let times = if attempt > 2 { "twice" } else { "once" };
        log::error!(
            target: "agent",
            "Giving up handler '{text}' for '{event}' ({id}): the agent has ended {times} while it ran"
        );
    }

    /// A run is about to begin.
    pub(super) fn run_begins(&mut self, run: &Run, at: Moment) {
        let Some(current) = &self.current else {
            return;
        };
        if run.attempt > 1 {
            self.counters.repeated += 1;
            log::warn!(
                target: "agent",
                "Repeating handler '{}' for '{}' ({}): the agent had ended before it",
                Escaped(&run.script),
                Described(&current.waiting.event),
                current.waiting.id
            );
        }
        let is_once = self.handlers.is_once(run.id);
        let (Some(journal), Some(number)) = (&mut self.journal, current.waiting.number) else {
            return;
        };
        match is_once {
            true => run.keys().for_each(|key| journal.done(number, key)),
            false => journal.begun(number, run.key, run.attempt, at.unix_micros),
        }
    }

    /// The run that [`Self::poll_invocation`] gave was started as this process.
    pub fn handle_started(&mut self, process: ProcessId) {
        let Some(current) = &self.current else {
            return;
        };
        let (Some(run), Some(number)) = (&current.running, current.waiting.number) else {
            return;
        };
        let is_once = self.handlers.is_once(run.id);
        if let Some(journal) = self.journal.as_mut().filter(|_| !is_once) {
            journal.process(number, run.key, process);
        }
    }

    /// Whether the run under way is one that the journal wants to know the process of.
    pub fn wants_process(&self) -> bool {
        let number = self.current.as_ref().and_then(|c| c.waiting.number);
        let journal = self.journal.as_ref();
        number.is_some_and(|number| journal.is_some_and(|j| j.contains(number)))
    }

    /// A handler is done with the current event.
    pub(super) fn run_is_done(&mut self, run: &Run) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.done.extend(run.keys());
        let is_last = current.scripts.is_empty() && !current.is_held;
        let number = current.waiting.number;
        if is_last {
            // In one write with the beginning of what comes next.
            return self.finish(number);
        }
        if let (Some(number), Some(journal)) = (number, &mut self.journal) {
            run.keys().for_each(|key| journal.done(number, key));
        }
    }

    /// All that could be run for the current event was run.
    pub(super) fn end_current(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        note_handled(&mut self.handled_queries, &current.waiting.event);
        if !current.is_held {
            return self.finish(current.waiting.number);
        }
        let done = current.done;
        current.waiting.progress = Some(Box::new(Progress { done, begun: None }));
        self.park(current.waiting);
    }

    /// The node has left for good: what waits is given up.
    pub fn forget_all(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let count = journal.len();
        if count > 0 {
            log::warn!(target: "agent", "Leaving: dropping {} that waited in the journal", Count(count as u64, "user event"));
        }
        journal.clear();
        self.waiting
            .retain(|slot| matches!(slot, Slot::Event(w) if w.number.is_none()));
        self.bytes = self.in_memory().map(|w| w.cost).sum();
        self.parked.clear();
        self.parked_bytes = 0;
        self.pending = Pending::default();
    }

    /// Events that wait in memory and are not in the journal, which works again: they are recorded.
    pub fn record_unrecorded(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for slot in &mut self.waiting {
            let Slot::Event(waiting) = slot else {
                continue;
            };
            let is_recorded = waiting
                .number
                .is_some_and(|number| journal.contains(number));
            let (false, Event::User(event)) = (is_recorded, &waiting.event) else {
                continue;
            };
            let durable = self.handlers.matching(&waiting.event);
            let durable = durable.filter(|r| r.is_durable());
            let keys: Vec<HandlerKey> = durable.map(|r| r.key).collect();
            if !keys.is_empty() {
                waiting.number = journal.take(event, waiting.taken_micros, false, keys.clone());
                waiting.recorded = keys.into();
            }
        }
    }
}
