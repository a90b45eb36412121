//! What the shell may want to measure: single values, each of which counts.

use crate::time::Duration;

/// Values that are kept for a shell that does not take them.
const SAMPLES_MAX: usize = 1024;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A probe took so long, answered or not.
    Probe(Duration),
    /// A push/pull that this node asked for took so long until it was answered.
    PushPull(Duration),
    /// Bytes of a user message that arrived.
    MessageIn(usize),
    /// Bytes of a user message that was put into a packet.
    MessageOut(usize),
}

/// Values that nobody has taken yet; those beyond a bound are lost.
#[derive(Clone, Debug)]
pub struct Samples<T>(Vec<T>);

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Samples(Vec::new())
    }
}

impl<T> Samples<T> {
    /// Adds a value.
    pub fn push(&mut self, sample: T) {
        if self.0.len() < SAMPLES_MAX {
            self.0.push(sample);
        }
    }

    /// Takes all values, in their order.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}
