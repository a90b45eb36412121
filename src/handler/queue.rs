//! Events on their way to the scripts: one run at a time, in order, within a bound.
//!
//! What happens when the bound is reached is in `room`; what a journal adds (user events that outlive the
//! agent) in `durable`, and `stored` reads back what waits on the disk alone; `parked` has what waits for
//! handlers that are paused or missing; what an operator can do with what waits is in `control`.

mod control;
mod durable;
mod parked;
mod room;
mod stored;
mod storm;

pub use control::{Entry, EntryState};
pub use durable::MAX_AGE;

use std::collections::VecDeque;
use std::sync::Arc;

use super::invocation::{Run as RunInfo, environment, stdin};
use super::journal::{HandlerKey, Journal, ProcessId, Progress, Stored};
use super::moment::{Moment, event_id};
use super::outcome::warn_failed;
use super::registered::{Registered, Registry};
use super::{Answer, Described, HandlerSettings, Input, Invocation, Local, Outcome, json};
use crate::count::Count;
use crate::handler::End;
use crate::ordered::OrderedMap;
use crate::serf::{Command, Event, LamportTime, QueryHandlers};
use crate::wire::name::Escaped;
use durable::Pending;
use room::{DropLog, cost};
use storm::Storm;

/// Bytes of events that wait at most: more than 50,000 small ones, or 10,000 with a kilobyte each.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// An empty queue gives back more room than this.
const IDLE_CAPACITY: usize = 64;

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Runs that ended, however.
    pub runs: u64,
    /// Of these, ended by anything but exit status 0.
    pub failures: u64,
    /// Of these, ended by the time limit.
    pub timeouts: u64,
    /// User events dropped for want of room.
    pub dropped_user_events: u64,
    /// Queries dropped for want of room.
    pub dropped_queries: u64,
    /// Member news that newer news of the same node took the place of, for want of room.
    pub merged_members: u64,
    /// Runs and variables refused because an environment cannot hold a NUL.
    pub refused: u64,
    /// Runs repeated because the agent had ended before they had.
    pub repeated: u64,
    /// Runs given up because the agent had ended during their repetition, too.
    pub given_up: u64,
    /// User events given up because they had waited too long.
    pub expired: u64,
}

/// The events that wait and the scripts that they wait for.
#[derive(Debug)]
pub struct HandlerQueue {
    handlers: Registry,
    waiting: VecDeque<Slot>,
    bytes: usize,
    bytes_max: usize,
    /// Events whose turn came while the handlers that are left for them were paused or missing.
    parked: VecDeque<Waiting>,
    parked_bytes: usize,
    current: Option<Current>,
    counters: Counters,
    drops: DropLog,
    storm: Storm,
    /// Tags that were last complained about.
    refused_tags: Vec<Vec<u8>>,
    /// Queries for which no handler runs any more.
    handled_queries: VecDeque<(LamportTime, u32)>,
    /// The last number that made an event's id unlike any other's.
    last_local: u64,
    journal: Option<Journal>,
    /// Events that the journal has and that were not handed over yet.
    pending: Pending,
    /// How far recovered events on the disk have come.
    progress: OrderedMap<u64, Progress>,
    /// Processes of an earlier life that have to end first.
    awaited: VecDeque<ProcessId>,
}

/// A place in the row.
#[derive(Debug)]
enum Slot {
    Event(Waiting),
    /// User events that the journal has and the memory has not.
    Stored(Stored),
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    id: Arc<str>,
    /// When it came, in microseconds since 1970.
    taken_micros: u64,
    cost: usize,
    /// Some handler wants it.
    wanted: bool,
    /// In the journal.
    number: Option<u64>,
    /// The handlers that the journal says it is for.
    recorded: Box<[HandlerKey]>,
    /// What was done for it before.
    progress: Option<Box<Progress>>,
}

/// The event being handled.
#[derive(Debug)]
struct Current {
    waiting: Waiting,
    stdin: Arc<[u8]>,
    /// Still to be run; fixed when the event's turn came.
    scripts: VecDeque<Run>,
    running: Option<Run>,
    /// Other handlers are left that cannot be run now.
    is_held: bool,
    done: Vec<HandlerKey>,
}

/// One script's turn.
#[derive(Clone, Debug)]
struct Run {
    /// The handler's number.
    id: u64,
    key: HandlerKey,
    settings: Arc<HandlerSettings>,
    /// Missing handlers that are done with the event when this one is.
    replaces: Vec<HandlerKey>,
    script: Arc<[u8]>,
    attempt: u32,
}

impl HandlerQueue {
    /// An empty queue of [`QUEUE_BYTES_MAX`].
    pub fn new(handlers: Vec<HandlerSettings>) -> Self {
        HandlerQueue::with_bytes_max(handlers, QUEUE_BYTES_MAX)
    }

    /// An empty queue with its own bound.
    pub fn with_bytes_max(handlers: Vec<HandlerSettings>, bytes_max: usize) -> Self {
        let mut registry = Registry::default();
        registry.replace(handlers);
        HandlerQueue {
            handlers: registry,
            waiting: VecDeque::new(),
            bytes: 0,
            bytes_max,
            parked: VecDeque::new(),
            parked_bytes: 0,
            current: None,
            counters: Counters::default(),
            drops: DropLog::default(),
            storm: Storm::default(),
            refused_tags: Vec::new(),
            handled_queries: VecDeque::new(),
            last_local: 0,
            journal: None,
            pending: Pending::default(),
            progress: OrderedMap::new(),
            awaited: VecDeque::new(),
        }
    }

    /// Replaces the handlers (reload). The next event to be handled meets the new list; the rest of
    /// the runs of the event being handled stay as they are.
    pub fn replace_handlers(&mut self, handlers: Vec<HandlerSettings>) {
        self.handlers.replace(handlers);
        for slot in &mut self.waiting {
            if let Slot::Event(waiting) = slot {
                let matching = self.handlers.matching(&waiting.event).next();
                waiting.wanted = waiting.number.is_some() || matching.is_some();
            }
        }
        self.unpark();
    }

    /// The handlers last set, in the order of registration.
    pub fn handlers(&self) -> &[Registered] {
        self.handlers.list()
    }

    /// The queries that handlers want, for the core's acks. Changed by [`Self::replace_handlers`].
    pub fn query_handlers(&self) -> QueryHandlers {
        self.handlers.query_handlers()
    }

    /// A query for which no handler runs any more, each once: whoever waits for an answer of theirs
    /// waits in vain, unless it was given. Changed by everything that takes `&mut self`.
    pub fn poll_handled_query(&mut self) -> Option<(LamportTime, u32)> {
        self.handled_queries.pop_front()
    }

    /// An event was delivered. Logs it, as the reference does.
    pub fn push(&mut self, event: Event, at: impl Into<Moment>) {
        let at = at.into();
        log::info!(target: "agent", "Received event: {}", Described(&event));
        let matches = self.handlers.matching(&event).next().is_some();
        let (number, taken_micros, recorded) = match &event {
            Event::User(event) => self.handed_over(event, at),
            _ => (None, at.unix_micros, Box::default()),
        };
        let id = self.next_id(&event, at);
        self.last_local = self.next_local(at);
        let waiting = Waiting {
            id,
            taken_micros,
            cost: cost(&event) + 8 * recorded.len(),
            event,
            wanted: matches || number.is_some(),
            number,
            recorded,
            progress: None,
        };
        // What the journal has leaves the memory again if there is no room.
        if self.has_room(waiting.cost) || self.may_spill(&waiting) {
            return self.append(waiting);
        }
        if !waiting.wanted {
            log::debug!(target: "agent", "No handler wants it and the queue is full: not kept");
            note_handled(&mut self.handled_queries, &waiting.event);
            return;
        }
        self.forget_unwanted();
        if self.has_room(waiting.cost) {
            return self.append(waiting);
        }
        match &waiting.event {
            Event::Member(news) => return self.merge(news.clone(), waiting),
            Event::User(_) => self.counters.dropped_user_events += 1,
            Event::Query(_) => self.counters.dropped_queries += 1,
        }
        self.handlers.count_drop(&waiting.event, None);
        note_handled(&mut self.handled_queries, &waiting.event);
        self.note_drop(&waiting.event, at.now);
        self.finish(waiting.number);
    }

    /// The id that [`Self::push`] is about to give the event.
    pub fn next_id(&self, event: &Event, at: Moment) -> Arc<str> {
        event_id(event, self.next_local(at)).into()
    }

    fn next_local(&self, at: Moment) -> u64 {
        at.unix_micros.max(self.last_local + 1)
    }

    /// The next run, if none is under way. Whoever takes it owes a [`Self::handle_outcome`]; what the
    /// journal has to say then must be written before the run is started.
    ///
    /// Changed by [`Self::push`], [`Self::handle_outcome`], [`Self::handle_read`] and
    /// [`Self::handle_gone`].
    pub fn poll_invocation(
        &mut self,
        local: Local<'_>,
        at: impl Into<Moment>,
    ) -> Option<Invocation> {
        let at = at.into();
        if !self.awaited.is_empty() {
            return None;
        }
        loop {
            if self.current.as_ref().is_some_and(|c| c.running.is_some()) {
                return None;
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

    /// The run ended. Logs how, and gives the answer if it was for a query and has one.
    pub fn handle_outcome(&mut self, outcome: Outcome) -> Option<Answer> {
        let current = self.current.as_mut()?;
        let run = current.running.take()?;
        self.handlers.count_run(run.id, &outcome);
        self.counters.runs += 1;
        self.counters.failures += u64::from(!outcome.is_success());
        self.counters.timeouts += u64::from(matches!(outcome.end, End::TimedOut(_)));
        outcome.log(&current.waiting.event, &current.waiting.id, &run.script);
        self.run_is_done(&run);
        let current = self.current.as_ref()?;
        let Event::Query(query) = &current.waiting.event else {
            return None;
        };
        if !outcome.is_success() || outcome.output.is_empty() {
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

    /// The agent stops: forgets what waits, and says how much it was. What the journal has stays there.
    pub fn abandon(&mut self) {
        let kept = self.journal.as_ref().map_or(0, Journal::len);
        if kept > 0 {
            log::info!(target: "agent", "Stopping with {} in the journal, for the next start", Count(kept as u64, "user event"));
        }
        let unrecorded = |w: &&Waiting| w.wanted && w.number.is_none();
        let lost = self
            .in_memory()
            .chain(&self.parked)
            .filter(unrecorded)
            .count();
        if lost > 0 {
            log::warn!(target: "agent", "Stopping with {} that no handler was run for", Count(lost as u64, "event"));
        }
        self.waiting = VecDeque::new();
        self.bytes = 0;
        self.parked = VecDeque::new();
        self.parked_bytes = 0;
    }

    /// Whether nothing runs and nothing waits, paused handlers aside.
    ///
    /// To be asked after [`Self::poll_invocation`] gave nothing.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Events that wait, on the disk or in memory, not counting the one being handled.
    pub fn len(&self) -> usize {
        let stored = self.journal.as_ref().map_or(0, Journal::stored_len);
        self.in_memory().count() + self.parked.len() + stored
    }

    /// Whether no event waits; one may still be being handled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the waiting events take in memory, by a rough measure.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The script that runs.
    pub fn running(&self) -> Option<&[u8]> {
        let running = self.current.as_ref()?.running.as_ref()?;
        Some(&running.script)
    }

    /// Figures for `info`.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn in_memory(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().filter_map(|slot| match slot {
            Slot::Event(waiting) => Some(waiting),
            Slot::Stored(_) => None,
        })
    }

    fn append(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.cost);
        self.waiting.push_back(Slot::Event(waiting));
    }

    /// Takes the next event that somebody wants; `None` if there is none, or if it has to be read.
    fn begin_next(&mut self, at: Moment) -> Option<()> {
        self.end_current();
        self.expire_parked(at);
        loop {
            let mut waiting = match self.waiting.pop_front() {
                Some(Slot::Event(waiting)) => waiting,
                Some(stored) => {
                    self.waiting.push_front(stored);
                    return None;
                }
                None => {
                    self.drops.tell(self.bytes_max);
                    self.storm.note_idle(at.now);
                    if self.waiting.capacity() > IDLE_CAPACITY {
                        self.waiting.shrink_to(IDLE_CAPACITY);
                    }
                    return None;
                }
            };
            self.bytes = self.bytes.saturating_sub(waiting.cost);
            self.drops.tell_in_time(self.bytes_max, at.now);
            if self.is_expired(&waiting, at) {
                self.expire(&waiting);
                continue;
            }
            let (scripts, is_held) = self.plan(&mut waiting);
            if scripts.is_empty() {
                note_handled(&mut self.handled_queries, &waiting.event);
                match is_held {
                    true => self.park(waiting),
                    false => self.finish(waiting.number),
                }
                continue;
            }
            self.storm.watch(&waiting.event, scripts.iter(), at.now);
            let done = waiting.progress.as_ref().map(|p| p.done.clone());
            self.current = Some(Current {
                scripts,
                stdin: stdin(&waiting.event),
                waiting,
                running: None,
                is_held,
                done: done.unwrap_or_default(),
            });
            return Some(());
        }
    }

    /// Makes a run of a script, unless the event fits no environment.
    fn invoke(&mut self, run: Run, local: Local<'_>, at: Moment) -> Option<Invocation> {
        let current = self.current.as_mut()?;
        let info = RunInfo {
            id: &current.waiting.id,
            taken_micros: current.waiting.taken_micros,
            attempt: run.attempt,
            environment: &run.settings.environment,
        };
        match environment(&current.waiting.event, local, &info) {
            Ok(environment) => {
                let invocation = Invocation {
                    script: Arc::clone(&run.script),
                    settings: Arc::clone(&run.settings),
                    env: environment.variables,
                    stdin: match run.settings.input {
                        Input::Lines => Arc::clone(&current.stdin),
                        Input::Json => json::stdin(&current.waiting.event, local, &info, at),
                    },
                };
                current.running = Some(run.clone());
                self.note_refused_tags(environment.refused_tags);
                self.run_begins(&run, at);
                Some(invocation)
            }
            Err(reason) => {
                warn_failed(&run.script, &reason);
                self.counters.refused += 1;
                self.handlers
                    .count_drop(&current.waiting.event, Some(run.id));
                self.run_is_done(&run);
                None
            }
        }
    }

    /// Complains once about a set of bad tags, not at each run.
    fn note_refused_tags(&mut self, tags: Vec<Vec<u8>>) {
        self.counters.refused += tags.len() as u64;
        if tags != self.refused_tags {
            for tag in &tags {
                log::warn!(
                    target: "agent",
                    "The value of tag '{}' contains NUL: handlers run without its variable",
                    Escaped(tag)
                );
            }
            self.refused_tags = tags;
        }
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
