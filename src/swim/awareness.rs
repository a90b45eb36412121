//! Local health of this node (Lifeguard, gossip spec 4.6).

use crate::time::Duration;

/// Health score, from 0 (healthy) to `bound - 1`.
#[derive(Clone, Copy, Debug)]
pub struct Awareness {
    score: u32,
    bound: u32,
}

impl Awareness {
    /// Creates a healthy score.
    pub const fn new(bound: u32) -> Self {
        Awareness { score: 0, bound }
    }

    /// Returns the score.
    pub const fn score(self) -> u32 {
        self.score
    }

    /// Lowers the score by one, after a success.
    pub fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Raises the score by `by`, after failures that may be this node's fault.
    pub fn degrade(&mut self, by: u32) {
        let worst = self.bound.saturating_sub(1);
        self.score = self.score.saturating_add(by).min(worst);
    }

    /// Multiplies an interval by the score plus one.
    pub fn scale(self, interval: Duration) -> Duration {
        interval.saturating_mul(self.score.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_clamped_at_both_ends() {
        let mut awareness = Awareness::new(8);
        awareness.improve();
        assert_eq!(awareness.score(), 0);
        awareness.degrade(3);
        assert_eq!(
            awareness.scale(Duration::from_secs(1)),
            Duration::from_secs(4)
        );
        awareness.degrade(100);
        assert_eq!(awareness.score(), 7);
        awareness.improve();
        assert_eq!(awareness.score(), 6);
        awareness.degrade(0);
        assert_eq!(awareness.score(), 6);
    }
}
