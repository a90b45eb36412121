//! How much of the past a node remembers.

/// Slots of the event ring and of the query ring (gossip spec 5.7).
pub(super) const BUFFER_SLOTS: u64 = 512;
/// Events that the whole memory holds, so also events of one push/pull: 32 at each of 512 times.
pub(super) const RING_EVENTS_MAX: usize = 16_384;
