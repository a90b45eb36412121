//! Whether this node keeps up with its own timers. One that does not runs on a machine that is too busy, and
//! does what it has to do in larger pieces until it has caught up.

use super::Config;
use crate::time::{Duration, Instant};

/// A timer that is handled later than this share of the gossip interval means that time is short.
const LATE_PER_INTERVAL: u32 = 8;
/// Gossip intervals until a node that was late is in time again.
const CALM_INTERVALS: u32 = 2;

/// How late timers are handled.
#[derive(Debug)]
pub(super) struct Lag {
    late: Duration,
    calm: Duration,
    /// Until when news wait for the tick.
    until: Instant,
    /// When a timer was last so late that an ack may have been, too.
    asleep: Option<Instant>,
    asleep_for: Duration,
}

impl Lag {
    pub(super) fn new(config: &Config) -> Self {
        Lag {
            late: config.gossip_interval / LATE_PER_INTERVAL,
            calm: config.gossip_interval * CALM_INTERVALS,
            until: Instant::ORIGIN,
            asleep: None,
            asleep_for: config.probe_timeout / 2,
        }
    }

    /// What was due at `due` is done now.
    pub(super) fn note(&mut self, due: Instant, now: Instant) {
        let late = now.since(due);
        if late > self.late {
            self.until = now + self.calm;
        }
        if late > self.asleep_for {
            self.asleep = Some(now);
        }
    }

    /// Whether this node is behind.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Whether it has slept for long since then.
    pub(super) fn was_asleep(&self, since: Instant) -> bool {
        self.asleep.is_some_and(|at| at >= since)
    }
}
