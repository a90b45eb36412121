//! Bounds on what others can make this node do (gossip spec 8.6, 8.7).

use crate::swim::TokenBucket;
use crate::time::Duration;

/// Relayed replies. A thousand at once is what a query in a large cluster asks for.
pub(in crate::serf) fn relays() -> TokenBucket {
    per_second(1024, 256)
}

/// Replies to addresses that belong to no member: somebody who joins just now may ask already.
pub(in crate::serf) fn strangers() -> TokenBucket {
    per_second(64, 16)
}

/// Acks and answers that are sent again, in KiB.
pub(super) fn repeated_answers() -> TokenBucket {
    per_second(1024, 1024)
}

/// Log lines about name conflicts, which anybody can provoke.
pub(super) fn conflict_lines() -> TokenBucket {
    per_second(16, 1)
}

fn per_second(burst: u32, per_second: u32) -> TokenBucket {
    TokenBucket::new(burst, Duration::from_secs(1) / per_second)
}
