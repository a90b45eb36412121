//! Kinds of intents and the results of processing them (gossip spec 5.6).

/// Kind of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum IntentKind {
    Join,
    Leave,
}

/// Result of processing an intent about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum IntentOutcome {
    /// There is no member with this name.
    Unknown,
    /// Not newer than the last intent.
    Stale,
    /// Applied; the failed member is now left.
    Left,
    /// Applied, without an event.
    Accepted,
}
