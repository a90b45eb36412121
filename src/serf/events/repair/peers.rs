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

    /// Chooses the member to watch after `last`: of this node's share of the members that may not run cottar,
    /// in turn. The cottar nodes share them by the order of the names, in which `members` must be; it does not
    /// contain this node, `own`.
    pub(in crate::serf) fn watched<'a>(
        &self,
        members: impl Iterator<Item = &'a NodeName>,
        own: &NodeName,
        last: Option<&NodeName>,
    ) -> Option<&'a NodeName> {
        let (ours, others): (Vec<_>, Vec<_>) = members.partition(|name| self.is_cottar(name));
        let rank = ours.iter().filter(|name| **name < own).count();
        let mut share = others.into_iter().skip(rank).step_by(ours.len() + 1);
        let next = share.clone().find(|name| Some(*name) > last);
        next.or_else(|| share.next())
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
    fn each_node_that_is_not_cottar_is_watched_by_one_that_is() {
        let ours = ["b", "d", "f"];
        let others = ["a", "c", "e", "g", "h", "i", "j"];
        let mut members = [ours.map(name).to_vec(), others.map(name).to_vec()].concat();
        members.sort();
        let mut watched = Vec::new();
        for own in ours.map(name) {
            let mut peers = Peers::default();
            for node in &members {
                let is_ours = ours.map(name).contains(node);
                // Nobody knows yet what `a` runs.
                if *node != name("a") {
                    peers.learn(node, addr(1), is_ours);
                }
            }
            let mut share: Vec<NodeName> = Vec::new();
            for _ in 0..6 {
                let members = members.iter().filter(|node| **node != own);
                let next = peers.watched(members, &own, share.last());
                share.push(next.unwrap().clone());
            }
            let length = if own == name("b") { 3 } else { 2 };
            assert!((length..6).all(|at| share[at] == share[at - length]));
            watched.extend(share.drain(..length));
        }
        watched.sort();
        assert_eq!(watched, others.map(name));
        let nobody = Peers::default().watched([].iter(), &name("a"), None);
        assert_eq!(nobody, None);
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
