//! The agent's RPC protocol: requests, replies and records as bytes (agent spec 2). Used by the agent's
//! server and by the command line's client.
//!
//! Values follow each other on the connection without a length in front.
//! [`Boundary`](crate::wire::msgpack::Boundary) finds where one ends, so that everything else here works on complete values.

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

/// The version of the protocol that a handshake names.
pub const VERSION: i32 = 1;

/// Bytes of one value of a client: two orders of magnitude more than any limit of the cluster lets through.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The same for a client that has not shaken hands or not shown its key yet.
pub const STRANGER_BYTES_MAX: usize = 64 << 10;

/// Free-form text to text, as bytes: nobody promises UTF-8.
pub type TextMap = OrderedMap<Vec<u8>, Vec<u8>>;
