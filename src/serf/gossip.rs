//! What this layer has of gossip: the priority of its messages, and values to measure.

use crate::swim::{self, Priority};
use crate::time::Duration;

/// Priority of intents, which go first.
pub const INTENTS: Priority = Priority::First;
/// Priority of queries.
pub const QUERIES: Priority = Priority::Second;
/// Priority of user events.
pub const EVENTS: Priority = Priority::Third;

/// What the shell may want to measure: a single value, each of which counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// One of the membership layer.
    Swim(swim::Sample),
    /// The node's coordinate has moved so far.
    Moved(Duration),
    /// A user event of this name was taken for the first time.
    Event(Vec<u8>),
    /// A query of this name was taken for the first time.
    Query(Vec<u8>),
}
