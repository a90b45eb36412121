//! What happened in a soak: the agents' lives, the events, and the handlers' runs. All times are seconds
//! since the soak began.

use crate::live::Kind;
use crate::plan::Blow;
use cottar::serf::event_hash;
use std::collections::BTreeSet;
use std::fmt;

/// What each event carries.
pub const PAYLOAD: &[u8] = b"payload";

/// A user event that was fired.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    /// The node that it was fired on.
    pub firer: usize,
    pub coalesced: bool,
    /// When the agent was asked.
    pub asked: f64,
    /// When it had accepted; `None` if it never said so.
    pub accepted: Option<f64>,
}

impl Event {
    /// What a snapshot notes of it.
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
    /// Whether the agent said that it may be a repetition (`COTTAR_REPLAY`).
    pub marked: bool,
}

/// A query, and who acked and answered.
#[derive(Clone, Debug)]
pub struct Query {
    pub asker: usize,
    pub asked: f64,
    pub acks: BTreeSet<String>,
    pub answers: BTreeSet<String>,
}

/// From the start of a process to its end.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub start: f64,
    /// When it had joined, or, if it was to join nobody, served.
    pub back: Option<f64>,
    /// When it was told to end, or was killed.
    pub end: Option<(f64, Option<Blow>)>,
    /// From when until when it was frozen.
    pub pauses: Vec<(f64, f64)>,
    /// Names of the events that its log says were handed over to the handlers.
    pub handed: BTreeSet<String>,
    /// Hashes of the events that its snapshot noted as seen when it had ended.
    pub noted: BTreeSet<u64>,
}

/// A node in all its lives.
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

/// All of it.
#[derive(Clone, Debug)]
pub struct History {
    /// When all this was known.
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
