//! Keys of the whole cluster: asking all members to change their rings, and answering such questions
//! (gossip spec 5.10).

use std::collections::BTreeMap;
use std::fmt;

use crate::wire::NodeName;

/// A key as somebody gave it, of whatever length; the members say whether it is one. Not shown by
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RawKey(pub Vec<u8>);

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey(..)")
    }
}

/// Names a change of the ring that waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyringChange(pub u64);

/// What the members said to a key command.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Why it failed, in the reference's words; the figures stand all the same.
    pub error: Option<String>,
    /// What members had to say, if anything.
    pub messages: BTreeMap<NodeName, Vec<u8>>,
    /// For [`super::Command::ListKeys`]: keys in base64, and how many members have each.
    pub keys: BTreeMap<Vec<u8>, usize>,
    /// Likewise, how many members encrypt with each.
    pub primary_keys: BTreeMap<Vec<u8>, usize>,
    /// Members that were up when they were asked.
    pub num_nodes: usize,
    /// Of those that answered, how many failed.
    pub num_err: usize,
    /// Members that answered.
    pub num_resp: usize,
}

impl fmt::Debug for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyReport")
            .field("error", &self.error)
            .field("num_nodes", &self.num_nodes)
            .field("num_err", &self.num_err)
            .field("num_resp", &self.num_resp)
            .finish_non_exhaustive()
    }
}
