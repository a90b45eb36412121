//! Lost members: those in the snapshot from which nothing was received since the restart.
//!
//! If a network comes up later than its hosts, or is partitioned while they restart, none or only some
//! members answer the rejoin. Without this list the parts of the cluster would never find each other. The
//! reference forgets failed members and tries the others only once.

use std::net::SocketAddr;

use super::{Snapshot, SnapshotLine};
use crate::ordered::OrderedMap;
use crate::serf::Serf;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Divisor of the reconnect timeout for lost members: a node that restarts every day must give up on them at
/// some point.
const PART_OF_RECONNECT_TIMEOUT: u32 = 2;

/// The lost members. Reconnects try them one by one, as failed ones ([`Serf::reconnect`]).
#[derive(Debug, Default)]
pub(in crate::serf) struct LostMembers {
    /// Last address of each, and whether it had failed.
    members: OrderedMap<NodeName, (SocketAddr, bool)>,
    given_up_at: Instant,
}

impl LostMembers {
    /// Makes the list of all members in a snapshot.
    pub(in crate::serf) fn of(
        snapshot: &Snapshot,
        reconnect_timeout: Duration,
        now: Instant,
    ) -> Self {
        let with =
            |failed| move |(name, addr): (&NodeName, &SocketAddr)| (name.clone(), (*addr, failed));
        let alive = snapshot.alive.iter().map(with(false));
        LostMembers {
            members: alive
                .chain(snapshot.failed.iter().map(with(true)))
                .collect(),
            given_up_at: now + reconnect_timeout / PART_OF_RECONNECT_TIMEOUT,
        }
    }

    pub(in crate::serf) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns a member by its index in the order of names.
    pub(in crate::serf) fn nth(&self, number: usize) -> Option<(NodeName, SocketAddr)> {
        let (name, (addr, _)) = self.members.iter().nth(number)?;
        Some((name.clone(), *addr))
    }
}

impl Serf {
    /// Removes a member about which information has arrived.
    pub(in crate::serf) fn find_lost(&mut self, name: &NodeName) {
        self.lost.members.remove(name);
    }

    /// Removes a member that is not in the member table and has left.
    pub(in crate::serf) fn forget_lost(&mut self, name: &NodeName) {
        if self.lost.members.remove(name).is_some() {
            self.record_line(SnapshotLine::NotAlive(name.clone()));
        }
    }

    /// Drops the lost members once their time is over. Those that were alive when this node ended stay in the
    /// snapshot, because it may be this node that is cut off.
    pub(in crate::serf) fn give_up_lost(&mut self, now: Instant) {
        if now < self.lost.given_up_at {
            return;
        }
        for (name, (_, failed)) in std::mem::take(&mut self.lost.members) {
            if failed {
                self.record_line(SnapshotLine::NotAlive(name));
            }
        }
    }
}
