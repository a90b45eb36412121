//! When handlers for `sync` first run after the agent's start.

use crate::time::{Duration, Instant};

/// How long the first `sync` waits for other members after a start that joins a cluster.
const WAIT: Duration = Duration::from_secs(10);

/// State of the first `sync` runs after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartSync {
    /// No other member was seen yet. With a time: `sync` is due then, even if no other member is found.
    Waiting(Option<Instant>),
    /// `sync` has run with other members in the list.
    Over,
}

impl StartSync {
    /// Creates the state of a start at `now`. `is_joining`: the agent is looking for other members.
    pub fn new(is_joining: bool, now: Instant) -> Self {
        StartSync::Waiting(Some(if is_joining { now + WAIT } else { now }))
    }

    /// Returns whether `sync` handlers must run now; `has_found` returns whether there are other members.
    pub fn poll(&mut self, has_found: impl FnOnce() -> bool, now: Instant) -> bool {
        let StartSync::Waiting(until) = *self else {
            return false;
        };
        let is_due = until.is_some_and(|until| until <= now);
        let has_found = has_found();
        if has_found {
            *self = StartSync::Over;
        } else if is_due {
            *self = StartSync::Waiting(None);
        }
        has_found || is_due
    }

    /// Returns when [`Self::poll`] will return `true` even without other members.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self {
            StartSync::Waiting(until) => *until,
            StartSync::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_runs_start_when_members_are_found_or_after_ten_seconds() {
        let at = Instant::from_millis;
        let polled = |is_joining: bool, found_at: u64| {
            let mut start = StartSync::new(is_joining, at(0));
            let times = (0..30_000).step_by(500);
            let told = times.filter(|&now| start.poll(|| now >= found_at, at(now)));
            let told = told.collect::<Vec<_>>();
            assert_eq!(start.poll_timeout(), None);
            told
        };
        // Without a join: at once, and again when other members appear.
        assert_eq!(polled(false, u64::MAX), [0]);
        assert_eq!(polled(false, 7_000), [0, 7_000]);
        assert_eq!(polled(true, 3_000), [3_000]);
        assert_eq!(polled(true, u64::MAX), [10_000]);
        assert_eq!(polled(true, 20_000), [10_000, 20_000]);
        assert_eq!(polled(true, 0), [0]);
    }
}
