//! Gossip priorities of the Serf layer's messages, and measured values.

use crate::swim::{self, Priority};
use crate::time::Duration;

/// Priority of intents, the highest.
pub const INTENTS: Priority = Priority::First;
/// Priority of queries.
pub const QUERIES: Priority = Priority::Second;
/// Priority of user events.
pub const EVENTS: Priority = Priority::Third;

/// A measured value for the shell's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A value of the membership layer.
    Swim(swim::Sample),
    /// Distance that the node's coordinate moved.
    Moved(Duration),
    /// Name of a user event received for the first time.
    Event(Vec<u8>),
    /// Name of a query received for the first time.
    Query(Vec<u8>),
}
