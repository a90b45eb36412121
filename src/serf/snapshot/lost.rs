//! Members from before the restart of which this node has heard nothing since.
//!
//! Where a network comes up later than its hosts, or is split while they restart, nobody answers the
//! rejoin, or only some do. Without this list the parts of the cluster would know nothing of each
//! other for ever. The reference forgets who had failed, and tries the others once.

use std::net::SocketAddr;

use super::{Snapshot, SnapshotLine};
use crate::ordered::OrderedMap;
use crate::serf::Serf;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Of the time for which a failed member is called, the part for which one of an earlier life is: a
/// node that restarts every day must give it up some day.
const PART_OF_RECONNECT_TIMEOUT: u32 = 2;

/// Those members, called one by one as failed ones are ([`Serf::reconnect`]).
#[derive(Debug, Default)]
pub(in crate::serf) struct LostMembers {
    /// Where they were, and whether they had failed.
    members: OrderedMap<NodeName, (SocketAddr, bool)>,
    given_up_at: Instant,
}

impl LostMembers {
    /// All members of a snapshot.
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

    /// One of them, by its number in the order of the names.
    pub(in crate::serf) fn nth(&self, number: usize) -> Option<(NodeName, SocketAddr)> {
        let (name, (addr, _)) = self.members.iter().nth(number)?;
        Some((name.clone(), *addr))
    }
}

impl Serf {
    /// Something is known of a member again.
    pub(in crate::serf) fn find_lost(&mut self, name: &NodeName) {
        self.lost.members.remove(name);
    }

    /// A member that is not in the table has left.
    pub(in crate::serf) fn forget_lost(&mut self, name: &NodeName) {
        if self.lost.members.remove(name).is_some() {
            self.record_line(SnapshotLine::NotAlive(name.clone()));
        }
    }

    /// Calls nobody any more who has been silent for too long. Those that were alive when this node
    /// ended stay in the snapshot, in case that it is this node that is cut off.
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
