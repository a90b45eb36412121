//! What a script is given: its environment and its standard input (agent spec 1.5, 1.6).

use std::sync::Arc;

use crate::serf::Tags;
use crate::wire::NodeName;

/// The local node as handlers see it, at the time of the run.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Its name.
    pub name: &'a NodeName,
    /// Its current tags.
    pub tags: &'a Tags,
}

/// One run of one script for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Shell text.
    pub script: Arc<[u8]>,
    /// Variables to set; no name twice, no NUL and no `=` where there must be none.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes for standard input.
    pub stdin: Arc<[u8]>,
}

/// Whether an inherited variable must go before an invocation's own are set: a value from the agent's
/// environment would pass for this event's.
pub fn is_stale(name: &[u8]) -> bool {
    const FIXED: [&[u8]; 7] = [
        b"SERF_EVENT",
        b"SERF_SELF_NAME",
        b"SERF_SELF_ROLE",
        b"SERF_USER_EVENT",
        b"SERF_USER_LTIME",
        b"SERF_QUERY_NAME",
        b"SERF_QUERY_LTIME",
    ];
    name.starts_with(b"SERF_TAG_") || FIXED.contains(&name)
}
