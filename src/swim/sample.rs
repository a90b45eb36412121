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
    /// The node's coordinate has moved so far. The upper layer's.
    Moved(Duration),
    /// A user event of this name was taken for the first time. The upper layer's.
    Event(Vec<u8>),
    /// A query of this name was taken for the first time. The upper layer's.
    Query(Vec<u8>),
}

/// Values that nobody has taken yet; those beyond a bound are lost.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Adds a value.
    pub fn push(&mut self, sample: Sample) {
        if self.0.len() < SAMPLES_MAX {
            self.0.push(sample);
        }
    }

    /// Takes all values, in their order.
    pub fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.0)
    }
}
