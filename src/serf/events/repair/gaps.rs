//! Gaps: Lamport times of the event clock without an event, while later ones have arrived. They indicate
//! missed events.

use crate::ordered::OrderedMap;
use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// Number of times below the highest one in which gaps are noted.
const REACH: u64 = 256;
/// Number of members asked for a time before it is given up.
const TRIES_MAX: u8 = 3;

#[derive(Debug)]
struct Gap {
    since: Instant,
    /// Number of members that were asked and did not have it.
    tried: u8,
}

/// The open gaps.
#[derive(Debug, Default)]
pub(in crate::serf) struct Gaps {
    open: OrderedMap<LamportTime, Gap>,
    /// Highest time that arrived; 0: none yet. Times below the first arrival are not gaps.
    highest: LamportTime,
}

impl Gaps {
    /// Notes the arrival of an event.
    pub(in crate::serf) fn note(&mut self, ltime: LamportTime, now: Instant) {
        self.open.remove(&ltime);
        if ltime <= self.highest {
            return;
        }
        if self.highest.0 > 0 {
            let first = (self.highest.0 + 1).max(ltime.0.saturating_sub(REACH));
            for missing in first..ltime.0 {
                let gap = Gap {
                    since: now,
                    tried: 0,
                };
                self.open.insert(LamportTime(missing), gap);
            }
        }
        self.highest = ltime;
        self.forget_below(LamportTime(ltime.0.saturating_sub(REACH)));
    }

    /// Drops gaps below a time, and expects no events below it.
    pub(in crate::serf) fn skip_below(&mut self, ltime: LamportTime) {
        self.highest = self.highest.max(LamportTime(ltime.0.saturating_sub(1)));
        self.forget_below(ltime);
    }

    fn forget_below(&mut self, ltime: LamportTime) {
        while self
            .open
            .first_key_value()
            .is_some_and(|(at, _)| *at < ltime)
        {
            self.open.pop_first();
        }
    }

    /// Returns the highest time that arrived.
    pub(in crate::serf) fn highest(&self) -> LamportTime {
        self.highest
    }

    /// Returns when the oldest gap will have been open for `age`.
    pub(in crate::serf) fn due(&self, age: Duration) -> Option<Instant> {
        let oldest = self.open.values().map(|gap| gap.since).min();
        oldest.map(|since| since + age)
    }

    /// Counts an exchange that began at `asked`, in all gaps that had been open for `age` by then: the
    /// member did not have their events. Drops gaps after [`TRIES_MAX`] members; returns their number.
    pub(in crate::serf) fn count_try(&mut self, age: Duration, asked: Instant) -> u64 {
        let before = self.open.len();
        self.open.retain(|_, gap| {
            gap.tried += u8::from(gap.since + age <= asked);
            gap.tried < TRIES_MAX
        });
        (before - self.open.len()) as u64
    }

    /// Drops the gaps that are due. Called if there is no member to ask.
    pub(in crate::serf) fn forget_due(&mut self, age: Duration, now: Instant) {
        self.open.retain(|_, gap| gap.since + age > now);
    }

    /// Formats the ranges of missing times for the log.
    pub(in crate::serf) fn ranges(&self) -> String {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for LamportTime(time) in self.open.keys() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *time => *last = *time,
                _ => ranges.push((*time, *time)),
            }
        }
        let text = |(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        ranges.iter().map(text).collect::<Vec<_>>().join(",")
    }

    pub(in crate::serf) fn check_invariants(&self) {
        assert!(self.open.len() as u64 <= REACH);
        assert!(self.open.keys().all(|at| *at < self.highest));
        assert!(self.open.values().all(|gap| gap.tried < TRIES_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_millis(600);

    fn gaps(times: &[u64]) -> Gaps {
        let mut gaps = Gaps::default();
        for (at, time) in (0..).zip(times) {
            gaps.note(LamportTime(*time), Instant::from_millis(100 * at));
            gaps.check_invariants();
        }
        gaps
    }

    #[test]
    fn what_is_passed_over_is_missing_until_it_comes() {
        assert_eq!(
            gaps(&[5, 6, 7]).ranges(),
            "",
            "nothing was due before the first"
        );
        assert_eq!(gaps(&[5, 9, 12]).ranges(), "6-8,10-11");
        assert_eq!(gaps(&[5, 9, 12, 7, 8, 10]).ranges(), "6,11");
        assert_eq!(gaps(&[5, 9]).due(AGE), Some(Instant::from_millis(700)));
        assert_eq!(gaps(&[5, 6]).due(AGE), None);
    }

    #[test]
    fn only_the_last_times_are_looked_at() {
        assert_eq!(gaps(&[5, 7, 300]).ranges(), "44-299");
        assert_eq!(gaps(&[1, u64::MAX]).open.len(), 256);
    }

    #[test]
    fn a_time_is_given_up_when_three_lack_it() {
        let mut gaps = gaps(&[5, 8]);
        let opened = Instant::from_millis(100);
        assert_eq!(
            gaps.count_try(AGE, opened),
            0,
            "not due: it may be under way"
        );
        for _ in 0..2 {
            assert_eq!(gaps.count_try(AGE, opened + AGE), 0);
        }
        gaps.note(LamportTime(6), opened);
        assert_eq!(gaps.count_try(AGE, opened + AGE), 1);
        assert_eq!(gaps.due(AGE), None);
    }

    #[test]
    fn times_before_a_join_are_not_due() {
        let mut gaps = gaps(&[5, 8]);
        gaps.skip_below(LamportTime(8));
        assert_eq!(gaps.ranges(), "");
        gaps.skip_below(LamportTime(20));
        gaps.note(LamportTime(22), Instant::from_millis(0));
        assert_eq!(gaps.ranges(), "20-21");
        gaps.forget_due(AGE, Instant::from_millis(599));
        assert_eq!(gaps.ranges(), "20-21");
        gaps.forget_due(AGE, Instant::from_millis(600));
        assert_eq!(gaps.ranges(), "");
    }
}
