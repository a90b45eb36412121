//! User events from arrival to hand-over (gossip spec 5.7, 5.15), and their identity.

pub(super) mod coalesce;
mod hand_over;
mod identity;
mod join_hold;
mod journalled;
mod order;
mod repair;
mod seen;
pub(super) mod user;

pub use identity::event_hash;
pub(super) use identity::mix;
pub(super) use join_hold::JoinHold;
pub(super) use order::{InOrder, Ready};
pub(super) use repair::Repair;
pub use seen::SeenEvents;

use std::net::SocketAddr;

/// How a user event or a query reached this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Fired or asked by this node.
    Own,
    /// By gossip; from that address if it came in a datagram.
    Gossip(Option<SocketAddr>),
    /// In a state exchange.
    Exchange,
}
