//! User events between their arrival and the handlers (gossip spec 5.7, 5.15), and their identity.

pub(super) mod coalesce;
mod hand_over;
mod identity;
mod journalled;
mod newcomer;
mod order;
mod repair;
mod seen;
pub(super) mod user;

pub use identity::event_hash;
pub(super) use identity::mix;
pub(super) use newcomer::Newcomer;
pub(super) use order::{InOrder, Ready};
pub(super) use repair::Repair;
pub use seen::SeenEvents;

use std::net::SocketAddr;

/// How a user event or a query came to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Somebody on this side fired or asked it.
    Own,
    /// By gossip, in a datagram from that address if it was one.
    Gossip(Option<SocketAddr>),
    /// In a state exchange.
    Exchange,
}
