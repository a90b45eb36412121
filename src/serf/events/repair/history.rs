//! Past values of the event clock.

use std::collections::VecDeque;

use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// Limit for the values kept; older ones are dropped.
const STEPS_MAX: usize = 256;

/// Past values of a clock, each with the time of the change.
#[derive(Debug)]
pub(in crate::serf) struct ClockHistory {
    /// In chronological order, at least `resolution` apart.
    steps: VecDeque<(Instant, LamportTime)>,
    /// The last change.
    latest: (Instant, LamportTime),
    resolution: Duration,
}

impl ClockHistory {
    /// Starts with a first value. Keeps at most one change per `resolution`.
    pub(in crate::serf) fn new(clock: LamportTime, resolution: Duration, now: Instant) -> Self {
        ClockHistory {
            steps: VecDeque::from([(now, clock)]),
            latest: (now, clock),
            resolution,
        }
    }

    /// Records the clock's value if it has changed.
    pub(in crate::serf) fn note(&mut self, clock: LamportTime, now: Instant) {
        if clock == self.latest.1 {
            return;
        }
        let apart = |step: &(Instant, LamportTime)| self.latest.0.since(step.0) >= self.resolution;
        if self.steps.back().is_none_or(apart) {
            if self.steps.len() >= STEPS_MAX {
                self.steps.pop_front();
            }
            self.steps.push_back(self.latest);
        }
        self.latest = (now, clock);
    }

    /// Returns the latest known value that the clock had at least `age` ago.
    pub(in crate::serf) fn at_age(&self, age: Duration, now: Instant) -> LamportTime {
        let is_old = |since: Instant| now.since(since) >= age;
        if is_old(self.latest.0) {
            return self.latest.1;
        }
        let old = self.steps.partition_point(|(since, _)| is_old(*since));
        let step = self.steps.get(old.saturating_sub(1));
        step.map_or(LamportTime(1), |(_, clock)| *clock)
    }

    /// Whether the clock has not changed for `age`.
    pub(in crate::serf) fn is_quiet(&self, age: Duration, now: Instant) -> bool {
        now.since(self.latest.0) >= age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_second_ago() {
        let (at, millis) = (Instant::from_millis, Duration::from_millis);
        let mut history = ClockHistory::new(LamportTime(1), millis(50), at(1_000));
        for step in 0..100 {
            history.note(LamportTime(2 + step), at(2_000 + 10 * step));
        }
        let ago = |age, now| history.at_age(millis(age), at(now)).0;
        assert_eq!(ago(1_000, 1_500), 1, "nothing is older");
        assert_eq!(ago(500, 2_990), 47, "of 51, within the resolution");
        assert_eq!(ago(0, 2_990), 101);
        assert_eq!(ago(1_000, 3_990), 101);
        assert!(history.is_quiet(millis(1_000), at(3_990)));
        assert!(!history.is_quiet(millis(1_000), at(3_989)));
        assert!(history.steps.len() <= 22);
    }

    #[test]
    fn the_memory_is_bounded() {
        let at = Instant::from_millis;
        let mut history = ClockHistory::new(LamportTime(1), Duration::from_millis(50), at(0));
        for step in 1..=2_000 {
            history.note(LamportTime(1 + step), at(60 * step));
        }
        assert_eq!(history.steps.len(), STEPS_MAX);
        let oldest = history.at_age(Duration::from_secs(600), at(120_000));
        assert_eq!(oldest, LamportTime(2_001 - 256));
    }
}
