//! Rate limits on work that other nodes can cause (gossip spec 8.6, 8.7).

use crate::swim::TokenBucket;
use crate::time::Duration;

/// Makes the limit on relayed replies. A query in a large cluster may need a thousand at once.
pub(in crate::serf) fn relays() -> TokenBucket {
    per_second(1024, 256)
}

/// Makes the limit on replies to addresses of non-members: a node that just joined may already send
/// queries.
pub(in crate::serf) fn strangers() -> TokenBucket {
    per_second(64, 16)
}

/// Makes the limit on repeated acks and answers, counted in KiB.
pub(super) fn repeated_answers() -> TokenBucket {
    per_second(1024, 1024)
}

/// Makes the limit on log lines about name conflicts, which anybody can provoke.
pub(super) fn conflict_lines() -> TokenBucket {
    per_second(16, 1)
}

fn per_second(burst: u32, per_second: u32) -> TokenBucket {
    TokenBucket::new(burst, Duration::from_secs(1) / per_second)
}
