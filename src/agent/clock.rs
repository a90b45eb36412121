//! The one place where the agent reads the monotonic clock.

use std::time::Instant as SystemInstant;

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
}
