//! Members as partners in repairs: who compares what it remembers, and how often that was in vain.

use std::net::SocketAddr;

use super::backoff::Backoff;
use crate::ordered::OrderedMap;
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::event_digest::EventDigest;

/// What two nodes remember, by their digests: the other's and this node's own of the same range.
pub(in crate::serf) type Pair = (EventDigest, EventDigest);

/// What is known of a member.
#[derive(Debug)]
pub(in crate::serf) struct Peer {
    addr: SocketAddr,
    /// It is a node of this program; otherwise it was asked and is none.
    pub(in crate::serf) is_cottar: bool,
    /// Digests in a row that were not this node's own.
    pub(in crate::serf) mismatches: u32,
    /// Pings because of a digest.
    pub(in crate::serf) follow_up: Backoff,
    /// Exchanges because of a digest.
    pub(in crate::serf) exchange: Backoff,
    /// An exchange changed nothing: the pair is left alone until one of the digests is another.
    pub(in crate::serf) left_alone: Option<Pair>,
    /// When it was last sent events that it lacked.
    pub(in crate::serf) answered: Option<Instant>,
    /// When it was last asked for events because of its summary.
    pub(in crate::serf) asked: Option<Instant>,
}

/// All members of whom it is known. They are forgotten when they leave or fail.
#[derive(Debug, Default)]
pub(in crate::serf) struct Peers {
    by_name: OrderedMap<NodeName, Peer>,
}

impl Peers {
    /// A member has shown what it is. Who shows one thing now and another then keeps what limits the
    /// repairs with it.
    pub(in crate::serf) fn learn(&mut self, name: &NodeName, addr: SocketAddr, is_cottar: bool) {
        let known = self.by_name.get_mut(name);
        if let Some(peer) = known.filter(|peer| peer.addr == addr) {
            peer.is_cottar = is_cottar;
            return;
        }
        let peer = Peer {
            addr,
            is_cottar,
            mismatches: 0,
            follow_up: Backoff::default(),
            exchange: Backoff::default(),
            left_alone: None,
            answered: None,
            asked: None,
        };
        self.by_name.insert(name.clone(), peer);
    }

    pub(in crate::serf) fn forget(&mut self, name: &NodeName) {
        self.by_name.remove(name);
    }

    pub(in crate::serf) fn get(&self, name: &NodeName) -> Option<&Peer> {
        self.by_name.get(name)
    }

    pub(in crate::serf) fn get_mut(&mut self, name: &NodeName) -> Option<&mut Peer> {
        self.by_name.get_mut(name)
    }

    pub(in crate::serf) fn is_cottar(&self, name: &NodeName) -> bool {
        self.get(name).is_some_and(|peer| peer.is_cottar)
    }

    /// Whom to compare with, of some members: a node of this program, else somebody who may be one.
    pub(in crate::serf) fn partner(&self, among: &[NodeName]) -> Option<NodeName> {
        let known = among.iter().find(|name| self.is_cottar(name));
        let unknown = || among.iter().find(|name| self.get(name).is_none());
        known.or_else(unknown).cloned()
    }

    /// Panics if the table holds one that `is_member` does not know.
    pub(in crate::serf) fn check_invariants(&self, is_member: impl Fn(&NodeName) -> bool) {
        assert!(self.by_name.keys().all(is_member));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text.as_bytes()).unwrap()
    }

    fn addr(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 7946))
    }

    #[test]
    fn who_is_known_is_preferred_and_who_is_none_is_not_asked() {
        let mut peers = Peers::default();
        peers.learn(&name("ours"), addr(1), true);
        peers.learn(&name("serf"), addr(2), false);
        let partner = |among: &[&str]| {
            let among: Vec<_> = among.iter().map(|text| name(text)).collect();
            peers.partner(&among)
        };
        assert_eq!(partner(&["serf", "new", "ours"]), Some(name("ours")));
        assert_eq!(partner(&["serf", "new"]), Some(name("new")));
        assert_eq!(partner(&["serf"]), None);
        assert!(peers.is_cottar(&name("ours")) && !peers.is_cottar(&name("serf")));
    }

    #[test]
    fn what_is_known_changes_with_the_node() {
        let mut peers = Peers::default();
        peers.learn(&name("a"), addr(1), true);
        peers.get_mut(&name("a")).unwrap().mismatches = 3;
        peers.learn(&name("a"), addr(1), true);
        assert_eq!(peers.get(&name("a")).unwrap().mismatches, 3);
        peers.learn(&name("a"), addr(2), true);
        // Another address: another node.
        assert_eq!(peers.get(&name("a")).unwrap().mismatches, 0);
        // The same node, which says something else: what limits it stays.
        peers.get_mut(&name("a")).unwrap().mismatches = 3;
        for is_cottar in [false, true, false] {
            peers.learn(&name("a"), addr(2), is_cottar);
            assert_eq!(peers.is_cottar(&name("a")), is_cottar);
            assert_eq!(peers.get(&name("a")).unwrap().mismatches, 3);
        }
        peers.check_invariants(|_| true);
        peers.forget(&name("a"));
        peers.check_invariants(|_| false);
    }
}
