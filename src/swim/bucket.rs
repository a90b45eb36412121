//! Rate limiting.

use crate::time::{Duration, Instant};

/// Token bucket: refills at a constant rate up to its capacity.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Time in which an empty bucket refills completely.
    depth: Duration,
    every: Duration,
    /// Time at which the bucket is, or was, full again.
    full: Instant,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub fn new(tokens_max: u32, every: Duration) -> Self {
        let every = every.max(Duration::from_nanos(1));
        TokenBucket {
            depth: every.saturating_mul(tokens_max),
            every,
            full: Instant::ORIGIN,
        }
    }

    /// Takes a token; returns false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_many(1, now)
    }

    /// Takes `count` tokens; takes none and returns false if there are fewer.
    pub fn take_many(&mut self, count: usize, now: Instant) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let full = self.full.max(now) + self.every.saturating_mul(count);
        let has = full <= now + self.depth;
        if has {
            self.full = full;
        }
        has
    }

    /// Returns the time of the next token of an empty bucket, later than the last [`Self::take`].
    pub fn next_refill(&self) -> Instant {
        self.full + self.every - self.depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_one_by_one() {
        let at = Instant::from_millis;
        let mut bucket = TokenBucket::new(2, Duration::from_millis(10));
        assert!(bucket.take(at(5)));
        assert!(bucket.take(at(5)));
        assert!(!bucket.take(at(5)));
        assert_eq!(bucket.next_refill(), at(15));
        assert!(!bucket.take(at(14)));
        assert!(bucket.take(at(15)));
        assert!(!bucket.take(at(24)));
        assert!(bucket.take(at(1_000)) && bucket.take(at(1_000)) && !bucket.take(at(1_000)));
    }

    #[test]
    fn a_burst_passes_then_a_rate() {
        let mut bucket = TokenBucket::new(3, Duration::from_millis(100));
        let passed = |bucket: &mut TokenBucket, millis| {
            let now = Instant::from_millis(millis);
            (0..10).filter(|_| bucket.take(now)).count()
        };
        for (millis, expected) in [(0, 3), (99, 0), (100, 1), (350, 2), (60_000, 3)] {
            assert_eq!(passed(&mut bucket, millis), expected, "{millis}");
        }
    }

    #[test]
    fn several_are_taken_together_or_not_at_all() {
        let at = Instant::from_millis;
        let mut bucket = TokenBucket::new(3, Duration::from_millis(10));
        assert!(!bucket.take_many(4, at(1_000)));
        assert!(bucket.take_many(2, at(1_000)));
        assert!(!bucket.take_many(2, at(1_000)));
        assert!(bucket.take_many(1, at(1_000)));
        assert!(!bucket.take_many(usize::MAX, at(9_000)));
    }
}
