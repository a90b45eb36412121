//! Detects that this process handles its timers late, which means that the machine is overloaded. Until it
//! has caught up, the node does its work in larger pieces.

use super::Config;
use crate::time::{Duration, Instant};

/// Divisor of the gossip interval: the node is behind if a timer is handled later than this fraction of it.
const LATE_PER_INTERVAL: u32 = 8;
/// Gossip intervals after a late timer until the node counts as in time again.
const CALM_INTERVALS: u32 = 2;

/// Tracks how late timers are handled.
#[derive(Debug)]
pub(super) struct Lag {
    late: Duration,
    calm: Duration,
    /// Until this time the node is behind, and new messages wait for the tick.
    until: Instant,
    /// Last time that a timer was so late that an ack may have been late, too.
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

    /// Notes that a timer due at `due` is handled at `now`.
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

    /// Whether the process was suspended for a long time since `since`.
    pub(super) fn was_asleep(&self, since: Instant) -> bool {
        self.asleep.is_some_and(|at| at >= since)
    }
}
