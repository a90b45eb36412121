//! The point at which a user event leaves the core: after coalescing, on its way to the handler
//! queue and to the RPC streams.

use crate::serf::{Event, Output, Serf, UserEvent};

impl Serf {
    /// Hands a user event over to handlers and RPC streams, and records it in the snapshot.
    ///
    /// Every user event that is handed over passes through this function, in the order of the
    /// hand-over. Recording here, and not when the event is taken in, means that a crash loses no
    /// event that still waits in the core: it is not recorded, so other members may deliver it again.
    pub(in crate::serf) fn hand_over_event(&mut self, event: UserEvent) {
        self.record_event(&event);
        self.outputs.push_back(Output::Event(Event::User(event)));
    }
}
