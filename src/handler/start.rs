//! When handlers that ask for the state of the cluster are told it after the start.

use crate::time::{Duration, Instant};

/// How long a start waits for the rest of the cluster.
const WAIT: Duration = Duration::from_secs(10);

/// The first runs with the state of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartSync {
    /// Others are awaited. With a time: handlers are told at that time, whether there are others or not.
    Waiting(Option<Instant>),
    /// The handlers were told of the others.
    Over,
}

impl StartSync {
    /// A start at `now`. `is_joining`: there is somebody to look for.
    pub fn new(is_joining: bool, now: Instant) -> Self {
        StartSync::Waiting(Some(if is_joining { now + WAIT } else { now }))
    }

    /// Whether the handlers are to be told now; `has_found`: others are there.
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

    /// When [`Self::poll`] has something to say whatever happens.
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
    fn the_state_is_told_when_there_is_one() {
        let at = Instant::from_millis;
        let polled = |is_joining: bool, found_at: u64| {
            let mut start = StartSync::new(is_joining, at(0));
            let times = (0..30_000).step_by(500);
            let told = times.filter(|&now| start.poll(|| now >= found_at, at(now)));
            let told = told.collect::<Vec<_>>();
            assert_eq!(start.poll_timeout(), None);
            told
        };
        // Nobody to look for: at once, and again when others come.
        assert_eq!(polled(false, u64::MAX), [0]);
        assert_eq!(polled(false, 7_000), [0, 7_000]);
        assert_eq!(polled(true, 3_000), [3_000]);
        assert_eq!(polled(true, u64::MAX), [10_000]);
        assert_eq!(polled(true, 20_000), [10_000, 20_000]);
        assert_eq!(polled(true, 0), [0]);
    }
}
