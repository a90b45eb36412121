//! Detects that this process handles its timers late, which means that the machine is overloaded. Until it
//! has caught up, the node does its work in larger pieces, and causes less of it.
//!
//! An overload must not keep itself up. Where all nodes are busy, acks come too late, so nodes are suspected
//! and refute it, and gossip about this keeps all nodes busy. So a node that is behind gossips at ticks only
//! and to one target at a time ([`super::gossip`]), and waits longer for an ack before it asks relays
//! ([`super::probe`]).

use super::Config;
use crate::time::{Duration, Instant};

/// Divisor of the gossip interval: the node is behind if a timer is handled later than this fraction of it.
const LATE_PER_INTERVAL: u32 = 8;
/// Gossip intervals after a late timer until the node counts as in time again: after the first, and at most.
/// The wait doubles with each late timer that follows soon.
const CALM_INTERVALS: u32 = 2;
const CALM_INTERVALS_MAX: u32 = 16;

/// Tracks how late timers are handled.
#[derive(Debug)]
pub(super) struct Lag {
    late: Duration,
    /// The wait after the last late timer.
    calm: Duration,
    calm_min: Duration,
    calm_max: Duration,
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
            calm_min: config.gossip_interval * CALM_INTERVALS,
            calm_max: config.gossip_interval * CALM_INTERVALS_MAX,
            until: Instant::ORIGIN,
            asleep: None,
            asleep_for: config.probe_timeout / 2,
        }
    }

    /// Notes that a timer due at `due` is handled at `now`.
    pub(super) fn note(&mut self, due: Instant, now: Instant) {
        let late = now.since(due);
        if late > self.late {
            let is_first = now >= self.until + self.calm_max;
            self.calm = match is_first {
                true => self.calm_min,
                false => (self.calm * 2).min(self.calm_max),
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_each_late_timer() {
        let mut lag = Lag::new(&Config::lan());
        let start = Instant::ORIGIN + Duration::from_secs(60);
        let millis = Duration::from_millis;
        let late_at = |lag: &mut Lag, now: Instant| lag.note(now - millis(26), now);
        let calm_after = |lag: &Lag, now: Instant| lag.until.since(now);
        lag.note(start - millis(25), start);
        assert!(!lag.is_behind(start), "25 ms are an eighth of the interval");
        let mut now = start;
        for calm in [400, 800, 1_600, 3_200, 3_200] {
            late_at(&mut lag, now);
            assert!(lag.is_behind(now));
            assert_eq!(calm_after(&lag, now), millis(calm));
            now = lag.until;
            assert!(!lag.is_behind(now));
        }
        // Long after the last one, the next is the first.
        now += millis(3_199);
        late_at(&mut lag, now);
        assert_eq!(calm_after(&lag, now), millis(3_200));
        now = lag.until + millis(3_200);
        late_at(&mut lag, now);
        assert_eq!(calm_after(&lag, now), millis(400));
    }
}
