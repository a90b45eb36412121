//! Lamport clocks (gossip spec 5.4).

use super::LamportTime;
use crate::time::{Duration, Instant};

/// How far one push/pull can move a clock (gossip spec 8.7).
const LEAP_MAX: u64 = 1 << 40;
/// Furthest a time may be ahead of this node's clock; a message beyond it is ignored. Otherwise one forged
/// message could exhaust the clock (gossip spec 8.7). Four leaps, so that a node that has followed a clock far
/// ahead through several push/pulls is still understood by nodes that have not.
const AHEAD_MAX: u64 = 4 * LEAP_MAX;
/// How far other nodes can move a clock within [`WINDOW`], whether by messages or by push/pulls. Each message
/// and each entry of a state may be [`AHEAD_MAX`] ahead, so a thousand of them in one datagram could otherwise
/// move it by a thousand times as much, and exhaust it within minutes. With this limit it takes four months.
const MOVE_MAX: u64 = 2 * AHEAD_MAX;
const WINDOW: Duration = Duration::from_secs(10);
/// A time this little ahead is accepted even beyond that limit, so that a node whose clock was just driven far
/// ahead does not refuse messages of others with the same clock.
const NEAR: u64 = 1 << 20;
/// No clock reaches this value, in leaps or otherwise: such a time is invalid.
const ABSURD: u64 = 1 << 63;

/// One of a node's three Lamport clocks. Saturates instead of wrapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    time: u64,
    /// Start of the current window, and the time at that moment.
    window: Option<(Instant, u64)>,
}

impl Clock {
    /// Creates a clock at its first time, 1.
    pub(super) const fn new() -> Self {
        Clock {
            time: 1,
            window: None,
        }
    }

    /// Returns the time for the next message of this node.
    pub(super) const fn now(self) -> LamportTime {
        LamportTime(self.time)
    }

    /// Returns the time for a message of this node and advances the clock past it.
    pub(super) const fn tick(&mut self) -> LamportTime {
        let now = self.now();
        self.time = self.time.saturating_add(1);
        now
    }

    /// Advances the clock past a time seen in a message. Returns false and changes nothing if the time is too
    /// far ahead; the message must then be ignored.
    #[must_use]
    pub(super) fn witness(&mut self, time: LamportTime, now: Instant) -> bool {
        if time.0 > self.reach(AHEAD_MAX, now) {
            return false;
        }
        if time.0 >= self.time {
            self.time = time.0.saturating_add(1);
        }
        true
    }

    /// Returns the furthest time that the clock may move to now, at most `ahead` from its time.
    fn reach(&mut self, ahead: u64, now: Instant) -> u64 {
        let base = match self.window {
            Some((since, base)) if now.since(since) < WINDOW => base,
            _ => {
                self.window = Some((now, self.time));
                self.time
            }
        };
        let most = base.saturating_add(MOVE_MAX);
        let near = self.time.saturating_add(NEAR);
        self.time.saturating_add(ahead).min(most.max(near))
    }

    /// Catches up with another node's clock as stated in a push/pull, by at most one leap. Without this, a
    /// node whose clock was driven further ahead than a leap would stay out of sync with the others forever.
    pub(super) fn catch_up(&mut self, theirs: LamportTime, now: Instant) {
        if theirs.0 > self.time && theirs.0 < ABSURD {
            self.time = theirs.0.min(self.reach(LEAP_MAX, now));
        }
    }

    /// Continues after the latest time seen in an earlier run. Returns false and changes nothing if the time
    /// is invalid.
    #[must_use]
    pub(super) const fn go_on(&mut self, seen: LamportTime) -> bool {
        if seen.0 >= ABSURD {
            return false;
        }
        if seen.0 >= self.time {
            self.time = seen.0 + 1;
        }
        true
    }

    /// Whether a time is older than a ring of `slots` remembers.
    pub(super) const fn is_forgotten(self, time: LamportTime, slots: u64) -> bool {
        self.time > slots && time.0 < self.time - slots
    }

    /// Creates a clock at any time.
    #[cfg(test)]
    pub(super) const fn at(time: u64) -> Self {
        Clock { time, window: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    #[test]
    fn witnessing_steps_past_what_was_seen() {
        // Clock before, time seen, clock after.
        for (before, seen, after) in [(1, 0, 1), (1, 1, 2), (5, 4, 5), (5, 5, 6), (5, 100, 101)] {
            let mut clock = Clock::at(before);
            assert!(clock.witness(LamportTime(seen), NOW));
            assert_eq!(clock.now(), LamportTime(after), "{before} saw {seen}");
        }
    }

    #[test]
    fn absurd_times_are_refused_and_the_end_saturates() {
        let mut clock = Clock::at(7);
        assert!(!clock.witness(LamportTime(u64::MAX), NOW));
        assert!(!clock.witness(LamportTime(7 + AHEAD_MAX + 1), NOW));
        assert_eq!(clock.now(), LamportTime(7));
        assert!(clock.witness(LamportTime(7 + AHEAD_MAX), NOW));
        let mut clock = Clock::at(u64::MAX - 1);
        assert!(clock.witness(LamportTime(u64::MAX), NOW));
        assert_eq!(clock.tick(), LamportTime(u64::MAX));
        assert_eq!(clock.tick(), LamportTime(u64::MAX));
    }

    #[test]
    fn a_push_pull_is_one_ahead_of_what_was_seen() {
        let mut clock = Clock::new();
        clock.catch_up(LamportTime(0), NOW);
        clock.catch_up(LamportTime(1), NOW);
        assert_eq!(clock.now(), LamportTime(1));
        clock.catch_up(LamportTime(9), NOW);
        assert_eq!(clock.now(), LamportTime(9));
        for garbage in [u64::MAX, ABSURD] {
            clock.catch_up(LamportTime(garbage), NOW);
            assert_eq!(clock.now(), LamportTime(9));
        }
        assert_eq!(clock.tick(), LamportTime(9));
        assert_eq!(clock.now(), LamportTime(10));
    }

    #[test]
    fn catching_up_with_a_clock_far_ahead_takes_several_leaps() {
        let mut clock = Clock::at(5);
        let far = LamportTime(5 + 4 * LEAP_MAX + 7);
        assert!(!clock.witness(far, NOW));
        for after in [1, 2, 3, 4]
            .map(|leaps| 5 + leaps * LEAP_MAX)
            .into_iter()
            .chain([far.0; 2])
        {
            clock.catch_up(far, NOW);
            assert_eq!(clock.now(), LamportTime(after));
        }
    }

    #[test]
    fn a_message_three_leaps_ahead_is_accepted() {
        let (mut ahead, mut behind) = (Clock::at(700), Clock::at(500));
        for _ in 0..3 {
            ahead.catch_up(LamportTime(9 * LEAP_MAX), NOW);
        }
        assert!(behind.witness(ahead.tick(), NOW));
        assert_eq!(behind.now(), ahead.now());
    }

    #[test]
    fn a_later_life_goes_on_however_far_the_earlier_one_was() {
        let mut clock = Clock::new();
        assert!(!clock.go_on(LamportTime(ABSURD)));
        assert_eq!(clock.now(), LamportTime(1));
        for (seen, after) in [
            (0, 1),
            (3 * LEAP_MAX, 3 * LEAP_MAX + 1),
            (7, 3 * LEAP_MAX + 1),
        ] {
            assert!(clock.go_on(LamportTime(seen)));
            assert_eq!(clock.now(), LamportTime(after));
        }
    }

    #[test]
    fn the_ring_reaches_back_by_its_length() {
        let clock = Clock::at(1001);
        assert!(clock.is_forgotten(LamportTime(488), 512));
        assert!(!clock.is_forgotten(LamportTime(489), 512));
        assert!(!Clock::at(512).is_forgotten(LamportTime(0), 512));
        assert!(Clock::at(513).is_forgotten(LamportTime(0), 512));
    }

    #[test]
    fn many_messages_move_a_clock_no_further_than_a_few() {
        let mut clock = Clock::at(5);
        let mut now = NOW;
        for _ in 0..3 {
            let start = clock.time;
            for _ in 0..100 {
                let _ = clock.witness(LamportTime(clock.time + AHEAD_MAX), now);
                clock.catch_up(LamportTime(clock.time + AHEAD_MAX), now);
            }
            let moved = clock.time - start;
            assert!((MOVE_MAX..=MOVE_MAX + 100 * NEAR).contains(&moved));
            assert!(!clock.witness(LamportTime(clock.time + LEAP_MAX), now));
            // Others with the same clock are understood.
            assert!(clock.witness(LamportTime(clock.time + 1_000), now));
            now += WINDOW;
        }
    }
}
