//! The only module that reads the clocks.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use super::sys;
use crate::handler::Moment;
use crate::time::Instant;

/// Monotonic clock that counts from the start of the agent.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: SystemInstant,
}

impl Clock {
    /// Creates a clock that starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Clock {
            origin: SystemInstant::now(),
        }
    }

    /// Returns the monotonic time.
    pub fn now(&self) -> Instant {
        Instant::ORIGIN + self.elapsed()
    }

    /// Returns the time since this clock was created.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Returns the monotonic time and the time of day.
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            unix_micros: u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// A point in time at which waiting ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(SystemInstant);

/// Longest time until a deadline: a century, which can be added to any reading without overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Deadline {
    /// Returns the deadline `timeout` from now, at most `TIMEOUT_MAX`.
    pub fn after(timeout: Duration) -> Self {
        Deadline(SystemInstant::now() + timeout.min(TIMEOUT_MAX))
    }

    /// Returns the remaining time; zero if the deadline has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(SystemInstant::now())
    }

    /// Returns whether the deadline has passed.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Returns CLOCK_MONOTONIC in microseconds, which service managers compare with their own reading.
pub fn manager_micros() -> u64 {
    sys::monotonic_micros()
}

/// Returns the time since 1970; zero if the clock is set before that.
pub fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_too_long_for_a_deadline() {
        let (now, soon) = (Deadline::after(Duration::ZERO), Duration::from_secs(60));
        assert!(now.is_over() && now.left().is_zero());
        let (soon, never) = (Deadline::after(soon), Deadline::after(Duration::MAX));
        assert!(!soon.is_over() && !never.is_over() && now < soon && soon < never);
        assert!(soon.left() <= Duration::from_secs(60));
    }
}
