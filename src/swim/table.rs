//! The table of nodes: records by name, and the two orders in which nodes are probed and gossiped to
//! (gossip spec 4.1, 4.3, 4.11).

use std::net::SocketAddr;

use super::suspicion::Suspicion;
use super::{Node, NodeState};
use crate::ordered::OrderedMap;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Nodes of a cluster, the local one included, each of which has a bit in the broadcast queues.
const SMALL_CLUSTER_NODES: usize = 64;

/// A record's place, until it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The local node has the first record, for ever.
    pub const LOCAL: NodeId = NodeId(0);

    /// Whether it is the local node's.
    pub fn is_local(self) -> bool {
        self == NodeId::LOCAL
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is kept of a node.
#[derive(Debug)]
pub struct Record {
    /// What the layer above may see.
    pub node: Node,
    /// When the state changed last.
    pub changed: Instant,
    /// Runs while the node is suspect.
    pub suspicion: Option<Box<Suspicion>>,
    /// Since when it counts as a member, for broadcasts to the members of their time.
    pub membership: Membership,
}

/// Which of the broadcasts to the members of their time are for a node, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Membership {
    /// The first one of its time.
    pub first: u64,
    /// The first one since it came back from the dead.
    pub first_since_return: u64,
    /// Until when it gets no earlier ones than those: it may have restarted, and then hears them in
    /// the exchange of its join, which says what they are to it.
    pub returning_until: Instant,
}

impl Membership {
    /// The lowest number that a packet for the node may carry.
    pub fn order_min(&self, now: Instant) -> u64 {
        if now < self.returning_until {
            self.first.max(self.first_since_return)
        } else {
            self.first
        }
    }
}

/// An order that is walked round and round.
#[derive(Debug, Default)]
struct Round {
    order: Vec<NodeId>,
    next: usize,
}

impl Round {
    /// At a random position (4.1).
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

/// See the module.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Option<Record>>,
    free: Vec<NodeId>,
    by_name: OrderedMap<NodeName, NodeId>,
    probing: Round,
    gossiping: Round,
    /// Gossip steps since the gossip order was shuffled last.
    gossiped: usize,
    live: usize,
    dead: usize,
}

impl Table {
    /// A table with the local node's record.
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

    /// Number of records.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Records that are alive or suspect.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Other records that are alive or suspect.
    pub fn live_others(&self) -> usize {
        self.live - usize::from(is_live(self.local().state))
    }

    /// Whether gossip may find a target: somebody who lives, or died and may be back.
    pub fn has_gossip_target(&self) -> bool {
        self.live_others() > 0 || self.dead > 0
    }

    /// The local node.
    pub fn local(&self) -> &Node {
        &self.record(NodeId::LOCAL).node
    }

    /// The id of a name.
    pub fn find(&self, name: &NodeName) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// A record by its id, if it was not dropped since.
    pub fn try_record(&self, id: NodeId) -> Option<&Record> {
        self.slots.get(id.index())?.as_ref()
    }

    /// A record by an id that is known to be valid.
    #[allow(clippy::expect_used)] // Ids come from this table alone; check_invariants holds them to it.
    pub fn record(&self, id: NodeId) -> &Record {
        self.slots[id.index()].as_ref().expect("a record in use")
    }

    /// The same, to change all but name and state.
    #[allow(clippy::expect_used)]
    pub fn record_mut(&mut self, id: NodeId) -> &mut Record {
        self.slots[id.index()].as_mut().expect("a record in use")
    }

    /// All records, in byte order of their names.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.by_name.values().map(|&id| self.record(id))
    }

    /// All nodes, as they lie in memory.
    pub fn in_any_order(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().flatten().map(|record| &record.node)
    }

    /// Adds a record whose name is new.
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

    /// Changes a node's state and stamps the change.
    pub fn set_state(&mut self, id: NodeId, state: NodeState, now: Instant) {
        let record = self.record_mut(id);
        let old = std::mem::replace(&mut record.node.state, state);
        record.changed = now;
        self.count(old, false);
        self.count(state, true);
    }

    /// The next node to probe (4.3); drops old records at the end of each round.
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

    /// Drops what is dead or left for longer than `dead_for`.
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

    /// Whether gossip goes to this node.
    fn is_gossip_target(&self, id: NodeId, dead_for: Duration, now: Instant) -> bool {
        let record = self.record(id);
        match record.node.state {
            NodeState::Alive | NodeState::Suspect => true,
            NodeState::Dead => now.since(record.changed) <= dead_for,
            NodeState::Left => false,
        }
    }

    /// Records that gossip walks over.
    pub fn gossip_round_len(&self) -> usize {
        self.gossiping.order.len()
    }

    /// The next node to gossip to: a walk round a shuffled order, so that the transmissions of a
    /// message, which follow each other, go to different nodes.
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

    /// Takes a new gossip order, if the old one was walked once; to be called while no message is on
    /// its way round.
    pub fn renew_gossip_order(&mut self, rng: &mut Rng) {
        if self.gossiped > self.gossiping.order.len() {
            self.gossiped = 0;
            self.gossiping.restart(rng);
        }
    }

    /// Up to `count` random nodes that are alive, without the local one and `except`.
    pub fn sample_alive(&self, count: usize, except: Option<NodeId>, rng: &mut Rng) -> Vec<NodeId> {
        let mut sample = Vec::with_capacity(count.min(self.gossiping.order.len()));
        let mut seen = 0;
        for &id in &self.gossiping.order {
            if self.record(id).node.state != NodeState::Alive || Some(id) == except {
                continue;
            }
            // Reservoir sampling: each stays with the same probability, in one pass.
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

    /// The bit that stands for a node in the broadcast queues; 0 if the cluster has too many.
    pub fn bit(&self, id: NodeId) -> u64 {
        if self.slots.len() <= SMALL_CLUSTER_NODES {
            1u64.checked_shl(id.0).unwrap_or(0)
        } else {
            0
        }
    }

    /// The bits of all others that live; 0 if the cluster has too many.
    pub fn live_bits(&self) -> u64 {
        let others = self.gossiping.order.iter();
        let live = others.filter(|&&id| is_live(self.record(id).node.state));
        if self.slots.len() <= SMALL_CLUSTER_NODES {
            live.fold(0, |bits, &id| bits | self.bit(id))
        } else {
            0
        }
    }

    /// The node at an address: the one of that name if it is there, else, in a cluster that is small
    /// enough to look at all of them, whoever is.
    pub fn find_at(&self, name: Option<&NodeName>, addr: SocketAddr) -> Option<NodeId> {
        let is_at = |id: &NodeId| self.record(*id).node.addr == addr;
        let named = name.and_then(|name| self.find(name)).filter(is_at);
        let others = &self.gossiping.order;
        let small = self.slots.len() <= SMALL_CLUSTER_NODES;
        named.or_else(|| others.iter().copied().filter(|_| small).find(is_at))
    }

    /// Calls a function with each node that user broadcasts of this moment are for: those that
    /// live, and those that died so lately that they may be back.
    fn for_each_present(&self, dead_for: Duration, now: Instant, mut visit: impl FnMut(NodeId)) {
        for &id in &self.gossiping.order {
            if self.is_gossip_target(id, dead_for, now) {
                visit(id);
            }
        }
    }

    /// The bits of all others that broadcasts of this moment are for; 0 if the cluster has too many.
    pub fn present_bits(&self, dead_for: Duration, now: Instant) -> u64 {
        let mut bits = 0;
        if self.slots.len() <= SMALL_CLUSTER_NODES {
            self.for_each_present(dead_for, now, |id| bits |= self.bit(id));
        }
        bits
    }

    /// The number of the first broadcast that is for any node that is there; `None`: nobody is.
    pub fn present_order_min(&self, dead_for: Duration, now: Instant) -> Option<u64> {
        let mut least = None;
        self.for_each_present(dead_for, now, |id| {
            let first = self.record(id).membership.first;
            least = Some(least.map_or(first, |least: u64| least.min(first)));
        });
        least
    }

    /// Panics if the tables contradict each other.
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

/// Alive as far as is known.
pub fn is_live(state: NodeState) -> bool {
    matches!(state, NodeState::Alive | NodeState::Suspect)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
