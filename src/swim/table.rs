//! Node table: records by name, and the two orders in which nodes are probed and gossiped to (gossip spec
//! 4.1, 4.3, 4.11).

use std::cmp::Ordering;
use std::net::SocketAddr;

use super::{Node, NodeState};
use crate::ordered::{OrderedTable, Slot};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Largest cluster, including the local node, in which each node has a bit in the broadcast queues.
const SMALL_CLUSTER_NODES: usize = 64;

/// Index of a record; valid until the record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(Slot);

impl NodeId {
    /// The local node always has the first record.
    pub const LOCAL: NodeId = NodeId(0);

    /// Whether this is the local node.
    pub fn is_local(self) -> bool {
        self == NodeId::LOCAL
    }
}

/// Record of a node. An agent that knows many nodes has little else in memory, so it is kept small.
#[derive(Debug)]
pub struct Record {
    /// The part that the Serf layer sees.
    pub node: Node,
    /// Time of the last state change.
    pub changed: Instant,
    /// Number of the first [`super::Audience::Present`] broadcast that the node gets: the first one after it
    /// became a member.
    pub first_broadcast: u64,
    /// Present once the node was found alive again.
    pub returned: Option<Box<Return>>,
}

/// Return of a node that was dead. It may have restarted, and then it receives earlier events through its
/// join's push/pull, which marks them as old.
#[derive(Debug)]
pub struct Return {
    /// Number of the first broadcast after the return.
    pub first_broadcast: u64,
    /// Until this time the node gets only broadcasts from `first_broadcast` on.
    pub until: Instant,
}

impl Record {
    /// Makes the record of a new node.
    pub fn new(node: Node, now: Instant) -> Self {
        Record {
            node,
            changed: now,
            first_broadcast: 0,
            returned: None,
        }
    }

    /// Returns the lowest number of a present-members broadcast that a packet to the node may carry.
    pub fn order_min(&self, now: Instant) -> u64 {
        match &self.returned {
            Some(returned) if now < returned.until => {
                self.first_broadcast.max(returned.first_broadcast)
            }
            _ => self.first_broadcast,
        }
    }
}

/// A shuffled order that is traversed cyclically.
#[derive(Debug, Default)]
struct Round {
    order: Vec<NodeId>,
    next: usize,
}

impl Round {
    /// Inserts at a random position (4.1).
    fn insert(&mut self, id: NodeId, rng: &mut Rng) {
        self.order.push(id);
        let last = self.order.len() - 1;
        self.order.swap(rng.below(last + 1), last);
    }

    fn restart(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.order);
        self.next = 0;
    }

    fn retain(&mut self, kept: impl Fn(NodeId) -> bool) {
        self.order.retain(|&id| kept(id));
        self.next = self.next.min(self.order.len());
    }
}

/// Returns a function that compares a record's name with `name`.
fn by_name(name: &NodeName) -> impl Fn(&Record) -> Ordering {
    move |record| record.node.name.cmp(name)
}

/// Node table; see the module's documentation.
#[derive(Debug)]
pub struct Table {
    /// In byte order of the names. An id is a slot, so the table is never compacted.
    records: OrderedTable<Record>,
    probing: Round,
    gossiping: Round,
    /// Gossip steps since the last shuffle of the gossip order.
    gossiped: usize,
    live: usize,
    dead: usize,
}

impl Table {
    /// Creates a table with the local node's record.
    pub fn new(local: Node, now: Instant) -> Self {
        let mut table = Table {
            records: OrderedTable::new(),
            probing: Round::default(),
            gossiping: Round::default(),
            gossiped: 0,
            live: 0,
            dead: 0,
        };
        let id = table.add(Record::new(local, now));
        debug_assert!(id.is_local());
        table
    }

    fn count(&mut self, state: NodeState, up: bool) {
        let counter = match state {
            NodeState::Alive | NodeState::Suspect => &mut self.live,
            NodeState::Dead => &mut self.dead,
            NodeState::Left => return,
        };
        *counter = if up { *counter + 1 } else { *counter - 1 };
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of records that are alive or suspect.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Returns the number of records, without the local node, that are alive or suspect.
    pub fn live_others(&self) -> usize {
        self.live - usize::from(is_live(self.local().state))
    }

    /// Whether gossip may have a target: another node that is live, or a dead one that may come back.
    pub fn has_gossip_target(&self) -> bool {
        self.live_others() > 0 || self.dead > 0
    }

    /// Returns the local node.
    pub fn local(&self) -> &Node {
        &self.record(NodeId::LOCAL).node
    }

    /// Returns the id of the record with this name.
    pub fn find(&self, name: &NodeName) -> Option<NodeId> {
        self.records.find(by_name(name)).map(NodeId)
    }

    /// Returns a record by id, unless it was dropped.
    pub fn try_record(&self, id: NodeId) -> Option<&Record> {
        self.records.get(id.0)
    }

    /// Returns a record by an id that is known to be valid.
    #[allow(clippy::expect_used)] // Ids come only from this table, which check_invariants verifies.
    pub fn record(&self, id: NodeId) -> &Record {
        self.records.get(id.0).expect("a record in use")
    }

    /// Returns a record for changes of anything except name and state.
    #[allow(clippy::expect_used)]
    pub fn record_mut(&mut self, id: NodeId) -> &mut Record {
        self.records.get_mut(id.0).expect("a record in use")
    }

    /// Iterates over all records in byte order of their names.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Iterates over all nodes in storage order.
    pub fn in_any_order(&self) -> impl Iterator<Item = &Node> {
        self.records.in_any_order().map(|record| &record.node)
    }

    /// Adds a record with a new name.
    pub fn insert(&mut self, record: Record, rng: &mut Rng) -> NodeId {
        let id = self.add(record);
        self.probing.insert(id, rng);
        self.gossiping.insert(id, rng);
        id
    }

    fn add(&mut self, record: Record) -> NodeId {
        self.count(record.node.state, true);
        let order = |a: &Record, b: &Record| a.node.name.cmp(&b.node.name);
        let (slot, replaced) = self.records.insert(record, order);
        debug_assert!(replaced.is_none());
        NodeId(slot)
    }

    /// Sets a node's state and the time of the change.
    pub fn set_state(&mut self, id: NodeId, state: NodeState, now: Instant) {
        let record = self.record_mut(id);
        let old = std::mem::replace(&mut record.node.state, state);
        record.changed = now;
        self.count(old, false);
        self.count(state, true);
    }

    /// Returns the next node to probe (4.3). Drops old records at the end of each round.
    pub fn next_probe(
        &mut self,
        dead_for: Duration,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<NodeId> {
        let mut looked_at = 0;
        loop {
            if self.probing.next >= self.probing.order.len() {
                self.drop_old(dead_for, now);
                self.probing.restart(rng);
            }
            if looked_at >= self.probing.order.len() {
                return None;
            }
            looked_at += 1;
            let id = self.probing.order[self.probing.next];
            self.probing.next += 1;
            if is_live(self.record(id).node.state) {
                return Some(id);
            }
        }
    }

    /// Drops records that are dead or left for longer than `dead_for`.
    fn drop_old(&mut self, dead_for: Duration, now: Instant) {
        let old =
            |record: &Record| !is_live(record.node.state) && now.since(record.changed) > dead_for;
        let before = self.records.len();
        for &id in &self.probing.order {
            let Some(record) = self.records.get(id.0).filter(|record| old(record)) else {
                continue;
            };
            self.dead -= usize::from(record.node.state == NodeState::Dead);
            let name = record.node.name.clone();
            self.records.remove(by_name(&name));
        }
        if self.records.len() < before {
            let kept = |id: NodeId| self.records.get(id.0).is_some();
            self.probing.retain(kept);
            self.gossiping.retain(kept);
        }
    }

    /// Whether a node is a gossip target.
    fn is_gossip_target(&self, id: NodeId, dead_for: Duration, now: Instant) -> bool {
        let record = self.record(id);
        match record.node.state {
            NodeState::Alive | NodeState::Suspect => true,
            NodeState::Dead => now.since(record.changed) <= dead_for,
            NodeState::Left => false,
        }
    }

    /// Returns the number of records in the gossip order.
    pub fn gossip_round_len(&self) -> usize {
        self.gossiping.order.len()
    }

    /// Returns the next node to gossip to. Cycles through a shuffled order, so that consecutive transmissions
    /// of a message go to different nodes.
    pub fn next_gossip_target(&mut self, dead_for: Duration, now: Instant) -> Option<NodeId> {
        for _ in 0..self.gossiping.order.len() {
            if self.gossiping.next >= self.gossiping.order.len() {
                self.gossiping.next = 0;
            }
            let id = self.gossiping.order[self.gossiping.next];
            self.gossiping.next += 1;
            self.gossiped += 1;
            if self.is_gossip_target(id, dead_for, now) {
                return Some(id);
            }
        }
        None
    }

    /// Reshuffles the gossip order if it was traversed at least once. Call only while no message is being
    /// transmitted along it.
    pub fn renew_gossip_order(&mut self, rng: &mut Rng) {
        if self.gossiped > self.gossiping.order.len() {
            self.gossiped = 0;
            self.gossiping.restart(rng);
        }
    }

    /// Returns up to `count` random alive nodes, excluding the local node and `except`.
    pub fn sample_alive(&self, count: usize, except: Option<NodeId>, rng: &mut Rng) -> Vec<NodeId> {
        let mut sample = Vec::with_capacity(count.min(self.gossiping.order.len()));
        let mut seen = 0;
        for &id in &self.gossiping.order {
            if self.record(id).node.state != NodeState::Alive || Some(id) == except {
                continue;
            }
            // Reservoir sampling: each node is kept with equal probability, in one pass.
            seen += 1;
            if sample.len() < count {
                sample.push(id);
            } else {
                let place = rng.below(seen);
                if let Some(kept) = sample.get_mut(place) {
                    *kept = id;
                }
            }
        }
        sample
    }

    /// Returns the bit of a node in the broadcast queues; 0 if the cluster has too many nodes.
    pub fn bit(&self, id: NodeId) -> u64 {
        if self.records.slots() <= SMALL_CLUSTER_NODES {
            1u64.checked_shl(id.0).unwrap_or(0)
        } else {
            0
        }
    }

    /// Returns the bits of all other live nodes; 0 if the cluster has too many nodes.
    pub fn live_bits(&self) -> u64 {
        let others = self.gossiping.order.iter();
        let live = others.filter(|&&id| is_live(self.record(id).node.state));
        if self.records.slots() <= SMALL_CLUSTER_NODES {
            live.fold(0, |bits, &id| bits | self.bit(id))
        } else {
            0
        }
    }

    /// Finds the node at an address: the named node if it is there, otherwise, in small clusters only, any
    /// node at that address.
    pub fn find_at(&self, name: Option<&NodeName>, addr: SocketAddr) -> Option<NodeId> {
        let is_at = |id: &NodeId| self.record(*id).node.addr == addr;
        let named = name.and_then(|name| self.find(name)).filter(is_at);
        if self.records.slots() > SMALL_CLUSTER_NODES {
            return named;
        }
        let others = &self.gossiping.order;
        named.or_else(|| others.iter().copied().find(is_at))
    }

    /// Calls `visit` for each node that a present-members broadcast goes to now: live nodes, and nodes that
    /// died at most `dead_for` ago and may come back.
    fn for_each_present(&self, dead_for: Duration, now: Instant, mut visit: impl FnMut(NodeId)) {
        for &id in &self.gossiping.order {
            if self.is_gossip_target(id, dead_for, now) {
                visit(id);
            }
        }
    }

    /// Returns the bits of all nodes that a present-members broadcast goes to now; 0 if the cluster has too
    /// many nodes.
    pub fn present_bits(&self, dead_for: Duration, now: Instant) -> u64 {
        let mut bits = 0;
        if self.records.slots() <= SMALL_CLUSTER_NODES {
            self.for_each_present(dead_for, now, |id| bits |= self.bit(id));
        }
        bits
    }

    /// Returns the lowest broadcast number that any present node may still get; `None` if no node is present.
    pub fn present_order_min(&self, dead_for: Duration, now: Instant) -> Option<u64> {
        let mut least = None;
        self.for_each_present(dead_for, now, |id| {
            let first = self.record(id).first_broadcast;
            least = Some(least.map_or(first, |least: u64| least.min(first)));
        });
        least
    }

    /// Panics if the indexes are inconsistent.
    pub fn check_invariants(&self) {
        let used = self.records.len();
        let names = || self.records().map(|record| &record.node.name);
        assert!(names().is_sorted_by(|a, b| a < b));
        assert_eq!(self.in_any_order().count(), used);
        let states =
            |wanted: fn(NodeState) -> bool| self.records().filter(|r| wanted(r.node.state)).count();
        assert_eq!(self.live, states(is_live));
        assert_eq!(self.dead, states(|state| state == NodeState::Dead));
        for round in [&self.probing, &self.gossiping] {
            let mut ids = round.order.clone();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), round.order.len());
            assert_eq!(ids.len() + 1, used);
            assert!(ids.iter().all(|&id| self.try_record(id).is_some()));
            assert!(!ids.contains(&NodeId::LOCAL));
            assert!(round.next <= round.order.len());
        }
    }
}

/// Whether the state is alive or suspect.
pub fn is_live(state: NodeState) -> bool {
    matches!(state, NodeState::Alive | NodeState::Suspect)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
