//! A bound on how often something is done.

use crate::time::{Duration, Instant};

/// Tokens that come back one by one, up to a store.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    tokens: u32,
    tokens_max: u32,
    every: Duration,
    /// The last token came back then.
    refilled: Instant,
}

impl TokenBucket {
    /// A full one.
    pub fn new(tokens_max: u32, every: Duration, now: Instant) -> Self {
        TokenBucket {
            tokens: tokens_max,
            tokens_max,
            every: every.max(Duration::from_nanos(1)),
            refilled: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let back = now.since(self.refilled).as_nanos() / self.every.as_nanos();
        if back >= u128::from(self.tokens_max - self.tokens) {
            self.tokens = self.tokens_max;
            self.refilled = now;
        } else {
            // Both fit: `back` is smaller than a u32.
            self.tokens += back as u32;
            self.refilled += self.every.saturating_mul(back as u32);
        }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// When the next token comes back; for an empty bucket, later than the time of the last
    /// [`Self::take`].
    pub fn next_refill(&self) -> Instant {
        self.refilled + self.every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_one_by_one() {
        let at = Instant::from_millis;
        let mut bucket = TokenBucket::new(2, Duration::from_millis(10), at(0));
        assert!(bucket.take(at(5)));
        assert!(bucket.take(at(5)));
        assert!(!bucket.take(at(5)));
        assert!(bucket.next_refill() > at(5));
        assert!(!bucket.take(at(14)));
        assert!(bucket.take(at(15)));
        assert!(!bucket.take(at(24)));
        assert!(bucket.take(at(1_000)) && bucket.take(at(1_000)) && !bucket.take(at(1_000)));
    }
}
