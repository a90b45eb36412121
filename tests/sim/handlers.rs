//! Handlers of a simulated node: one at a time, in the order of the events, each as slow as the seed
//! says.

use std::collections::VecDeque;

use cottar::rng::Rng;
use cottar::serf::Event;
use cottar::time::Duration;

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

/// The queue of a node's handlers and the one that runs.
pub struct Handlers {
    pace: Pace,
    waiting: VecDeque<(u64, Event)>,
    running: Option<(u64, Event)>,
    next_order: u64,
    started: u64,
}

impl Handlers {
    pub fn new(pace: Pace) -> Self {
        Handlers {
            pace,
            waiting: VecDeque::new(),
            running: None,
            next_order: 0,
            started: 0,
        }
    }

    /// An event for the handlers; returns its place in the order.
    pub fn push(&mut self, event: Event) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.waiting.push_back((order, event));
        order
    }

    /// Starts the next handler if none runs; returns its place and how long it will take.
    pub fn start(&mut self, rng: &mut Rng) -> Option<(u64, Duration)> {
        if self.running.is_some() {
            return None;
        }
        let next = self.waiting.pop_front()?;
        let order = next.0;
        self.running = Some(next);
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
        Some((order, time))
    }

    /// The running handler is through.
    pub fn end(&mut self) -> Option<(u64, Event)> {
        self.running.take()
    }

    /// Events that wait, the running one not counted.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
