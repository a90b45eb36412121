//! Bounds on what others can make this node do (gossip spec 8.6, 8.7).

use crate::time::{Duration, Instant};

/// Lets a burst through, then a steady rate.
#[derive(Debug)]
pub(in crate::serf) struct RateLimit {
    burst: u32,
    /// Time for one more.
    interval: Duration,
    /// When all that was let through would have been due at the steady rate.
    level: Instant,
}

impl RateLimit {
    /// A thousand relayed replies at once is what a query in a large cluster asks for.
    pub(in crate::serf) fn relays() -> Self {
        RateLimit::new(1024, 256)
    }

    /// Replies to addresses that belong to no member: somebody who joins just now may ask already.
    pub(in crate::serf) fn strangers() -> Self {
        RateLimit::new(64, 16)
    }

    /// Acks and answers that are sent again, in KiB.
    pub(super) fn repeated_answers() -> Self {
        RateLimit::new(1024, 1024)
    }

    /// Log lines about name conflicts, which anybody can provoke.
    pub(super) fn conflict_lines() -> Self {
        RateLimit::new(16, 1)
    }

    fn new(burst: u32, per_second: u32) -> Self {
        RateLimit {
            burst,
            interval: Duration::from_secs(1) / per_second.max(1),
            level: Instant::ORIGIN,
        }
    }

    pub(in crate::serf) fn allows(&mut self, now: Instant) -> bool {
        self.allows_many(1, now)
    }

    /// Whether so many pass together.
    pub(super) fn allows_many(&mut self, count: usize, now: Instant) -> bool {
        let depth = self.interval.saturating_mul(self.burst);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let level = self.level.max(now) + self.interval.saturating_mul(count);
        let allowed = level <= now + depth;
        if allowed {
            self.level = level;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_a_rate() {
        let mut limit = RateLimit::new(3, 10);
        let passed = |limit: &mut RateLimit, millis| {
            let now = Instant::from_millis(millis);
            (0..10).filter(|_| limit.allows(now)).count()
        };
        assert_eq!(passed(&mut limit, 0), 3);
        assert_eq!(passed(&mut limit, 99), 0);
        assert_eq!(passed(&mut limit, 100), 1);
        assert_eq!(passed(&mut limit, 350), 2);
        assert_eq!(passed(&mut limit, 60_000), 3);
    }
}
