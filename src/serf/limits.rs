//! Limits of a node's memory of events and queries.

/// Slots of the event ring and of the query ring (gossip spec 5.7).
pub(super) const BUFFER_SLOTS: u64 = 512;
/// Limit for the events in the memory, and therefore in one push/pull: 32 at each of 512 times.
pub(super) const RING_EVENTS_MAX: usize = 16_384;
