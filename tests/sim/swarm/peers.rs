//! Which nodes behave as another program would.

use cottar::rng::Rng;
use cottar::serf::Stats;
use cottar::time::Duration;

use super::Swarm;
use crate::cluster::{Inventions, NodeId, Twist};

/// Of so many seeds ...
const OF_SEEDS: usize = 16;
/// ... the first have nodes that behave like the reference ...
const WITH_REFERENCE: std::ops::Range<usize> = 0..4;
/// ... and others, of which the first have both, a liar.
const WITH_LIAR: std::ops::Range<usize> = 3..6;

/// Clocks that differ by less take each other's events and queries.
const NEAR: u64 = 256;
/// Time for some dozens of exchanges for a jump.
const CATCHING_UP_MAX: Duration = Duration::from_secs(1_200);

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

    /// Where a liar has driven clocks far ahead, whoever has started since follows by one leap with each
    /// exchange (gossip spec 8.7). What it fires and asks before it has caught up is old to the others
    /// (seed 2232).
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
