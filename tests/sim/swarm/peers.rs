//! Which nodes behave as another program would.

use cottar::rng::Rng;

use super::Swarm;
use crate::cluster::{Inventions, NodeId, Twist};

/// Of so many seeds ...
const OF_SEEDS: usize = 16;
/// ... the first have nodes that behave like the reference ...
const WITH_REFERENCE: std::ops::Range<usize> = 0..4;
/// ... and others, of which the first have both, a liar.
const WITH_LIAR: std::ops::Range<usize> = 3..6;

impl Swarm {
    /// In some seeds up to half of the nodes behave like the reference, and in some one lies. The draws are
    /// of their own: all other seeds run as they would without them.
    pub(super) fn draw_peers(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x0fee_1e55);
        let kind = rng.below(OF_SEEDS);
        let mut hosts: Vec<NodeId> = (0..self.sim.nodes.len()).collect();
        rng.shuffle(&mut hosts);
        if WITH_REFERENCE.contains(&kind) {
            let count = 1 + rng.below(hosts.len() / 2);
            let chosen = hosts.drain(..count);
            chosen.for_each(|id| self.sim.twist(id, Twist::Reference));
        }
        if WITH_LIAR.contains(&kind) {
            self.sim.twist(hosts[0], Twist::Liar);
        }
    }

    /// How far the liar goes from now on, if there is one.
    pub(super) fn let_liars_invent(&mut self, inventions: Inventions) {
        for id in 0..self.sim.nodes.len() {
            self.sim.let_invent(id, inventions);
        }
    }

    /// Nodes that what is promised to all can be asked of: all but the liar, if there are others.
    pub(super) fn tell_no_lies(&self, nodes: Vec<NodeId>) -> Vec<NodeId> {
        let lies = |id: &NodeId| {
            let twisted = self.sim.twisted.get(id);
            twisted.is_some_and(|twisted| twisted.twist == Twist::Liar)
        };
        let honest: Vec<NodeId> = nodes.iter().copied().filter(|id| !lies(id)).collect();
        match honest.is_empty() {
            true => nodes,
            false => honest,
        }
    }
}
