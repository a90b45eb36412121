//! Queue of events for handlers: runs scripts one at a time, in order, within a bounded amount of memory.
//!
//! Events wait in one FIFO (`fifo`). Events that must be merged, held back or retried for one handler wait in
//! that handler's `lane`; `lanes` moves events into and out of lanes, and `hold` holds departures back.
//! `recipients` determines the handlers that must still get an event, `select` picks the members that a
//! handler wants, `run` prepares the runs, and `requested` has the runs that an operator requests.
//!
//! `room` makes room when the limit is reached. `durable` connects the journal, with which user events
//! survive the agent's process, `holders` tracks where journalled events still wait, and `stored` reads back
//! events that are only on disk. `parked` has events whose remaining handlers are paused or missing.
//! `control` has the operator's view of the queue and the actions on it.

mod control;
mod durable;
mod fifo;
mod hold;
mod holders;
pub(super) mod lane;
mod lanes;
mod parked;
mod recipients;
mod reload;
mod requested;
mod room;
mod run;
mod select;
mod stored;
mod stored_progress;
mod storm;
mod sync;
pub(super) mod waiting;

pub use control::{Entry, EntryState};
pub use durable::MAX_AGE;
pub use requested::NoRun;

use std::collections::VecDeque;
use std::sync::Arc;

use super::journal::{HandlerKey, Journal, ProcessId};
use super::moment::{Moment, event_id};
use super::registered::{Registered, Registry};
use super::{Answer, Described, End, HandlerSettings, Invocation, Local, Outcome};
use crate::count::Count;
use crate::ordered::OrderedMap;
use crate::serf::{Command, Event, LamportTime, QueryHandlers};
use crate::time::Instant;
use crate::wire::NodeName;
use durable::Pending;
use fifo::Fifo;
use holders::Holders;
use room::{DropLog, cost};
use run::Run;
use select::KnownTags;
use stored_progress::StoredProgress;
use storm::Storm;
use sync::Changes;
use waiting::{Progress, Waiting};

/// Default memory limit for waiting events: more than 50,000 small ones, or 10,000 with a payload of 1 KB.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Completed runs, successful or not.
    pub runs: u64,
    /// Completed runs that failed: any end but exit status 0.
    pub failures: u64,
    /// Completed runs that the time limit ended.
    pub timeouts: u64,
    /// User events dropped because the queue was full.
    pub dropped_user_events: u64,
    /// Queries dropped because the queue was full.
    pub dropped_queries: u64,
    /// Member events superseded by newer ones for the same node because the queue was full.
    pub merged_members: u64,
    /// Runs and variables refused because a value contains NUL.
    pub refused: u64,
    /// Runs repeated because the agent ended before they did.
    pub repeated: u64,
    /// Runs given up because the agent ended during the repeated run as well.
    pub given_up: u64,
    /// User events dropped because they exceeded their maximum age.
    pub expired: u64,
}

/// Exit status that asks for a retry: `EX_TEMPFAIL` of sysexits.
const TEMPORARY_FAILURE: i32 = 75;

/// Queue of events and the handlers to run for them.
#[derive(Debug)]
pub struct HandlerQueue {
    handlers: Registry,
    fifo: Fifo,
    bytes_max: usize,
    /// Events whose remaining handlers were paused or missing when they were processed.
    parked: Fifo,
    /// When the first parked event exceeds the maximum age for a handler, in microseconds since 1970.
    parked_expiry_micros: u64,
    current: Option<Current>,
    /// An event of the FIFO that is partly processed and waits while a lane's event is processed.
    suspended: Option<Current>,
    counters: Counters,
    drops: DropLog,
    storm: Storm,
    /// Tags in the last warning about NUL.
    refused_tags: Vec<Vec<u8>>,
    /// Queries for which no handler will run any more.
    handled_queries: VecDeque<(LamportTime, u32)>,
    /// Synthetic events by operators, each for one handler; they precede all others.
    requested: VecDeque<Waiting>,
    /// Tickets of completed runs with their outcome; `None` if the run will not take place.
    ended: VecDeque<(u64, Option<Outcome>)>,
    /// Last local number used to make an event's id unique.
    last_local: u64,
    last_position: u64,
    /// Whether every event in the FIFO has been offered to the lanes.
    is_listed: bool,
    /// Whether the agent is shutting down: nothing is debounced any more.
    is_ending: bool,
    known_tags: KnownTags,
    changes: Changes,
    /// Times at which the core saw departures that were not delivered yet.
    departed: OrderedMap<NodeName, Instant>,
    journal: Option<Journal>,
    /// Recorded events that the core has not handed over yet.
    pending: Pending,
    /// Where recorded events still wait: in the FIFO, and in lanes with a copy.
    holders: Holders,
    /// Progress of events that are only on disk.
    stored_progress: StoredProgress,
    /// Processes of an earlier agent process that must end first.
    awaited: VecDeque<(ProcessId, HandlerKey)>,
}

/// The event that is being processed.
#[derive(Debug)]
struct Current {
    waiting: Waiting,
    /// The handler whose lane the event comes from; `None`: the FIFO.
    lane: Option<HandlerKey>,
    stdin: Option<Arc<[u8]>>,
    /// Remaining runs; determined when the processing of the event began.
    scripts: VecDeque<Run>,
    running: Option<Run>,
    /// Whether other handlers for the event are paused or missing.
    is_held: bool,
    /// When the event expires for the first of these, in microseconds since 1970.
    expires_micros: u64,
    done: Vec<HandlerKey>,
}

impl HandlerQueue {
    /// Creates an empty queue with a limit of [`QUEUE_BYTES_MAX`].
    pub fn new(handlers: Vec<HandlerSettings>) -> Self {
        HandlerQueue::with_bytes_max(handlers, QUEUE_BYTES_MAX)
    }

    /// Creates an empty queue with this memory limit.
    pub fn with_bytes_max(handlers: Vec<HandlerSettings>, bytes_max: usize) -> Self {
        let mut registry = Registry::default();
        registry.replace(handlers);
        HandlerQueue {
            handlers: registry,
            fifo: Fifo::default(),
            bytes_max,
            parked: Fifo::default(),
            parked_expiry_micros: u64::MAX,
            current: None,
            suspended: None,
            counters: Counters::default(),
            drops: DropLog::default(),
            storm: Storm::default(),
            refused_tags: Vec::new(),
            handled_queries: VecDeque::new(),
            requested: VecDeque::new(),
            ended: VecDeque::new(),
            last_local: 0,
            last_position: 0,
            is_listed: true,
            is_ending: false,
            known_tags: KnownTags::default(),
            changes: Changes::default(),
            departed: OrderedMap::new(),
            journal: None,
            pending: Pending::default(),
            holders: Holders::default(),
            stored_progress: StoredProgress::default(),
            awaited: VecDeque::new(),
        }
    }

    /// Returns the current handlers, in order of registration.
    pub fn handlers(&self) -> &[Registered] {
        self.handlers.list()
    }

    /// Returns which queries handlers want, for the core's acks. May change after
    /// [`Self::replace_handlers`].
    pub fn query_handlers(&self) -> QueryHandlers {
        self.handlers.query_handlers()
    }

    /// Returns the next query that no handler will answer any more, because all its runs have ended or will
    /// not take place. Each query is returned once. Poll again after any method that takes `&mut self`.
    pub fn poll_handled_query(&mut self) -> Option<(LamportTime, u32)> {
        self.handled_queries.pop_front()
    }

    /// Wraps a new event, with a new id and position.
    fn arrived(&mut self, event: Event, taken_micros: u64, at: Moment) -> Waiting {
        let id = self.next_id(&event, at);
        self.last_local = self.next_local(at);
        self.last_position += 1;
        Waiting::new(event, id, taken_micros, self.last_position)
    }

    /// Takes a delivered event and logs it, as the reference does.
    pub fn push(&mut self, event: Event, at: impl Into<Moment>) {
        let at = at.into();
        log::info!(target: "agent", "Received event: {}", Described(&event));
        let (number, taken_micros, recorded) = match &event {
            Event::User(event) => self.handed_over(event, at),
            _ => (None, at.unix_micros, Box::default()),
        };
        let mut waiting = self.arrived(event, taken_micros, at);
        waiting.cost += 8 * recorded.len();
        (waiting.number, waiting.recorded) = (number, recorded);
        if self.handlers.want_tags {
            self.known_tags.follow(&mut waiting);
        }
        self.changes.follow(&mut waiting);
        self.enlist_row(at);
        let mut handlers = self.handlers.list().iter();
        let is_asked_for = handlers.any(|r| r.asks_for(&waiting.event));
        if is_asked_for {
            self.enlist(&mut waiting, at, false);
        }
        let has_takers = is_asked_for || waiting.number.is_some();
        waiting.wanted = has_takers && self.is_wanted(&waiting);
        if self.has_room(waiting.cost) {
            return self.fifo.push_back(waiting);
        }
        if !waiting.wanted {
            log::debug!(target: "agent", "The queue is full and no handler needs the event: dropped");
            note_handled(&mut self.handled_queries, &waiting.event);
            return self.finish(waiting.number);
        }
        // An event that is in the journal may leave memory again.
        if self.may_spill(&waiting) {
            return self.fifo.push_back(waiting);
        }
        self.forget_unwanted();
        if self.has_room(waiting.cost) {
            return self.fifo.push_back(waiting);
        }
        match &waiting.event {
            Event::Member(event) => return self.merge(event.clone(), waiting),
            Event::User(_) => self.counters.dropped_user_events += 1,
            Event::Query(_) => self.counters.dropped_queries += 1,
        }
        self.handlers.count_drop(&waiting.event, None);
        note_handled(&mut self.handled_queries, &waiting.event);
        self.note_drop(&waiting.event, at.now);
        self.finish(waiting.number);
    }

    /// Returns the id that [`Self::push`] would give the event now.
    pub fn next_id(&self, event: &Event, at: Moment) -> Arc<str> {
        event_id(event, self.next_local(at)).into()
    }

    fn next_local(&self, at: Moment) -> u64 {
        at.unix_micros.max(self.last_local + 1)
    }

    /// Returns the next run if none is active. The caller must report its end with [`Self::handle_outcome`],
    /// and must write the journal's pending bytes before it starts the run.
    ///
    /// Poll again after [`Self::push`], [`Self::handle_outcome`], [`Self::handle_read`] and
    /// [`Self::handle_gone`], and at the time that [`Self::poll_timeout`] returns.
    pub fn poll_invocation(
        &mut self,
        local: Local<'_>,
        at: impl Into<Moment>,
    ) -> Option<Invocation> {
        let at = at.into();
        if !self.awaited.is_empty() || self.is_running() {
            return None;
        }
        self.enlist_row(at);
        self.advance_lanes(at);
        loop {
            self.end_current();
            if self.begin_requested(at) {
                continue;
            }
            if let Some(index) = self.next_lane(self.next_in_row()) {
                self.begin_lane(index, at);
                continue;
            }
            let next = self.current.as_mut().and_then(|c| c.scripts.pop_front());
            let Some(run) = next else {
                self.begin_next(at)?;
                continue;
            };
            if let Some(invocation) = self.invoke(run, local, at) {
                return Some(invocation);
            }
        }
    }

    /// Returns whether the event must wait in the FIFO, for a handler without a copy in its lane.
    fn is_wanted(&self, waiting: &Waiting) -> bool {
        let recipients = self.recipients(waiting);
        !recipients.present.is_empty() || !recipients.missing.is_empty()
    }

    fn is_running(&self) -> bool {
        self.current.as_ref().is_some_and(|c| c.running.is_some())
    }

    /// Returns the order key of the next event in the FIFO: its position, and the index of its next handler.
    fn next_in_row(&self) -> (u64, usize) {
        if let Some(current) = &self.current {
            let index = current.scripts.front().map_or(0, |run| run.index);
            return (
                if current.lane.is_some() {
                    0
                } else {
                    current.waiting.position
                },
                index,
            );
        }
        let first = self.fifo.first();
        (first.map_or(u64::MAX, |waiting| waiting.position), 0)
    }

    /// Takes the outcome of a run and logs it. Returns the answer if the event is a query and the run
    /// succeeded with output.
    pub fn handle_outcome(&mut self, outcome: Outcome) -> Option<Answer> {
        let current = self.current.as_mut()?;
        let run = current.running.take()?;
        self.handlers.count_run(run.id, &outcome);
        self.counters.runs += 1;
        self.counters.failures += u64::from(!outcome.is_success());
        self.counters.timeouts += u64::from(matches!(outcome.end, End::TimedOut(_)));
        let event = run.event.as_deref().unwrap_or(&current.waiting.event);
        outcome.log(event, &current.waiting.id, &run.script);
        let is_temporary = outcome.end == End::Exited(TEMPORARY_FAILURE);
        let is_synthetic = current.waiting.is_synthetic();
        let retry = run.settings.retry.filter(|_| is_temporary && !is_synthetic);
        if let Some(retry) = retry {
            if run.attempt <= retry.times {
                self.run_later(&run, retry.wait_after(run.attempt));
                return None;
            }
        }
        let tickets = current.waiting.progress().tickets.clone();
        for ticket in tickets {
            self.ended.push_back((ticket, Some(outcome.clone())));
        }
        self.run_is_done(&run);
        let current = self.current.as_ref()?;
        let Event::Query(query) = &current.waiting.event else {
            return None;
        };
        if is_synthetic || !outcome.is_success() || outcome.output.is_empty() {
            return None;
        }
        Some(Answer {
            command: Command::Respond {
                ltime: query.ltime,
                id: query.id,
                payload: outcome.output,
            },
            query: Described(&current.waiting.event).to_string().into(),
            output_bytes: outcome.output_bytes,
        })
    }

    /// Drops all waiting events and logs how many, when the agent stops. Recorded events stay in the journal.
    pub fn abandon(&mut self) {
        let kept = self.journal.as_ref().map_or(0, Journal::len);
        if kept > 0 {
            log::info!(target: "agent", "Exiting with {} in the journal for the next start", Count(kept as u64, "user event"));
        }
        let unrecorded = |w: &&Waiting| w.wanted && w.number.is_none();
        let lanes = self.handlers.list().iter().flat_map(|r| r.lane.iter());
        let lost = self.fifo.events().chain(self.parked.events()).chain(lanes);
        let lost = lost.filter(unrecorded).count() + self.requested.len();
        if lost > 0 {
            log::warn!(target: "agent", "Exiting with {} not handled", Count(lost as u64, "event"));
        }
        self.fifo = Fifo::default();
        self.parked = Fifo::default();
    }

    /// Ends all debouncing: the node has left and the agent is about to exit.
    pub fn hurry(&mut self) {
        self.is_ending = true;
    }

    /// Returns whether no run is active and all waiting events need time to pass or a paused handler to
    /// resume.
    ///
    /// Valid only after [`Self::poll_invocation`] has returned `None`.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.fifo.is_empty()
    }

    /// Returns the number of waiting events, in memory and on disk, without the one being processed.
    pub fn len(&self) -> usize {
        let stored = self.journal.as_ref().map_or(0, Journal::stored_len);
        let lanes = self.handlers.list().iter().map(|r| r.lane.iter().count());
        let others = self.parked.events().count() + self.requested.len() + stored;
        self.fifo.events().count() + others + lanes.sum::<usize>()
    }

    /// Returns whether no event waits; one may still be in progress.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the approximate memory taken by waiting events.
    pub fn bytes(&self) -> usize {
        self.fifo.bytes()
    }

    /// Returns the active run's script.
    pub fn running(&self) -> Option<&[u8]> {
        let running = self.current.as_ref()?.running.as_ref()?;
        Some(&running.script)
    }

    /// Returns the counters for `info`.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Starts to process the next event of the FIFO; `None` if there is none, or if it must be read from disk
    /// first.
    fn begin_next(&mut self, at: Moment) -> Option<()> {
        self.look_at_parked(at);
        let Some(mut waiting) = self.fifo.pop_front() else {
            if self.fifo.is_empty() {
                self.drops.log(self.bytes_max);
                self.storm.note_idle(at.now);
                self.fifo.shrink();
            }
            return None;
        };
        self.drops.log_if_due(self.bytes_max, at.now);
        if !waiting.wanted {
            note_handled(&mut self.handled_queries, &waiting.event);
            self.finish(waiting.number);
            return Some(());
        }
        self.enlist(&mut waiting, at, true);
        let plan = self.plan(&mut waiting, at);
        match plan.runs.front() {
            Some(first) => self.storm.watch(&waiting.event, &first.script, at.now),
            None => {
                note_handled(&mut self.handled_queries, &waiting.event);
                match plan.is_held {
                    true => self.park(waiting, plan.expires_micros),
                    false => self.finish(waiting.number),
                }
                return Some(());
            }
        }
        self.current = Some(Current {
            is_held: plan.is_held,
            expires_micros: plan.expires_micros,
            ..Current::new(waiting, plan.runs)
        });
        Some(())
    }
}

fn note_handled(handled: &mut VecDeque<(LamportTime, u32)>, event: &Event) {
    if let Event::Query(query) = event {
        handled.push_back((query.ltime, query.id));
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "queue/durable_tests.rs"]
mod durable_tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod timed_tests;
