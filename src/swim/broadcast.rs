//! The queue of messages to be gossiped a bounded number of times (gossip spec 4.11).

/// See the module.
pub struct BroadcastQueue;
