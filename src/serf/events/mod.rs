//! User events between their arrival and the handlers (gossip spec 5.7, 5.15).

mod hand_over;
