//! Handlers of a simulated node: the real queue decides what runs next, the seed how long it takes.
//!
//! Beside the queue, the events are kept in the order in which the core gave them. Whatever the queue
//! starts must be the next of them, with its text and its environment.

use std::collections::VecDeque;

use cottar::handler::{
    Answer, Counters, End, HandlerQueue, HandlerSettings, Local, Outcome, event_type,
};
use cottar::rng::Rng;
use cottar::serf::{Event, LamportTime, QueryHandlers, Serf};
use cottar::time::{Duration, Instant};

/// How long handlers run.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each as long as this.
    Fixed(Duration),
    /// The first as long as this, the others a millisecond.
    FirstOnly(Duration),
    /// Mostly up to the first, now and then up to the second.
    Drawn(Duration, Duration),
}

/// The queue of a node's handlers, and the run that is under way.
pub struct Handlers {
    pace: Pace,
    queue: HandlerQueue,
    expected: VecDeque<(u64, Event)>,
    running: Option<(u64, Event, Duration)>,
    next_order: u64,
    started: u64,
}

impl Handlers {
    /// One handler, for every event.
    pub fn new(pace: Pace) -> Self {
        Handlers {
            pace,
            queue: HandlerQueue::new(vec![HandlerSettings::from_text(b"*=handle").unwrap()]),
            expected: VecDeque::new(),
            running: None,
            next_order: 0,
            started: 0,
        }
    }

    /// An event for the handlers; returns its place in the order.
    pub fn push(&mut self, event: Event, now: Instant) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.expected.push_back((order, event.clone()));
        self.queue.push(event, now);
        order
    }

    /// Starts the next run if there is one; returns its place and how long it will take.
    pub fn start(&mut self, serf: &Serf, rng: &mut Rng, now: Instant) -> Option<(u64, Duration)> {
        let local = Local::alone(serf.local_name(), serf.tags());
        let invocation = self.queue.poll_invocation(local, now)?;
        let (order, event) = self.expected.pop_front().expect("an event for each run");
        let variable = |name: &[u8]| {
            let found = invocation.env.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| &value[..])
        };
        assert_eq!(variable(b"SERF_EVENT"), Some(event_type(&event).as_bytes()));
        match &event {
            Event::User(user) => {
                let ltime = user.ltime.to_string();
                assert_eq!(variable(b"SERF_USER_LTIME"), Some(ltime.as_bytes()));
                assert!(invocation.stdin.starts_with(&user.payload), "{event:?}");
            }
            Event::Query(query) => {
                let ltime = query.ltime.to_string();
                assert_eq!(variable(b"SERF_QUERY_LTIME"), Some(ltime.as_bytes()));
                assert!(invocation.stdin.starts_with(&query.payload), "{event:?}");
            }
            Event::Member(news) => {
                let lines = invocation.stdin.split_inclusive(|&byte| byte == b'\n');
                let named = |(line, member): (&[u8], &cottar::serf::Member)| {
                    line.starts_with(member.name.as_bytes())
                };
                assert_eq!(lines.clone().count(), news.members.len(), "{event:?}");
                assert!(lines.zip(&news.members).all(named), "{event:?}");
            }
        }
        self.started += 1;
        let quick = Duration::from_millis(1);
        let time = match self.pace {
            Pace::Fixed(time) => time,
            Pace::FirstOnly(time) if self.started == 1 => time,
            Pace::FirstOnly(_) => quick,
            Pace::Drawn(most, rarely) => {
                let bound = if rng.chance(0.05) { rarely } else { most };
                quick + rng.duration_below(bound)
            }
        };
        let before = self.running.replace((order, event, time));
        assert!(before.is_none(), "a second run while one is under way");
        Some((order, time))
    }

    /// The run is over and wrote this; returns its place, its event, and its answer if it has one.
    pub fn end(&mut self, output: String) -> Option<(u64, Event, Option<Answer>)> {
        let (order, event, duration) = self.running.take()?;
        let outcome = Outcome {
            end: End::Exited(0),
            output_bytes: output.len() as u64,
            output: output.into_bytes(),
            duration,
        };
        let answer = self.queue.handle_outcome(outcome);
        Some((order, event, answer))
    }

    /// Which queries there are handlers for.
    pub fn wanted_queries(&self) -> QueryHandlers {
        self.queue.query_handlers()
    }

    /// A query for which nothing runs any more.
    pub fn handled_query(&mut self) -> Option<(LamportTime, u32)> {
        self.queue.poll_handled_query()
    }

    /// Events that wait, the running one not counted.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn counters(&self) -> Counters {
        self.queue.counters()
    }
}
