//! Intents, and what becomes of them (gossip spec 5.6).

/// What somebody said about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum IntentKind {
    Join,
    Leave,
}

/// What became of an intent about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum IntentOutcome {
    /// No member of that name.
    Unknown,
    /// As old as what is known.
    Stale,
    /// Taken over; the member has left by it.
    Left,
    /// Taken over without an event.
    Taken,
}
