//! Lamport clocks (gossip spec 5.4).

use super::LamportTime;

/// How far ahead of the own clock a time may be; beyond it its message is ignored. Otherwise one
/// forged message would use the clock up (gossip spec 8.7).
const LEAP_MAX: u64 = 1 << 40;

/// One of the three clocks of a node. Saturates instead of wrapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(u64);

impl Clock {
    /// A clock at its first time.
    pub(super) const fn new() -> Self {
        Clock(1)
    }

    /// The time that the next own message carries.
    pub(super) const fn now(self) -> LamportTime {
        LamportTime(self.0)
    }

    /// Takes the time for an own message and steps past it.
    pub(super) const fn tick(&mut self) -> LamportTime {
        let now = self.now();
        self.0 = self.0.saturating_add(1);
        now
    }

    /// Steps past a time seen in a message. `false`: the time is absurd, nothing happened, and the
    /// message must be ignored.
    #[must_use]
    pub(super) const fn witness(&mut self, time: LamportTime) -> bool {
        if time.0 > self.0.saturating_add(LEAP_MAX) {
            return false;
        }
        if time.0 >= self.0 {
            self.0 = time.0.saturating_add(1);
        }
        true
    }

    /// Catches up with another node's clock as a push/pull states it.
    pub(super) const fn catch_up(&mut self, theirs: LamportTime) {
        if theirs.0 > 0 {
            let _absurd_is_ignored = self.witness(LamportTime(theirs.0 - 1));
        }
    }

    /// Whether a time lies further back than a ring of `slots` remembers.
    pub(super) const fn is_forgotten(self, time: LamportTime, slots: u64) -> bool {
        self.0 > slots && time.0 < self.0 - slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnessing_steps_past_what_was_seen() {
        // Clock before, time seen, clock after.
        for (before, seen, after) in [(1, 0, 1), (1, 1, 2), (5, 4, 5), (5, 5, 6), (5, 100, 101)] {
            let mut clock = Clock(before);
            assert!(clock.witness(LamportTime(seen)));
            assert_eq!(clock.now(), LamportTime(after), "{before} saw {seen}");
        }
    }

    #[test]
    fn absurd_times_are_refused_and_the_end_saturates() {
        let mut clock = Clock(7);
        assert!(!clock.witness(LamportTime(u64::MAX)));
        assert!(!clock.witness(LamportTime(7 + LEAP_MAX + 1)));
        assert_eq!(clock.now(), LamportTime(7));
        assert!(clock.witness(LamportTime(7 + LEAP_MAX)));
        let mut clock = Clock(u64::MAX - 1);
        assert!(clock.witness(LamportTime(u64::MAX)));
        assert_eq!(clock.tick(), LamportTime(u64::MAX));
        assert_eq!(clock.tick(), LamportTime(u64::MAX));
    }

    #[test]
    fn a_push_pull_is_one_ahead_of_what_was_seen() {
        let mut clock = Clock::new();
        clock.catch_up(LamportTime(0));
        clock.catch_up(LamportTime(1));
        assert_eq!(clock.now(), LamportTime(1));
        clock.catch_up(LamportTime(9));
        assert_eq!(clock.now(), LamportTime(9));
        clock.catch_up(LamportTime(u64::MAX));
        assert_eq!(clock.now(), LamportTime(9));
        assert_eq!(clock.tick(), LamportTime(9));
        assert_eq!(clock.now(), LamportTime(10));
    }

    #[test]
    fn the_ring_reaches_back_by_its_length() {
        let clock = Clock(1001);
        assert!(clock.is_forgotten(LamportTime(488), 512));
        assert!(!clock.is_forgotten(LamportTime(489), 512));
        assert!(!Clock(512).is_forgotten(LamportTime(0), 512));
        assert!(Clock(513).is_forgotten(LamportTime(0), 512));
    }
}
