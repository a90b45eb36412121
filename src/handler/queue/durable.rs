//! Connects the queue to its journal.
//!
//! A user event is recorded when the core accepts it ([`HandlerQueue::take_in`]), with the handlers that it
//! is for; each run is recorded when it begins and when it ends. After a crash, pending events are read back
//! in pieces when they reach the head of the queue. A run that had begun is repeated once.
//!
//! Each handler that an event was recorded for gets it once. A handler is identified by its configured name
//! or, without one, by its filter and script. If it is missing when the event is processed, a new handler
//! with the same filter or the same script replaces it: it was edited. What the replacement has run for is
//! not run again by the old handler, should it come back. Without a replacement, the event waits for the
//! missing handler. Other new handlers get an event only if no handler has had it before.

use super::{Fifo, HandlerQueue, Progress, Run, StoredProgress, Waiting};
use crate::count::Count;
use crate::handler::journal::{HandlerKey, Journal, ProcessId, Recovered};
use crate::handler::moment::Moment;
use crate::handler::{Described, HandlerSettings};
use crate::ordered::OrderedMap;
use crate::serf::{Event, LamportTime, UserEvent, event_hash};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Maximum age of a recorded user event, unless the handler has its own limit.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Limit for recorded events that were not handed over. The core holds at most 4,096 events back for
/// coalescing, and fewer for other reasons; further ones are not recorded.
const PENDING_MAX: usize = 8192;

/// Events that were recorded and not handed over yet, by name: of each name, the coalescer drops all events
/// but those with the highest time.
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

impl HandlerQueue {
    /// Continues with a recovered journal, or begins with an empty one. Must be called before the first
    /// event.
    pub fn attach_journal(&mut self, journal: Journal, recovered: Recovered) {
        for (number, progress) in recovered.progress {
            let begun = progress.begun.as_ref();
            let process = begun.and_then(|begun| Some((begun.process?, begun.handler)));
            self.awaited.extend(process);
            self.stored_progress
                .insert(number, Progress::from(progress).into());
        }
        for recorded in recovered.coalescing {
            let (number, taken_micros) = (recorded.number, recorded.taken_micros);
            if let Event::User(event) = &recorded.event {
                self.note_pending(event, number, taken_micros, recorded.handlers);
            }
        }
        if let Some(stored) = journal.stored() {
            self.fifo.push_stored(stored);
        }
        self.journal = Some(journal);
        self.describe_handlers();
    }

    /// Returns the journal, if there is one.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Returns the journal, for file I/O.
    pub fn journal_mut(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    /// Returns a process of an earlier agent process that must end before any handler may run, and the
    /// settings of its handler if that still exists.
    pub fn awaited(&self) -> Option<(ProcessId, Option<&HandlerSettings>)> {
        let (process, key) = *self.awaited.front()?;
        let handler = self.handlers.list().iter().find(|r| r.key == key);
        Some((process, handler.map(|r| &*r.settings)))
    }

    /// Notes that the process has ended, or that waiting for it has timed out.
    pub fn handle_gone(&mut self) {
        self.awaited.pop_front();
    }

    /// Records a user event that the core has accepted, if some handler wants it.
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
        if keys.is_empty() || self.pending.count >= PENDING_MAX {
            return;
        }
        let Event::User(user) = &event else {
            return;
        };
        let taken = journal.take(&event, at.unix_micros, user.coalesce, keys.clone());
        if let Some(number) = taken {
            self.note_pending(user, number, at.unix_micros, keys);
        }
    }

    /// Returns the numbers of events that were not handed over yet.
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

    /// Returns when the agent accepted an event that is about to be handed over, in microseconds since 1970.
    pub fn taken_micros(&self, event: &Event, at: Moment) -> u64 {
        let Event::User(event) = event else {
            return at.unix_micros;
        };
        let hash = event_hash(&event.name, &event.payload);
        let mut of_name = self.pending.by_name.get(&event.name).into_iter().flatten();
        let it = of_name.find(|u| u.ltime == event.ltime && u.hash == hash);
        it.map_or(at.unix_micros, |unhanded| unhanded.taken_micros)
    }

    /// Looks up a user event that is handed over: returns its number in the journal, when it was accepted,
    /// and the recorded handlers. Marks events with the same name that the coalescer has dropped as finished.
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

    /// Returns whether the event is recorded, so that it may leave memory.
    pub(super) fn may_spill(&self, waiting: &Waiting) -> bool {
        let journal = self
            .journal
            .as_ref()
            .filter(|journal| !journal.is_failing());
        let recorded = |number| journal.is_some_and(|journal| journal.contains(number));
        waiting.number.is_some_and(recorded)
    }

    /// Notes that the FIFO has finished with an event.
    pub(super) fn finish(&mut self, number: Option<u64>) {
        let Some(number) = number.filter(|number| self.holders.fifo_finished(*number)) else {
            return;
        };
        if let Some(journal) = &mut self.journal {
            journal.finished(number);
        }
    }

    pub(super) fn give_up(&mut self, waiting: &Waiting, text: &[u8], attempt: u32) {
        self.counters.given_up += 1;
        let (text, event, id) = (Escaped(text), Described(&waiting.event), &waiting.id);
        let times = if attempt > 2 { "twice" } else { "once" };
        log::error!(
            target: "agent",
            "Giving up handler '{text}' for '{event}' ({id}): the agent ended {times} during the run"
        );
    }

    /// Records that a run is about to begin.
    pub(super) fn run_begins(&mut self, run: &Run, at: Moment) {
        let Some(current) = &self.current else {
            return;
        };
        if run.is_replay {
            self.counters.repeated += 1;
            log::warn!(
                target: "agent",
                "Repeating handler '{}' for '{}' ({}): the agent ended during the run",
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

    /// Records the process of the run that [`Self::poll_invocation`] returned.
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

    /// Returns whether the process of the active run must be recorded.
    pub fn wants_process(&self) -> bool {
        let number = self.current.as_ref().and_then(|c| c.waiting.number);
        let journal = self.journal.as_ref();
        number.is_some_and(|number| journal.is_some_and(|j| j.contains(number)))
    }

    /// Notes that a handler has finished with the current event.
    pub(super) fn run_is_done(&mut self, run: &Run) {
        let Some(current) = &mut self.current else {
            return;
        };
        if current.lane.is_some() {
            let replaces = current.waiting.progress().replaces.clone();
            for number in current.waiting.numbers().collect::<Vec<_>>() {
                self.lane_is_through(number, run.key, &replaces);
            }
            return;
        }
        current.done.extend(run.keys());
        let Some(number) = current.waiting.number else {
            return;
        };
        let is_left = current.is_held || !current.scripts.is_empty();
        if !is_left && !self.holders.is_in_lane(number) {
            // Written together with the beginning of the next run.
            return self.finish(Some(number));
        }
        if let Some(journal) = &mut self.journal {
            run.keys().for_each(|key| journal.done(number, key));
        }
    }

    /// If the current event has no runs left, finishes or parks it and resumes the suspended event.
    pub(super) fn end_current(&mut self) {
        if self.current.as_ref().is_some_and(|c| !c.scripts.is_empty()) {
            return;
        }
        let Some(mut current) = std::mem::replace(&mut self.current, self.suspended.take()) else {
            return;
        };
        if !current.waiting.is_synthetic() {
            self.query_ends(&current.waiting.event);
        }
        if current.lane.is_some() {
            return;
        }
        if !current.is_held {
            return self.finish(current.waiting.number);
        }
        let progress = current.waiting.progress_mut();
        progress.done = current.done;
        progress.begun = None;
        self.park(current.waiting, current.expires_micros);
    }

    /// Drops all waiting events: the node has left for good.
    pub fn forget_all(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let count = journal.len();
        if count > 0 {
            log::warn!(target: "agent", "Leaving: dropping {} in the journal", Count(count as u64, "user event"));
        }
        journal.clear();
        for waiting in self.fifo.take().filter(|w| w.number.is_none()) {
            self.fifo.push_back(waiting);
        }
        self.parked = Fifo::default();
        self.pending = Pending::default();
        self.stored_progress = StoredProgress::default();
        self.holders.clear();
        self.handlers
            .retain_in_lanes(|waiting| waiting.number.is_none());
    }

    /// Records waiting events that are not in the journal, once it works again.
    pub fn record_unrecorded(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for waiting in self.fifo.events_mut() {
            let is_recorded = waiting
                .number
                .is_some_and(|number| journal.contains(number));
            let (false, Event::User(_)) = (is_recorded, &waiting.event) else {
                continue;
            };
            let progress = waiting.progress();
            let durable = self.handlers.matching(&waiting.event);
            let durable = durable.filter(|r| r.is_durable() && !progress.is_through(r.key));
            let keys: Vec<HandlerKey> = durable.map(|r| r.key).collect();
            if !keys.is_empty() {
                let taken = waiting.taken_micros;
                waiting.number = journal.take(&waiting.event, taken, false, keys.clone());
                waiting.recorded = keys.into();
            }
        }
    }
}
