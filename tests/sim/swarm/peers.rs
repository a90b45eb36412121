//! Draws which nodes simulate the reference or a liar.

use cottar::rng::Rng;
use cottar::serf::Stats;
use cottar::time::Duration;

use super::Swarm;
use crate::cluster::{Inventions, NodeId, Twist};

/// The period of the following ranges, in seeds.
const OF_SEEDS: usize = 16;
/// Seeds, modulo [`OF_SEEDS`], with nodes that simulate the reference.
const WITH_REFERENCE: std::ops::Range<usize> = 0..4;
/// Seeds, modulo [`OF_SEEDS`], with a liar; some of them have both.
const WITH_LIAR: std::ops::Range<usize> = 3..6;

/// Nodes whose clocks differ by less accept each other's events and queries.
const NEAR: u64 = 256;
/// Time for some dozens of exchanges after a jump of the clock.
const CATCHING_UP_MAX: Duration = Duration::from_secs(1_200);

impl Swarm {
    /// Draws nodes that simulate the reference (up to half of them) and a liar, in some seeds. Uses a
    /// generator of its own, so that all other seeds run as they would without it.
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

    /// Sets what the liar may invent from now on, if there is one.
    pub(super) fn let_liars_invent(&mut self, inventions: Inventions) {
        for id in 0..self.sim.nodes.len() {
            self.sim.let_invent(id, inventions);
        }
    }

    /// The nodes for which the promises hold: all except the liar, if there are others.
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

    /// Waits until clocks meet. If a liar has driven clocks far ahead, a node that started since then follows
    /// by one leap per exchange (gossip spec 8.7). Until then, its events and queries are too old for the
    /// others (seed 2232).
    pub(super) fn let_clocks_meet(&mut self) -> Result<(), String> {
        let up = self.sim.up();
        let honest = self.tell_no_lies(up.clone());
        let end = self.sim.now + CATCHING_UP_MAX;
        while honest.len() < up.len() && self.clocks_differ(&honest) {
            if self.sim.now > end {
                return Err(format!("clocks do not meet within {CATCHING_UP_MAX:?}"));
            }
            self.sim.run_for(Duration::from_millis(500));
        }
        Ok(())
    }

    fn clocks_differ(&self, nodes: &[NodeId]) -> bool {
        let differ = |times: &dyn Fn(&Stats) -> u64| {
            let stats = nodes.iter().map(|&id| self.sim.serf(id).stats());
            let times: Vec<u64> = stats.map(|stats| times(&stats)).collect();
            let (least, most) = (times.iter().min(), times.iter().max());
            most.zip(least)
                .is_some_and(|(most, least)| most - least > NEAR)
        };
        differ(&|stats| stats.event_time) || differ(&|stats| stats.query_time)
    }
}
