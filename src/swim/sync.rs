//! Push/pull: exchange of full states, its timer, and the merge (gossip spec 4.10, 4.12).

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::merge::compatible;
use super::table::is_live;
use super::{Encounter, JoinId, Node, NodeState, Output, Swim};
use crate::time::{Duration, Instant};
use crate::wire::{
    Alive, Dead, NodeName, PushPull, PushPullNode, RemoteState, Suspect, VersionVector,
};

/// Largest cluster that exchanges states at the base interval (4.2).
const SCALE_FROM_NODES: usize = 32;

/// Entries to merge per call. Larger states are merged in pieces, so that ten thousand entries do not delay
/// probes and RPC clients. A changed entry costs several microseconds in all layers together.
const ENTRIES_AT_ONCE: usize = 256;
/// Limit for the states that are partly merged. Beyond this, the next state is merged in one call, to bound
/// memory.
const MERGES_MAX: usize = 4;

/// Timer of periodic push/pulls, and the states that are partly merged.
#[derive(Debug, Default)]
pub(super) struct SyncTimer {
    next: Option<Instant>,
    merges: VecDeque<Merge>,
    /// Time of the next piece of postponed work: merges and work of streams.
    work_due: Option<Instant>,
}

/// A state that is being merged into the table.
#[derive(Debug)]
struct Merge {
    entries: std::vec::IntoIter<PushPullNode>,
    user_state: Vec<u8>,
    join: bool,
    exchange: Exchange,
    /// Number of live other nodes, as long as all of them are from this state: it is the response to a join
    /// by a node that knew no others. Those nodes know the entries already, so this node need not rebroadcast
    /// them.
    alone_with: Option<usize>,
}

/// Origin of a push/pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// The peer started it.
    Theirs,
    /// The periodic timer of this node.
    Periodic,
    /// A join by this node.
    Join(JoinId),
    /// A request of the Serf layer; see [`Swim::exchange_with`].
    Asked,
}

impl Exchange {
    /// Returns the join by this node that the exchange belongs to, if any.
    pub(super) fn join(self) -> Option<JoinId> {
        match self {
            Exchange::Join(join) => Some(join),
            Exchange::Theirs | Exchange::Periodic | Exchange::Asked => None,
        }
    }
}

impl SyncTimer {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.work_due).min()
    }

    /// Schedules postponed work for one nanosecond from now, so that other input is handled first. Keeps an
    /// earlier due time; otherwise a flood of input would postpone the work forever.
    pub(super) fn arm_work(&mut self, now: Instant) {
        self.work_due.get_or_insert(now + Duration::from_nanos(1));
    }
}

/// Returns `base * scale(nodes)` (4.2): the scale grows by one with each doubling beyond 32 nodes.
pub(super) fn scaled_interval(base: Duration, nodes: usize) -> Duration {
    let mut scale = 1;
    let mut reach = SCALE_FROM_NODES;
    while reach < nodes {
        reach = reach.saturating_mul(2);
        scale += 1;
    }
    base.saturating_mul(scale)
}

impl Swim {
    pub(super) fn start_join(&mut self, addr: SocketAddr, now: Instant) -> JoinId {
        let join = JoinId(self.streams.next_join);
        self.streams.next_join += 1;
        if self.permits(addr) {
            self.open_sync(addr, Exchange::Join(join), now);
        } else {
            let why = format!("{} is not in an allowed network, see -allow", addr.ip());
            self.end_sync(Exchange::Join(join), Err(why));
        }
        join
    }

    pub(super) fn start_exchange(&mut self, node: &NodeName, now: Instant) -> bool {
        let Some(id) = self.table.find(node).filter(|id| !id.is_local()) else {
            return false;
        };
        let node = &self.table.record(id).node;
        if !is_live(node.state) {
            return false;
        }
        let addr = node.addr;
        self.open_sync(addr, Exchange::Asked, now);
        true
    }

    /// Starts the timer if another node is live, and stops it otherwise. The first exchange follows after a
    /// random delay plus one full interval.
    pub(super) fn arm_sync(&mut self, now: Instant) {
        let base = self.config.push_pull_interval;
        if base.is_zero() || self.table.live_others() == 0 {
            self.sync.next = None;
        } else if self.sync.next.is_none() {
            let interval = scaled_interval(base, self.table.len());
            self.sync.next = Some(now + interval + self.rng.duration_below(interval));
        }
    }

    pub(super) fn tick_sync(&mut self, now: Instant) {
        if self.sync.next.is_none_or(|next| next > now) {
            return;
        }
        let interval = scaled_interval(self.config.push_pull_interval, self.table.len());
        self.sync.next = Some(now + interval);
        let partner = self.table.sample_alive(1, None, &mut self.rng);
        if let Some(&id) = partner.first() {
            let addr = self.table.record(id).node.addr;
            self.open_sync(addr, Exchange::Periodic, now);
        }
    }

    /// Returns the full state of this node.
    pub(super) fn own_state(&self, join: bool, user_state: &[u8]) -> PushPull {
        PushPull {
            join,
            nodes: self.nodes().map(entry).collect(),
            refused: Vec::new(),
            user_state: user_state.to_vec(),
        }
    }

    /// Starts to merge the peer's state. The user state and the end of the join are output after the last
    /// entry.
    pub(super) fn merge_push_pull(
        &mut self,
        remote: PushPull,
        join: bool,
        exchange: Exchange,
        now: Instant,
    ) -> Result<(), String> {
        let mut entries = remote.nodes;
        if entries.len() > self.config.nodes_max {
            self.counters.dropped_refused += 1;
            return Err(format!(
                "remote state has too many nodes: {}",
                entries.len()
            ));
        }
        for reason in &remote.refused {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Ignoring an entry of a push/pull: {reason:?}");
        }
        entries.retain(|entry| !self.refuse_subject(&entry.name, entry.addr));
        self.check_versions(&mut entries)?;
        let merge = Merge {
            entries: entries.into_iter(),
            user_state: remote.user_state,
            join,
            exchange,
            alone_with: match (exchange, self.table.live_others()) {
                (Exchange::Join(_), 0) => Some(0),
                _ => None,
            },
        };
        if merge.entries.len() <= ENTRIES_AT_ONCE || self.sync.merges.len() >= MERGES_MAX {
            self.merge_some(merge, usize::MAX, now);
        } else {
            // Decoding and checking the state was enough work for this call.
            self.sync.merges.push_back(merge);
            self.sync.arm_work(now);
        }
        Ok(())
    }

    /// Does the next piece of postponed work. Merges precede decoding, so that decoded states do not pile up.
    pub(super) fn continue_work(&mut self, now: Instant) {
        if self.sync.work_due.is_none_or(|due| due > now) {
            return;
        }
        self.sync.work_due = None;
        if let Some(merge) = self.sync.merges.pop_front() {
            if let Some(rest) = self.merge_some(merge, ENTRIES_AT_ONCE, now) {
                self.sync.merges.push_front(rest);
            }
        } else {
            self.work_on_streams(now);
        }
        if !self.sync.merges.is_empty() || self.streams.have_work() {
            self.sync.arm_work(now);
        }
    }

    /// Merges up to `at_once` entries; returns the rest, if any.
    fn merge_some(&mut self, mut merge: Merge, at_once: usize, now: Instant) -> Option<Merge> {
        self.encounter = match merge.exchange {
            Exchange::Join(_) => Encounter::OwnJoin,
            Exchange::Theirs if merge.join => Encounter::TheirJoin,
            Exchange::Theirs | Exchange::Periodic | Exchange::Asked => Encounter::Elsewhere,
        };
        for entry in merge.entries.by_ref().take(at_once) {
            // A node that joined here in the meantime needs the remaining entries.
            merge.alone_with = merge
                .alone_with
                .filter(|&others| others == self.table.live_others());
            self.is_known_to_all = merge.alone_with.is_some();
            self.merge_entry(entry, now);
            merge.alone_with = merge.alone_with.map(|_| self.table.live_others());
        }
        self.is_known_to_all = false;
        self.encounter = Encounter::Elsewhere;
        if merge.entries.len() > 0 {
            return Some(merge);
        }
        if !merge.user_state.is_empty() {
            self.outputs.push_back(Output::UserState {
                bytes: merge.user_state,
                join: merge.join,
                initiated: merge.exchange.join(),
                asked: merge.exchange == Exchange::Asked,
            });
        }
        self.end_sync(merge.exchange, Ok(()));
        None
    }

    /// Checks the versions (4.10 step A). Entries that are incompatible with this node are ignored
    /// individually, so that one bad entry does not stop all exchanges, unless no compatible alive entry
    /// exists.
    fn check_versions(&mut self, entries: &mut Vec<PushPullNode>) -> Result<(), String> {
        let ours = self.local().versions;
        let usable = |entry: &PushPullNode| {
            entry.state == RemoteState::Alive && compatible(ours, entry.versions)
        };
        if entries.iter().any(usable) {
            let all = entries.len();
            entries.retain(|entry| {
                let kept = compatible(ours, entry.versions);
                if !kept {
                    log::warn!(target: "memberlist", "Ignoring node {}: its versions exclude ours", entry.name);
                }
                kept
            });
            self.counters.dropped_refused += (all - entries.len()) as u64;
        }
        let mut bounds = Bounds::default();
        for node in self.table.in_any_order() {
            if node.state == NodeState::Alive {
                bounds.narrow(node.versions);
            }
        }
        for entry in entries
            .iter()
            .filter(|entry| entry.state == RemoteState::Alive)
        {
            bounds.narrow(entry.versions);
        }
        let remote = entries.iter().map(|entry| (&entry.name, entry.versions));
        let local = self.table.in_any_order();
        let local = local.map(|node| (&node.name, node.versions));
        for (name, versions) in remote.chain(local) {
            bounds
                .check(versions)
                .map_err(|why| format!("Node '{name}' {why}"))?;
        }
        Ok(())
    }

    /// Merges one entry (4.10 step C). Alive and left are taken as they are; a node that the peer considers
    /// dead becomes suspect here.
    fn merge_entry(&mut self, entry: PushPullNode, now: Instant) {
        let PushPullNode {
            name: node,
            addr,
            meta,
            incarnation,
            state,
            versions,
        } = entry;
        match state {
            RemoteState::Alive => self.handle_alive(
                Alive {
                    incarnation,
                    node,
                    addr,
                    meta,
                    versions,
                },
                now,
            ),
            RemoteState::Left => self.handle_dead(
                Dead {
                    incarnation,
                    from: Some(node.clone()),
                    node,
                },
                now,
            ),
            RemoteState::Dead | RemoteState::Suspect => {
                let from = Some(self.local().name.clone());
                self.handle_suspect(
                    Suspect {
                        incarnation,
                        node,
                        from,
                    },
                    now,
                );
            }
        }
    }
}

fn entry(node: &Node) -> PushPullNode {
    PushPullNode {
        name: node.name.clone(),
        addr: node.addr,
        meta: Some(node.meta.clone()),
        incarnation: node.incarnation,
        state: match node.state {
            NodeState::Alive => RemoteState::Alive,
            NodeState::Suspect => RemoteState::Suspect,
            NodeState::Dead => RemoteState::Dead,
            NodeState::Left => RemoteState::Left,
        },
        versions: node.versions,
    }
}

/// Version ranges that all live nodes support.
#[derive(Debug)]
struct Bounds {
    protocol: (u8, u8),
    delegate: (u8, u8),
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            protocol: (0, u8::MAX),
            delegate: (0, u8::MAX),
        }
    }
}

impl Bounds {
    fn narrow(&mut self, versions: VersionVector) {
        let within = |(low, high): (u8, u8), min: u8, max: u8| (low.max(min), high.min(max));
        self.protocol = within(self.protocol, versions.protocol_min, versions.protocol_max);
        self.delegate = within(self.delegate, versions.delegate_min, versions.delegate_max);
    }

    fn check(&self, versions: VersionVector) -> Result<(), String> {
        let checks = [
            ("protocol", versions.protocol_current, self.protocol),
            (
                "delegate protocol",
                versions.delegate_current,
                self.delegate,
            ),
        ];
        for (layer, current, (low, high)) in checks {
            if !(low..=high).contains(&current) {
                return Err(format!(
                    "{layer} version ({current}) is incompatible: [{low}, {high}]"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::swim::test_support::vectors;

    #[test]
    fn the_interval_grows_as_the_references() {
        for case in vectors("pushPullInterval").as_array().unwrap() {
            let base = Duration::from_nanos(case["baseNanos"].as_u64().unwrap());
            let nodes = usize::try_from(case["nodes"].as_u64().unwrap()).unwrap();
            let due = Duration::from_nanos(case["nanos"].as_u64().unwrap());
            assert_eq!(scaled_interval(base, nodes), due, "{case}");
        }
        assert!(scaled_interval(Duration::MAX, usize::MAX) > Duration::from_secs(1));
    }
}
