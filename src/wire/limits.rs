//! Every bound on what comes from the network (gossip spec 2.10 and 8.1).

/// Bytes of a node's name.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a node's meta.
pub const META_BYTES_MAX: usize = 512;
/// Budget for assembling a gossip packet, compound header and encryption included.
pub const PACKET_BUDGET_BYTES: usize = 1400;
/// The largest datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Compound and compress messages inside each other, in one datagram.
pub const NESTING_MAX: usize = 4;
/// Parts of a compound that we send: 0.9.4 fails on 128 and more (gossip spec 2.4).
pub const COMPOUND_PARTS_SENT_MAX: usize = 127;
/// Bytes that may follow the body of a ping in a datagram; more are ignored.
pub const PING_EXTENSION_BYTES_MAX: usize = 512;
/// Bytes of a label.
pub const LABEL_BYTES_MAX: usize = 255;
/// An encrypted frame on TCP.
pub const STREAM_FRAME_BYTES_MAX: usize = 20 << 20;
/// What a compressed datagram may expand to.
pub const DATAGRAM_EXPANDED_BYTES_MAX: usize = (64 << 10) + 512;
/// What a compressed stream message may expand to.
pub const STREAM_EXPANDED_BYTES_MAX: usize = 40 << 20;
/// Node records in a push/pull.
pub const PUSH_PULL_NODES_MAX: usize = 1 << 20;
/// User state in a push/pull.
pub const USER_STATE_BYTES_MAX: usize = 20 << 20;
/// A user message on TCP.
pub const STREAM_USER_MESSAGE_BYTES_MAX: usize = 20 << 20;
/// Text of an error report on TCP that is kept.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
/// Filters of a query.
pub const QUERY_FILTERS_MAX: usize = 64;
/// Slots, and events in them altogether, in a Serf push/pull. The reference has 512 slots (gossip spec
/// 5.7); an entry takes up to fifty times the memory that it takes on the wire.
pub const RECENT_EVENTS_MAX: usize = 1 << 16;
/// One MessagePack object of a stream other than a compressed message: a node with 512 bytes of meta, its
/// name and unknown fields.
pub const STREAM_OBJECT_BYTES_MAX: usize = 64 << 10;
/// All bytes of an unencrypted stream.
pub const STREAM_BYTES_MAX: usize = STREAM_EXPANDED_BYTES_MAX;
/// Refused entries of a push/pull that are kept for the log.
pub const REFUSED_NODES_MAX: usize = 64;
