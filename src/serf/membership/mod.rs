//! Membership: joins, leaves, failures and returns, state exchanges, and this node's tags.

pub(super) mod forced_leave;
pub(super) mod intents;
pub(super) mod join;
pub(super) mod leave;
pub(super) mod members;
pub(super) mod outcome;
pub(super) mod push_pull;
pub(super) mod reaper;
pub(super) mod stale_leave;
pub(super) mod tags;
