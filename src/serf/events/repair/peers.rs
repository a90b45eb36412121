//! Members as partners in repair: whether they run cottar, and the backoffs after failed attempts.

use std::net::SocketAddr;

use super::backoff::Backoff;
use crate::ordered::OrderedMap;
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::event_digest::EventDigest;

/// The digests of two nodes over the same range: the other's and this node's own.
pub(in crate::serf) type Pair = (EventDigest, EventDigest);

/// Repair state of a member.
#[derive(Debug)]
pub(in crate::serf) struct Peer {
    addr: SocketAddr,
    /// Whether it runs cottar. False: it was asked and does not.
    pub(in crate::serf) is_cottar: bool,
    /// Number of consecutive digests that differed from this node's own.
    pub(in crate::serf) mismatches: u32,
    /// Backoff of pings caused by a digest.
    pub(in crate::serf) follow_up: Backoff,
    /// Backoff of exchanges caused by a digest.
    pub(in crate::serf) exchange: Backoff,
    /// Digests after an exchange that brought nothing. No further exchange until one of them changes.
    pub(in crate::serf) left_alone: Option<Pair>,
    /// When this node last sent it events that it lacked.
    pub(in crate::serf) answered: Option<Instant>,
    /// When this node last asked it for events because of its summary.
    pub(in crate::serf) asked: Option<Instant>,
}

/// Members with repair state. Removed when they leave or fail.
#[derive(Debug, Default)]
pub(in crate::serf) struct Peers {
    by_name: OrderedMap<NodeName, Peer>,
}

impl Peers {
    /// Notes whether a member runs cottar. If that changes at the same address, its backoffs and rate limits
    /// stay.
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

    /// Chooses a partner for a comparison: the first member that runs cottar or may run it, if possible another
    /// one than `last`. Preferring those that are known to would leave out the others: nodes that have just
    /// come back, and lack the most.
    pub(in crate::serf) fn partner(
        &self,
        among: &[NodeName],
        last: Option<&NodeName>,
    ) -> Option<NodeName> {
        let may_compare = |name: &&NodeName| self.get(name).is_none_or(|peer| peer.is_cottar);
        let mut partners = among.iter().filter(may_compare);
        let another = partners.clone().find(|name| Some(*name) != last);
        another.or_else(|| partners.next()).cloned()
    }

    /// Panics if there is an entry for which `is_member` returns false.
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
    fn unknown_nodes_are_chosen_like_cottar_nodes_and_others_never() {
        let mut peers = Peers::default();
        peers.learn(&name("ours"), addr(1), true);
        peers.learn(&name("serf"), addr(2), false);
        let partner = |among: &[&str]| {
            let among: Vec<_> = among.iter().map(|text| name(text)).collect();
            peers.partner(&among, Some(&name("last")))
        };
        assert_eq!(partner(&["serf", "ours", "new"]), Some(name("ours")));
        assert_eq!(partner(&["serf", "new", "ours"]), Some(name("new")));
        assert_eq!(partner(&["serf", "new"]), Some(name("new")));
        assert_eq!(partner(&["last", "ours"]), Some(name("ours")));
        assert_eq!(partner(&["serf", "last"]), Some(name("last")));
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
        // Another address means another node.
        assert_eq!(peers.get(&name("a")).unwrap().mismatches, 0);
        // The same node with a different answer keeps its limits.
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
