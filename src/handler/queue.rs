//! Events on their way to the scripts: one run at a time, in order, within a bound.
//!
//! Nothing leaves the queue silently. When it is full,
//!
//! - events that no handler wants make room first (they would be handled by running nothing);
//! - user events and queries are dropped, logged and counted;
//! - member events are merged, for each node: its news that still wait give way to the newest one, as in
//!   the coalescer. An update only refreshes the record in a join (or update) that waits, or a handler
//!   for joins would never hear of the node. So a full queue holds each node at most once, and the bound
//!   is exceeded by no more than one record for each node that there is.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::invocation::{environment, stdin};
use super::outcome::warn_failed;
use super::registered::{Registered, Registry};
use super::{Answer, Described, EventScript, Invocation, Local, Outcome};
use crate::handler::End;
use crate::ordered::OrderedMap;
use crate::serf::{
    Command, Event, LamportTime, Member, MemberEvent, MemberEventKind, QueryHandlers,
};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::name::Escaped;

/// Bytes of events that wait at most: more than 50,000 small ones, or 10,000 with a kilobyte each.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// A flood of drops is logged once in this time.
const DROP_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// What an allocation costs beyond its bytes, roughly.
const ALLOCATION_BYTES: usize = 16;
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
}

/// The events that wait and the scripts that they wait for.
#[derive(Debug)]
pub struct HandlerQueue {
    handlers: Registry,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    bytes_max: usize,
    current: Option<Current>,
    counters: Counters,
    drops: DropLog,
    /// Tags that were last complained about.
    refused_tags: Vec<Vec<u8>>,
    /// Queries for which no handler runs any more.
    handled_queries: VecDeque<(LamportTime, u32)>,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    cost: usize,
    /// Some handler wants it.
    wanted: bool,
}

/// The event being handled.
#[derive(Debug)]
struct Current {
    event: Event,
    stdin: Arc<[u8]>,
    /// Still to be run; fixed when the event's turn came.
    scripts: VecDeque<Run>,
    running: Option<Run>,
}

/// One script's turn.
#[derive(Debug)]
struct Run {
    /// The handler's number.
    id: u64,
    script: Arc<[u8]>,
}

/// Drops that the operator was not told of yet.
#[derive(Debug, Default)]
struct DropLog {
    told: Option<Instant>,
    untold: u64,
    last: String,
}

impl HandlerQueue {
    /// An empty queue of [`QUEUE_BYTES_MAX`].
    pub fn new(handlers: Vec<EventScript>) -> Self {
        HandlerQueue::with_bytes_max(handlers, QUEUE_BYTES_MAX)
    }

    /// An empty queue with its own bound.
    pub fn with_bytes_max(handlers: Vec<EventScript>, bytes_max: usize) -> Self {
        let mut registry = Registry::default();
        registry.replace(handlers);
        HandlerQueue {
            handlers: registry,
            waiting: VecDeque::new(),
            bytes: 0,
            bytes_max,
            current: None,
            counters: Counters::default(),
            drops: DropLog::default(),
            refused_tags: Vec::new(),
            handled_queries: VecDeque::new(),
        }
    }

    /// Replaces the handlers (reload). The next event to be handled meets the new list; the rest of
    /// the runs of the event being handled stay as they are.
    pub fn replace_handlers(&mut self, handlers: Vec<EventScript>) {
        self.handlers.replace(handlers);
        for waiting in &mut self.waiting {
            waiting.wanted = self.handlers.matching(&waiting.event).next().is_some();
        }
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
    pub fn push(&mut self, event: Event, now: Instant) {
        log::info!(target: "agent", "Received event: {}", Described(&event));
        let wanted = self.handlers.matching(&event).next().is_some();
        let waiting = Waiting {
            cost: cost(&event),
            event,
            wanted,
        };
        if self.has_room(waiting.cost) {
            return self.append(waiting);
        }
        if !wanted {
            log::debug!(target: "agent", "No handler wants it and the queue is full: not kept");
            note_handled(&mut self.handled_queries, &waiting.event);
            return;
        }
        self.forget_unwanted();
        if self.has_room(waiting.cost) {
            return self.append(waiting);
        }
        match waiting.event {
            Event::Member(news) => return self.merge(news),
            Event::User(_) => self.counters.dropped_user_events += 1,
            Event::Query(_) => self.counters.dropped_queries += 1,
        }
        self.handlers.count_drop(&waiting.event, None);
        note_handled(&mut self.handled_queries, &waiting.event);
        self.note_drop(&waiting.event, now);
    }

    /// The next run, if none is under way. Whoever takes it owes a [`Self::handle_outcome`].
    ///
    /// Changed by [`Self::push`] and [`Self::handle_outcome`].
    pub fn poll_invocation(&mut self, local: Local<'_>, now: Instant) -> Option<Invocation> {
        loop {
            if self.current.as_ref().is_some_and(|c| c.running.is_some()) {
                return None;
            }
            let next = self.current.as_mut().and_then(|c| c.scripts.pop_front());
            let Some(run) = next else {
                self.begin_next(now)?;
                continue;
            };
            if let Some(invocation) = self.invoke(run, local) {
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
        outcome.log(&current.event, &run.script);
        let Event::Query(query) = &current.event else {
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
            query: Described(&current.event).to_string().into(),
            output_bytes: outcome.output_bytes,
        })
    }

    /// The agent stops: forgets what waits, and says how much it was.
    pub fn abandon(&mut self) {
        let waiting = self.waiting.iter().filter(|w| w.wanted).count();
        if waiting > 0 {
            log::warn!(target: "agent", "Stopping with {waiting} events that no handler was run for");
        }
        self.waiting = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether nothing runs and nothing waits.
    ///
    /// To be asked after [`Self::poll_invocation`] gave nothing.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Events that wait, not counting the one being handled.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no event waits; one may still be being handled.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that the waiting events take, by a rough measure.
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

    fn has_room(&self, cost: usize) -> bool {
        self.bytes.saturating_add(cost) <= self.bytes_max
    }

    fn append(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.cost);
        self.waiting.push_back(waiting);
    }

    /// Takes the next event that somebody wants; `None` if there is none.
    fn begin_next(&mut self, now: Instant) -> Option<()> {
        if let Some(ended) = self.current.take() {
            note_handled(&mut self.handled_queries, &ended.event);
        }
        loop {
            let Some(waiting) = self.waiting.pop_front() else {
                self.drops.tell(self.bytes_max);
                if self.waiting.capacity() > IDLE_CAPACITY {
                    self.waiting.shrink_to(IDLE_CAPACITY);
                }
                return None;
            };
            self.bytes = self.bytes.saturating_sub(waiting.cost);
            self.drops.tell_in_time(self.bytes_max, now);
            if waiting.wanted {
                let matching = self.handlers.matching(&waiting.event);
                let run = |r: &Registered| Run {
                    id: r.id,
                    script: Arc::clone(&r.handler.script),
                };
                self.current = Some(Current {
                    scripts: matching.map(run).collect(),
                    stdin: stdin(&waiting.event),
                    event: waiting.event,
                    running: None,
                });
                return Some(());
            }
            note_handled(&mut self.handled_queries, &waiting.event);
        }
    }

    /// Makes a run of a script, unless the event fits no environment.
    fn invoke(&mut self, run: Run, local: Local<'_>) -> Option<Invocation> {
        let current = self.current.as_mut()?;
        match environment(&current.event, local) {
            Ok(environment) => {
                let invocation = Invocation {
                    script: Arc::clone(&run.script),
                    env: environment.variables,
                    stdin: Arc::clone(&current.stdin),
                };
                current.running = Some(run);
                self.note_refused_tags(environment.refused_tags);
                Some(invocation)
            }
            Err(reason) => {
                warn_failed(&run.script, &reason);
                self.counters.refused += 1;
                self.handlers.count_drop(&current.event, Some(run.id));
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

    fn forget_unwanted(&mut self) {
        let (bytes, handled) = (&mut self.bytes, &mut self.handled_queries);
        self.waiting.retain(|waiting| {
            if !waiting.wanted {
                *bytes = bytes.saturating_sub(waiting.cost);
                note_handled(handled, &waiting.event);
            }
            waiting.wanted
        });
    }

    /// Takes in member news although there is no room, at the cost of older news of the same nodes.
    fn merge(&mut self, news: MemberEvent) {
        let kind = news.kind;
        let named = news.members.into_iter().map(|m| (m.name.clone(), Some(m)));
        let mut news: OrderedMap<NodeName, Option<Member>> = named.collect();
        for waiting in self.waiting.iter_mut().rev() {
            if let Event::Member(old) = &mut waiting.event {
                self.counters.merged_members += give_way(old, kind, &mut news);
                self.bytes = self.bytes.saturating_sub(waiting.cost);
                waiting.cost = cost(&waiting.event);
                self.bytes = self.bytes.saturating_add(waiting.cost);
            }
        }
        let bytes = &mut self.bytes;
        self.waiting.retain(|waiting| match &waiting.event {
            Event::Member(event) if event.members.is_empty() => {
                *bytes = bytes.saturating_sub(waiting.cost);
                false
            }
            _ => true,
        });
        let members: Vec<Member> = news.into_values().flatten().collect();
        if !members.is_empty() {
            let event = Event::Member(MemberEvent { kind, members });
            let cost = cost(&event);
            self.append(Waiting {
                event,
                cost,
                wanted: true,
            });
        }
        self.check_invariants();
    }

    fn note_drop(&mut self, event: &Event, now: Instant) {
        self.drops.untold += 1;
        self.drops.last = Described(event).to_string();
        self.drops.tell_in_time(self.bytes_max, now);
    }

    /// Panics in debug builds if the sums are wrong.
    fn check_invariants(&self) {
        debug_assert_eq!(
            self.bytes,
            self.waiting.iter().map(|w| w.cost).sum::<usize>()
        );
    }
}

fn note_handled(handled: &mut VecDeque<(LamportTime, u32)>, event: &Event) {
    if let Event::Query(query) = event {
        handled.push_back((query.ltime, query.id));
    }
}

/// Removes from older news the nodes that there are newer ones of; tells how many. What an update says
/// goes into a join or update that waits, and is taken from the news then.
fn give_way(
    old: &mut MemberEvent,
    kind: MemberEventKind,
    news: &mut OrderedMap<NodeName, Option<Member>>,
) -> u64 {
    let before = old.members.len();
    let refreshes = kind == MemberEventKind::Update
        && matches!(old.kind, MemberEventKind::Join | MemberEventKind::Update);
    let mut refreshed = 0;
    old.members.retain_mut(|member| {
        let Some(newer) = news.get_mut(&member.name) else {
            return true;
        };
        match newer.take_if(|_| refreshes) {
            Some(newer) => {
                *member = newer;
                refreshed += 1;
                true
            }
            None => false,
        }
    });
    (before - old.members.len() + refreshed) as u64
}

impl DropLog {
    fn tell_in_time(&mut self, bytes_max: usize, now: Instant) {
        let due = |told: Instant| now.since(told) >= DROP_LOG_INTERVAL;
        if self.untold > 0 && self.told.is_none_or(due) {
            self.told = Some(now);
            self.tell(bytes_max);
        }
    }

    fn tell(&mut self, bytes_max: usize) {
        let untold = mem::take(&mut self.untold);
        if untold > 0 {
            log::warn!(
                target: "agent",
                "Handler queue is full ({bytes_max} bytes of events wait): dropped {untold} events, \
                 the last one '{}'",
                mem::take(&mut self.last)
            );
        }
    }
}

/// What an event takes in memory, roughly.
fn cost(event: &Event) -> usize {
    let own = mem::size_of::<Waiting>();
    let bytes = match event {
        Event::Member(event) => event.members.iter().map(member_cost).sum(),
        Event::User(event) => named_cost(&event.name, &event.payload),
        Event::Query(query) => named_cost(&query.name, &query.payload),
    };
    own.saturating_add(bytes)
}

fn named_cost(name: &[u8], payload: &[u8]) -> usize {
    name.len() + payload.len() + 2 * ALLOCATION_BYTES
}

fn member_cost(member: &Member) -> usize {
    let pair = 2 * (mem::size_of::<Box<[u8]>>() + ALLOCATION_BYTES);
    let tags = member
        .tags
        .iter()
        .map(|(key, value)| key.len() + value.len() + pair);
    mem::size_of::<Member>() + member.name.as_bytes().len() + tags.sum::<usize>()
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
