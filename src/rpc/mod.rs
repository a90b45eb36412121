//! Encoding of the agent's RPC protocol: requests, replies and records (agent spec 2). Used by the agent's
//! server and the command line's client.
//!
//! Values follow each other on the connection without a length prefix.
//! [`Boundary`](crate::wire::msgpack::Boundary) finds the end of each value, so all code here works on
//! complete values.

#![forbid(unsafe_code)]

pub mod byte_queue;
pub mod cluster;
pub mod details;
pub mod handlers;
pub mod queue;
pub mod record;
pub mod reply;
pub mod request;
pub mod runs;

pub use byte_queue::ByteQueue;
pub use reply::{Member, Record, ReplyHeader};
pub use request::{Header, Request};

use crate::ordered::OrderedMap;

/// Protocol version in a handshake.
pub const VERSION: i32 = 1;

/// Size limit of one value from a client: two orders of magnitude above any limit of the cluster.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Size limit of one value from a client that has not completed the handshake and authentication.
pub const STRANGER_BYTES_MAX: usize = 64 << 10;

/// Map from text to text, as bytes, because clients and nodes need not send UTF-8.
pub type TextMap = OrderedMap<Vec<u8>, Vec<u8>>;
