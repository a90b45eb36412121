//! Handlers of a simulated node: the real queue decides what runs next, the seed how long it takes.
//!
//! The events are also kept in the order in which the core delivered them. Each run that the queue starts
//! must be for the next of them, with its input and its environment.

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
    /// All runs take this long.
    Fixed(Duration),
    /// The first run takes this long, all others a millisecond.
    FirstOnly(Duration),
    /// Most runs take up to the first duration, some up to the second.
    Drawn(Duration, Duration),
}

/// The handler queue of a node, and the current run.
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

    /// Queues an event; returns its position in the order.
    pub fn push(&mut self, event: Event, now: Instant) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.expected.push_back((order, event.clone()));
        self.queue.push(event, now);
        order
    }

    /// Starts the next run, if any; returns its position and its duration.
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

    /// Ends the run with this output; returns its position, its event, and its answer, if any.
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

    /// The queries for which there are handlers.
    pub fn wanted_queries(&self) -> QueryHandlers {
        self.queue.query_handlers()
    }

    /// Takes a query whose handlers have all ended.
    pub fn handled_query(&mut self) -> Option<(LamportTime, u32)> {
        self.queue.poll_handled_query()
    }

    /// The number of waiting events, without the running one.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn counters(&self) -> Counters {
        self.queue.counters()
    }
}
