//! Measured values for the shell's metrics.

use crate::time::Duration;

/// Limit for the values kept until the shell takes them.
const SAMPLES_MAX: usize = 1024;

/// A measured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Duration of a probe, answered or not.
    Probe(Duration),
    /// Time from the start of a push/pull by this node to its response.
    PushPull(Duration),
    /// Size in bytes of a received user message.
    MessageIn(usize),
    /// Size in bytes of a user message put into a packet.
    MessageOut(usize),
}

/// Values not yet taken; values beyond the limit are dropped.
#[derive(Clone, Debug)]
pub struct Samples<T>(Vec<T>);

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Samples(Vec::new())
    }
}

impl<T> Samples<T> {
    /// Adds a value, or drops it if the limit is reached.
    pub fn push(&mut self, sample: T) {
        if self.0.len() < SAMPLES_MAX {
            self.0.push(sample);
        }
    }

    /// Takes all values, in order.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}
