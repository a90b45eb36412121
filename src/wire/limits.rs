//! Limits on input from the network (gossip spec 2.10 and 8.1).

/// Longest node name.
pub const NAME_BYTES_MAX: usize = 255;
/// Largest node meta.
pub const META_BYTES_MAX: usize = 512;
/// Size limit of a gossip packet, including compound header and encryption.
pub const PACKET_BUDGET_BYTES: usize = 1400;
/// The largest datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Nesting depth of compound and compress messages in a datagram.
pub const NESTING_MAX: usize = 4;
/// Limit for the parts in a compound that we send: 0.9.4 fails on 128 and more (gossip spec 2.4).
pub const COMPOUND_PARTS_SENT_MAX: usize = 127;
/// Longest extension after the body of a ping in a datagram; a longer one is ignored.
pub const PING_EXTENSION_BYTES_MAX: usize = 512;
/// Longest label.
pub const LABEL_BYTES_MAX: usize = 255;
/// Largest encrypted frame on TCP.
pub const STREAM_FRAME_BYTES_MAX: usize = 20 << 20;
/// Largest decompressed datagram.
pub const DATAGRAM_EXPANDED_BYTES_MAX: usize = (64 << 10) + 512;
/// Largest decompressed stream message.
pub const STREAM_EXPANDED_BYTES_MAX: usize = 40 << 20;
/// Limit for the node entries in a push/pull.
pub const PUSH_PULL_NODES_MAX: usize = 1 << 20;
/// Largest user state in a push/pull.
pub const USER_STATE_BYTES_MAX: usize = 20 << 20;
/// Largest user message on TCP.
pub const STREAM_USER_MESSAGE_BYTES_MAX: usize = 20 << 20;
/// Longest text kept from an error message on TCP.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
/// Limit for the filters in a query.
pub const QUERY_FILTERS_MAX: usize = 64;
/// Limit for the slots in a Serf push/pull, and for the events in all of them together. The reference has 512
/// slots (gossip spec 5.7). The bound is needed because an entry takes up to fifty times more memory than
/// bytes on the wire.
pub const RECENT_EVENTS_MAX: usize = 1 << 16;
/// Largest MessagePack object in a stream, compressed messages aside: room for a node entry with name, 512
/// bytes of meta and unknown fields.
pub const STREAM_OBJECT_BYTES_MAX: usize = 64 << 10;
/// Limit for the bytes in an unencrypted stream.
pub const STREAM_BYTES_MAX: usize = STREAM_EXPANDED_BYTES_MAX;
/// Limit for the refused push/pull entries whose reasons are kept for the log.
pub const REFUSED_NODES_MAX: usize = 64;
