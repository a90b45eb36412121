//! User events between their arrival and the handlers (gossip spec 5.7, 5.15), and their identity.

mod hand_over;
mod identity;

pub use identity::event_hash;
