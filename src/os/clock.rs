//! The one place where the agent reads the clocks.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

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
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// The time, and the time of day.
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            unix_micros: u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Time since 1970, zero before it.
pub fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}
