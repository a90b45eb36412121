//! Node table: records by name, and the two orders in which nodes are probed and gossiped to (gossip spec
//! 4.1, 4.3, 4.11).

use std::net::SocketAddr;

use super::suspicion::Suspicion;
use super::{Node, NodeState};
use crate::ordered::OrderedMap;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Largest cluster, including the local node, in which each node has a bit in the broadcast queues.
const SMALL_CLUSTER_NODES: usize = 64;

/// Index of a record; valid until the record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The local node always has the first record.
    pub const LOCAL: NodeId = NodeId(0);

    /// Whether this is the local node.
    pub fn is_local(self) -> bool {
        self == NodeId::LOCAL
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Record of a node.
#[derive(Debug)]
pub struct Record {
    /// The part that the Serf layer sees.
    pub node: Node,
    /// Time of the last state change.
    pub changed: Instant,
    /// Present while the node is suspect.
    pub suspicion: Option<Box<Suspicion>>,
    /// Start of its membership, for broadcasts that go only to present members.
    pub membership: Membership,
}

/// Which of the [`super::Audience::Present`] broadcasts a node gets, by broadcast number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Membership {
    /// Number of the first broadcast after the node became a member.
    pub first: u64,
    /// Number of the first broadcast after the node was last found alive again.
    pub first_since_return: u64,
    /// Until this time it gets only broadcasts from `first_since_return` on. It may have restarted, and then
    /// it receives earlier events through its join's push/pull, which marks them as old.
    pub returning_until: Instant,
}

impl Membership {
    /// Returns the lowest broadcast number that a packet to the node may carry.
    pub fn order_min(&self, now: Instant) -> u64 {
        if now < self.returning_until {
            self.first.max(self.first_since_return)
        } else {
            self.first
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

/// Node table; see the module's documentation.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Option<Record>>,
    free: Vec<NodeId>,
    by_name: OrderedMap<NodeName, NodeId>,
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
        let record = Record {
            node: local,
            changed: now,
            suspicion: None,
            membership: Membership::default(),
        };
        let name = record.node.name.clone();
        let mut table = Table {
            slots: Vec::new(),
            free: Vec::new(),
            by_name: OrderedMap::new(),
            probing: Round::default(),
            gossiping: Round::default(),
            gossiped: 0,
            live: 0,
            dead: 0,
        };
        table.count(record.node.state, true);
        table.slots.push(Some(record));
        table.by_name.insert(name, NodeId::LOCAL);
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
        self.by_name.len()
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
        self.by_name.get(name).copied()
    }

    /// Returns a record by id, unless it was dropped.
    pub fn try_record(&self, id: NodeId) -> Option<&Record> {
        self.slots.get(id.index())?.as_ref()
    }

    /// Returns a record by an id that is known to be valid.
    #[allow(clippy::expect_used)] // Ids come only from this table, which check_invariants verifies.
    pub fn record(&self, id: NodeId) -> &Record {
        self.slots[id.index()].as_ref().expect("a record in use")
    }

    /// Returns a record for changes of anything except name and state.
    #[allow(clippy::expect_used)]
    pub fn record_mut(&mut self, id: NodeId) -> &mut Record {
        self.slots[id.index()].as_mut().expect("a record in use")
    }

    /// Iterates over all records in byte order of their names.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.by_name.values().map(|&id| self.record(id))
    }

    /// Iterates over all nodes in storage order.
    pub fn in_any_order(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().flatten().map(|record| &record.node)
    }

    /// Adds a record with a new name.
    pub fn insert(&mut self, record: Record, rng: &mut Rng) -> NodeId {
        let id = self
            .free
            .pop()
            .unwrap_or_else(|| NodeId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX)));
        self.count(record.node.state, true);
        let replaced = self.by_name.insert(record.node.name.clone(), id);
        debug_assert!(replaced.is_none());
        if id.index() == self.slots.len() {
            self.slots.push(Some(record));
        } else {
            self.slots[id.index()] = Some(record);
        }
        self.probing.insert(id, rng);
        self.gossiping.insert(id, rng);
        id
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
        let mut dropped = 0;
        for &id in &self.probing.order {
            let slot = &mut self.slots[id.index()];
            let Some(record) = slot.take_if(|record| old(record)) else {
                continue;
            };
            self.by_name.remove(&record.node.name);
            self.free.push(id);
            if record.node.state == NodeState::Dead {
                self.dead -= 1;
            }
            dropped += 1;
        }
        if dropped > 0 {
            let slots = &self.slots;
            let kept = |id: NodeId| slots[id.index()].is_some();
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
        if self.slots.len() <= SMALL_CLUSTER_NODES {
            1u64.checked_shl(id.0).unwrap_or(0)
        } else {
            0
        }
    }

    /// Returns the bits of all other live nodes; 0 if the cluster has too many nodes.
    pub fn live_bits(&self) -> u64 {
        let others = self.gossiping.order.iter();
        let live = others.filter(|&&id| is_live(self.record(id).node.state));
        if self.slots.len() <= SMALL_CLUSTER_NODES {
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
        if self.slots.len() > SMALL_CLUSTER_NODES {
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
        if self.slots.len() <= SMALL_CLUSTER_NODES {
            self.for_each_present(dead_for, now, |id| bits |= self.bit(id));
        }
        bits
    }

    /// Returns the lowest broadcast number that any present node may still get; `None` if no node is present.
    pub fn present_order_min(&self, dead_for: Duration, now: Instant) -> Option<u64> {
        let mut least = None;
        self.for_each_present(dead_for, now, |id| {
            let first = self.record(id).membership.first;
            least = Some(least.map_or(first, |least: u64| least.min(first)));
        });
        least
    }

    /// Panics if the indexes are inconsistent.
    pub fn check_invariants(&self) {
        let used = self.slots.iter().flatten().count();
        assert_eq!(used, self.by_name.len());
        assert_eq!(used + self.free.len(), self.slots.len());
        for (name, &id) in &self.by_name {
            let record = self.record(id);
            assert_eq!(&record.node.name, name);
            assert_eq!(
                record.suspicion.is_some(),
                record.node.state == NodeState::Suspect
            );
        }
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
