//! Schedule of query repetitions, and their rate limit.

use crate::time::{Duration, Instant};

/// Number of parts into which a query's timeout is divided. Repetitions to one node are at least one part
/// apart, and the first is due after one part.
const PARTS: u32 = 16;
/// Times of the rounds, in parts after the query. Dense at first, because most missing responses were lost
/// together with the query; the last rounds are for the answers of slow handlers, and leave one part for the
/// answer to arrive.
const DUE_PARTS: [u32; 8] = [1, 2, 3, 5, 7, 10, 13, 15];
/// Minimum time between two rounds, for any timeout: a round trip within a region.
const PART_MIN: Duration = Duration::from_millis(10);

/// The rounds of one query.
#[derive(Clone, Copy, Debug)]
pub(in crate::serf) struct Rounds {
    asked_at: Instant,
    deadline: Instant,
    part: Duration,
    begun: usize,
}

impl Rounds {
    pub(in crate::serf) fn new(asked_at: Instant, deadline: Instant) -> Self {
        let part = deadline.since(asked_at) / PARTS;
        Rounds {
            asked_at,
            deadline,
            part: part.max(PART_MIN),
            begun: 0,
        }
    }

    /// Returns when the next round is due, given that the previous one ended at `ended`. `None`: no more
    /// rounds.
    pub(in crate::serf) fn next(&mut self, ended: Instant) -> Option<Instant> {
        let parts = *DUE_PARTS.get(self.begun)?;
        self.begun += 1;
        let planned = self.asked_at + self.part.saturating_mul(parts);
        let due = planned.max(ended + self.part);
        (due < self.deadline).then_some(due)
    }
}

/// Limit for the repetitions of all queries in one [`STEP`], at most 3,200 datagrams per second, so that
/// neither the socket's send buffer nor the receive buffers for the answers overflow.
const STEP_DATAGRAMS: usize = 16;
/// Limit for the bytes of queries sent in one step.
const STEP_BYTES: usize = 16 << 10;
/// Limit for the members processed in one step: each costs a lookup and a match of the query's filters.
const STEP_MEMBERS: usize = 256;
/// Duration of a step of the rate limit.
const STEP: Duration = Duration::from_millis(5);

/// Rate limit on the repetitions of all queries.
#[derive(Debug, Default)]
pub(in crate::serf) struct Pace {
    began: Instant,
    datagrams: usize,
    bytes: usize,
    members: usize,
}

impl Pace {
    /// Begins a new step if the last one is over.
    pub(in crate::serf) fn advance(&mut self, now: Instant) {
        if now >= self.began + STEP {
            *self = Pace {
                began: now,
                ..Pace::default()
            };
        }
    }

    /// Counts a member that is processed.
    pub(in crate::serf) fn look(&mut self) {
        self.members += 1;
    }

    /// Counts a datagram that is sent.
    pub(in crate::serf) fn send(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes;
    }

    pub(in crate::serf) fn is_used_up(&self) -> bool {
        self.datagrams >= STEP_DATAGRAMS || self.bytes >= STEP_BYTES || self.members >= STEP_MEMBERS
    }

    /// Returns when work that is due at `due` can be done.
    pub(in crate::serf) fn earliest(&self, due: Instant) -> Instant {
        if self.is_used_up() {
            due.max(self.began + STEP)
        } else {
            due
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Returns the times of all rounds if each takes `takes`.
    fn rounds(timeout: u64, takes: u64) -> Vec<u64> {
        let mut rounds = Rounds::new(millis(100), millis(100 + timeout));
        let mut all = Vec::new();
        let mut next = rounds.next(millis(100));
        while let Some(due) = next {
            all.push(due.since(millis(100)).as_millis() as u64);
            next = rounds.next(due + Duration::from_millis(takes));
        }
        all
    }

    #[test]
    fn eight_rounds_at_most_a_sixteenth_apart_before_the_deadline() {
        assert_eq!(rounds(1600, 0), [100, 200, 300, 500, 700, 1000, 1300, 1500]);
        assert_eq!(rounds(1600, 150), [100, 350, 600, 850, 1100, 1350]);
        assert_eq!(rounds(64, 0), [10, 20, 30, 50]);
        assert!(rounds(10, 0).is_empty() && rounds(0, 0).is_empty());
        for timeout in [160, 333, 1000, 3200, 60_000] {
            let all = rounds(timeout, 1);
            assert_eq!(all.len(), 8, "{timeout}");
            assert!(all[0] >= timeout / 16 && *all.last().unwrap() < timeout);
            assert!(all.windows(2).all(|two| two[1] - two[0] >= timeout / 16));
        }
    }

    #[test]
    fn a_step_takes_only_so_much() {
        let mut pace = Pace::default();
        pace.advance(millis(7));
        for _ in 0..STEP_DATAGRAMS {
            assert!(!pace.is_used_up());
            assert_eq!(pace.earliest(millis(3)), millis(3));
            pace.send(100);
        }
        assert_eq!(pace.earliest(millis(3)), millis(12));
        assert_eq!(pace.earliest(millis(30)), millis(30));
        pace.advance(millis(11));
        assert!(pace.is_used_up());
        pace.advance(millis(12));
        assert!(!pace.is_used_up());
        pace.send(STEP_BYTES);
        assert!(pace.is_used_up());
        pace.advance(millis(17));
        (0..STEP_MEMBERS).for_each(|_| pace.look());
        assert!(pace.is_used_up());
    }
}
