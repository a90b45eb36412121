//! The one place where the clocks are read.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use super::sys;
use crate::handler::Moment;
use crate::time::Instant;

/// Monotonic time since the start of the agent.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: SystemInstant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Clock {
            origin: SystemInstant::now(),
        }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant::ORIGIN + self.elapsed()
    }

    /// The time since this clock was started.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The time, and the time of day.
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            unix_micros: u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// When waiting ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(SystemInstant);

/// A deadline is no further away: a century, which the clock can add to any reading.
const PATIENCE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Deadline {
    /// So much time from now; a century at most.
    pub fn after(patience: Duration) -> Self {
        Deadline(SystemInstant::now() + patience.min(PATIENCE_MAX))
    }

    /// The time until then, zero once it has come.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(SystemInstant::now())
    }

    /// Whether it has come.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// What service managers compare with their own clock: microseconds of CLOCK_MONOTONIC.
pub fn manager_micros() -> u64 {
    sys::monotonic_micros()
}

/// Time since 1970, zero before it.
pub fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_patience_is_too_long_for_a_deadline() {
        let (now, soon) = (Deadline::after(Duration::ZERO), Duration::from_secs(60));
        assert!(now.is_over() && now.left().is_zero());
        let (soon, never) = (Deadline::after(soon), Deadline::after(Duration::MAX));
        assert!(!soon.is_over() && !never.is_over() && now < soon && soon < never);
        assert!(soon.left() <= Duration::from_secs(60));
    }
}
