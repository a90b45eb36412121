//! The history of a soak: the agents' lives, the events, and the runs of handlers. All times are seconds
//! since the beginning of the soak.

use crate::live::Kind;
use crate::plan::Blow;
use cottar::serf::event_hash;
use std::collections::BTreeSet;
use std::fmt;

/// The payload of all events.
pub const PAYLOAD: &[u8] = b"payload";

/// A user event that was fired.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    /// The node that it was fired on.
    pub firer: usize,
    pub coalesced: bool,
    /// When the request was sent.
    pub asked: f64,
    /// When the agent confirmed it; `None` if it never did.
    pub accepted: Option<f64>,
}

impl Event {
    /// The hash by which snapshots record the event.
    pub fn hash(&self) -> u64 {
        event_hash(self.name.as_bytes(), PAYLOAD)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, firer, asked) = (&self.name, self.firer, self.asked);
        let coalesced = if self.coalesced { ", coalesced" } else { "" };
        write!(f, "{name} (by n{firer} at {asked:.2}{coalesced})")
    }
}

/// A run of a handler for a user event.
#[derive(Clone, Debug)]
pub struct Run {
    pub node: usize,
    /// Index of the life.
    pub life: usize,
    pub event: String,
    pub ltime: u64,
    pub at: f64,
    /// Whether it was marked as a possible repetition (`COTTAR_REPLAY`).
    pub marked: bool,
}

/// A query, with the nodes that acked and answered.
#[derive(Clone, Debug)]
pub struct Query {
    pub asker: usize,
    pub asked: f64,
    pub acks: BTreeSet<String>,
    pub answers: BTreeSet<String>,
}

/// One process of an agent, from start to end.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub start: f64,
    /// When it had joined or, if it joins no other node, served.
    pub back: Option<f64>,
    /// When it was signalled to end or killed, and by which disturbance.
    pub end: Option<(f64, Option<Blow>)>,
    /// Periods during which it was stopped.
    pub pauses: Vec<(f64, f64)>,
    /// Names of the events that were handed over to handlers, according to its log.
    pub handed: BTreeSet<String>,
    /// Hashes of the events that its snapshot recorded as seen when it had ended.
    pub noted: BTreeSet<u64>,
}

/// All lives of a node.
#[derive(Clone, Debug)]
pub struct NodeHistory {
    pub name: String,
    pub kind: Kind,
    pub has_snapshot: bool,
    pub has_journal: bool,
    /// Whether it is started with `-rejoin`.
    pub rejoins: bool,
    pub lives: Vec<Life>,
}

impl NodeHistory {
    /// Whether life `index` continues the one before.
    pub fn continues(&self, index: usize) -> bool {
        let Some(before) = index.checked_sub(1) else {
            return false;
        };
        let left = matches!(self.lives[before].end, Some((_, Some(Blow::Leave))));
        self.has_snapshot && (self.rejoins || !left)
    }
}

/// The whole history.
#[derive(Clone, Debug)]
pub struct History {
    /// The time of this snapshot of the history.
    pub now: f64,
    /// Percentage of datagrams dropped.
    pub loss: u8,
    /// Factor for the allowed times.
    pub patience: f64,
    /// Seconds that the profile adds to what D4 allows.
    pub slack: f64,
    pub nodes: Vec<NodeHistory>,
    pub events: Vec<Event>,
    pub runs: Vec<Run>,
    pub queries: Vec<Query>,
}
