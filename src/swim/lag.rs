//! Detects that this process handles its timers late, which means that the machine is overloaded. Until it
//! has caught up, the node does its work in larger pieces, and causes less of it.
//!
//! An overload must not keep itself up. Where all nodes are busy, acks come too late, so nodes are suspected
//! and refute it, and gossip about this keeps all nodes busy. So a node that is behind gossips at ticks only
//! ([`super::gossip`]). One that is late again and again waits longer for an ack before it asks relays
//! ([`super::probe`]), and in the end gossips to one target at a time. It must not do so at once: while many
//! nodes join, transmissions that come later go to newcomers, which know the older members already, and the
//! older ones miss the news.

use super::Config;
use crate::time::{Duration, Instant};

/// Divisor of the gossip interval: the node is behind if a timer is handled later than this fraction of it.
const LATE_PER_INTERVAL: u32 = 8;
/// Gossip intervals after a late timer until the node counts as in time again, and until it no longer counts as
/// strained: after the first one, and at most. This second wait doubles with each late timer that follows soon.
const CALM_INTERVALS: u32 = 2;
const CALM_INTERVALS_MAX: u32 = 16;
/// Gossip intervals after which a node that is still strained counts as stuck: longer than many nodes take to
/// join.
const STUCK_INTERVALS: u32 = 150;

/// Tracks how late timers are handled.
#[derive(Debug)]
pub(super) struct Lag {
    gossip_interval: Duration,
    /// The wait after the last late timer.
    calm: Duration,
    /// Until this time the node is behind, and new messages wait for the tick.
    behind_until: Instant,
    strained_until: Instant,
    /// Since when it has been late again and again.
    since: Instant,
    /// Last time that a timer was so late that an ack may have been late, too.
    asleep: Option<Instant>,
    asleep_for: Duration,
}

impl Lag {
    pub(super) fn new(config: &Config) -> Self {
        Lag {
            gossip_interval: config.gossip_interval,
            calm: config.gossip_interval * CALM_INTERVALS,
            behind_until: Instant::ORIGIN,
            strained_until: Instant::ORIGIN,
            since: Instant::ORIGIN,
            asleep: None,
            asleep_for: config.probe_timeout / 2,
        }
    }

    /// Notes that a timer due at `due` is handled at `now`.
    pub(super) fn note(&mut self, due: Instant, now: Instant) {
        let late = now.since(due);
        if late > self.gossip_interval / LATE_PER_INTERVAL {
            let calm_min = self.gossip_interval * CALM_INTERVALS;
            let calm_max = self.gossip_interval * CALM_INTERVALS_MAX;
            if now >= self.strained_until + calm_max {
                self.since = now;
                self.calm = calm_min;
            } else {
                self.calm = (self.calm * 2).min(calm_max);
            }
            self.behind_until = now + calm_min;
            self.strained_until = now + self.calm;
        }
        if late > self.asleep_for {
            self.asleep = Some(now);
        }
    }

    /// Whether this node is behind.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        now < self.behind_until
    }

    /// Whether this node is behind again and again.
    pub(super) fn is_strained(&self, now: Instant) -> bool {
        now < self.strained_until
    }

    /// Whether this node has been strained for long.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.is_strained(now) && now.since(self.since) >= self.gossip_interval * STUCK_INTERVALS
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
        let calm_after = |lag: &Lag, now: Instant| lag.strained_until.since(now);
        lag.note(start - millis(25), start);
        assert!(!lag.is_behind(start), "25 ms are an eighth of the interval");
        let mut now = start;
        for calm in [400, 800, 1_600, 3_200, 3_200] {
            late_at(&mut lag, now);
            assert_eq!(lag.behind_until.since(now), millis(400));
            assert_eq!(calm_after(&lag, now), millis(calm));
            now = lag.strained_until;
            assert!(!lag.is_behind(now) && !lag.is_strained(now));
        }
        // Long after the last one, the next is the first.
        now += millis(3_199);
        late_at(&mut lag, now);
        assert_eq!(calm_after(&lag, now), millis(3_200));
        now = lag.strained_until + millis(3_200);
        late_at(&mut lag, now);
        assert_eq!(calm_after(&lag, now), millis(400));
    }

    #[test]
    fn who_is_late_again_and_again_is_stuck_in_the_end() {
        let mut lag = Lag::new(&Config::lan());
        let start = Instant::ORIGIN + Duration::from_secs(60);
        let late_at = |lag: &mut Lag, now| lag.note(now - Duration::from_millis(26), now);
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            late_at(&mut lag, now);
            assert!(lag.is_behind(now) && !lag.is_stuck(now), "{second}");
        }
        let mut now = start + Duration::from_secs(30);
        assert!(lag.is_stuck(now));
        now = lag.strained_until;
        assert!(!lag.is_stuck(now), "in time again");
        // After a calm time it begins anew.
        now += Duration::from_secs(4);
        late_at(&mut lag, now);
        assert!(lag.is_behind(now) && !lag.is_stuck(now));
    }
}
