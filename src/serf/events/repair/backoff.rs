//! Exponential backoff.

use crate::time::{Duration, Instant};

/// A wait that doubles with each failed attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::serf) struct Backoff {
    /// The last wait; zero: none.
    step: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// Notes a failed attempt: waits for `base` after the first, then twice as long each time, up to `max`.
    pub(in crate::serf) fn extend(&mut self, base: Duration, max: Duration, now: Instant) {
        self.step = self.step.saturating_mul(2).max(base).min(max.max(base));
        self.until = Some(now + self.step);
    }

    /// Resets the wait after a successful attempt.
    pub(in crate::serf) fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// Whether the next attempt may start.
    pub(in crate::serf) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Returns when the next attempt may start; `None`: at any time.
    pub(in crate::serf) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_last_up_to_the_longest() {
        let (base, max) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut backoff = Backoff::default();
        let now = Instant::from_millis(0);
        assert!(backoff.is_over(now));
        for due in [1, 2, 4, 8, 16, 30, 30] {
            backoff.extend(base, max, now);
            assert_eq!(backoff.until(), Some(now + Duration::from_secs(due)));
            assert!(!backoff.is_over(now + Duration::from_millis(999)));
        }
        backoff.reset();
        assert!(backoff.is_over(now));
        backoff.extend(base, Duration::ZERO, now);
        assert_eq!(backoff.until(), Some(now + base));
    }
}
