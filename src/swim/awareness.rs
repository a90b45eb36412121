//! How well this node itself seems to be (Lifeguard, gossip spec 4.6).

use crate::time::Duration;

/// A score from 0, healthy, to one below its bound.
#[derive(Clone, Copy, Debug)]
pub struct Awareness {
    score: u32,
    bound: u32,
}

impl Awareness {
    /// A healthy one.
    pub const fn new(bound: u32) -> Self {
        Awareness { score: 0, bound }
    }

    /// The score.
    pub const fn score(self) -> u32 {
        self.score
    }

    /// Something went well.
    pub fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Something went wrong that may be this node's fault, so many times.
    pub fn degrade(&mut self, by: u32) {
        let worst = self.bound.saturating_sub(1);
        self.score = self.score.saturating_add(by).min(worst);
    }

    /// An interval as a node in this shape should keep it.
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
