//! Draws which nodes simulate the reference or a liar.

use cottar::rng::Rng;
use cottar::time::Duration;
use cottar::wire::NodeName;

use super::Swarm;
use super::bound::refutation_bound;
use crate::cluster::{GHOSTS, Inventions, NodeId, Slander, Twist, clocks};
use crate::history::What;

/// The period of the following ranges, in seeds.
const OF_SEEDS: usize = 16;
/// Seeds, modulo [`OF_SEEDS`], with nodes that simulate the reference.
const WITH_REFERENCE: std::ops::Range<usize> = 0..4;
/// Seeds, modulo [`OF_SEEDS`], with a liar; some of them have both.
const WITH_LIAR: std::ops::Range<usize> = 3..6;
/// Seeds, modulo [`OF_SEEDS`], with a liar that forges states and membership messages, too.
const WITH_FORGER: std::ops::Range<usize> = 6..10;
/// How long a forger slanders members of a cluster without other faults.
const SLANDERING: Duration = Duration::from_secs(60);
/// Time for the join of a forger that did not run.
const JOINING: Duration = Duration::from_secs(10);

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
        if WITH_FORGER.contains(&kind) {
            let forger = hosts.pop().unwrap_or(0);
            self.sim.twist(forger, Twist::Forger);
            if rng.chance(0.25) {
                let count = 1 + rng.below(hosts.len() / 2);
                let chosen = hosts.drain(..count);
                chosen.for_each(|id| self.sim.twist(id, Twist::Reference));
            }
            self.slanders = Some(rng);
        }
    }

    /// Sets what the liar may invent from now on, if there is one.
    pub(super) fn let_liars_invent(&mut self, inventions: Inventions) {
        for id in 0..self.sim.nodes.len() {
            self.sim.let_invent(id, inventions);
        }
    }

    /// Sets what the forger claims about members from now on, if there is one.
    pub(super) fn let_forgers_slander(&mut self, slander: Slander, victim: Option<NodeName>) {
        for id in 0..self.sim.nodes.len() {
            self.sim.let_slander(id, slander, victim.clone());
        }
    }

    /// Number of names that are not of hosts.
    pub(super) fn ghosts(&self) -> usize {
        match self.slanders {
            Some(_) => GHOSTS,
            None => 0,
        }
    }

    /// Lets the forger, if there is one, slander members for a while without other faults, while the honest
    /// nodes fire events. When it falls silent, all lists must agree again.
    pub(super) fn slander(&mut self) -> Result<(), String> {
        let Some(mut rng) = self.slanders.take() else {
            return Ok(());
        };
        if let Some(id) = self.liar().filter(|_| !self.is_deserted()) {
            self.start_again(id);
            self.sim.run_for(JOINING);
            self.let_clocks_meet()?;
            let slander = [Slander::Departures, Slander::Addresses][rng.below(2)];
            let honest = self.tell_no_lies(self.sim.up());
            let victim = honest[rng.below(honest.len())];
            let victim = self.sim.nodes[victim].spec.config.name.clone();
            let victim = rng.chance(0.5).then_some(victim);
            self.let_forgers_slander(slander, victim);
            self.sim.record(id, What::Slander(true));
            let end = self.sim.now + SLANDERING;
            while self.sim.now < end {
                let honest = self.tell_no_lies(self.sim.up());
                self.fire_at(honest[rng.below(honest.len())]);
                let wait = rng.duration_below(Duration::from_secs(2));
                self.sim.run_for(wait);
            }
            self.let_forgers_slander(Slander::None, None);
            self.sim.record(id, What::Slander(false));
        }
        self.slanders = Some(rng);
        let config = &self.sim.nodes[0].spec.config;
        let bound = refutation_bound(config, self.sim.nodes.len() + GHOSTS);
        self.settle(bound).map(|_| ())
    }

    /// The node that simulates a liar, if there is one.
    fn liar(&self) -> Option<NodeId> {
        (0..self.sim.nodes.len()).find(|&id| self.lies(id))
    }

    fn lies(&self, id: NodeId) -> bool {
        let twisted = self.sim.twisted.get(&id);
        twisted.is_some_and(|twisted| twisted.twist.lies())
    }

    /// The nodes for which the promises hold: all except the liar, if there are others.
    pub(super) fn tell_no_lies(&self, nodes: Vec<NodeId>) -> Vec<NodeId> {
        let honest = nodes.iter().copied().filter(|&id| !self.lies(id));
        let honest: Vec<NodeId> = honest.collect();
        match honest.is_empty() {
            true => nodes,
            false => honest,
        }
    }

    /// Waits until clocks meet. If a liar has driven clocks far ahead, a node that started since then follows
    /// by one leap per exchange (gossip spec 8.7). Until then, its events and queries are too old for the
    /// others (seed 2232).
    pub(super) fn let_clocks_meet(&mut self) -> Result<(), String> {
        let honest = self.tell_no_lies(self.sim.up());
        let has_liar = self.liar().is_some();
        let end = self.sim.now + CATCHING_UP_MAX;
        while has_liar && self.clocks_differ(&honest) {
            if self.sim.now > end {
                return Err(format!("clocks do not meet within {CATCHING_UP_MAX:?}"));
            }
            self.sim.run_for(Duration::from_millis(500));
        }
        Ok(())
    }

    fn clocks_differ(&self, nodes: &[NodeId]) -> bool {
        let nodes = nodes.iter().map(|&id| clocks(self.sim.serf(id)));
        let nodes: Vec<[u64; 3]> = nodes.collect();
        (0..3).any(|clock| {
            let times = || nodes.iter().map(|times| times[clock]);
            let ends = times().max().zip(times().min());
            ends.is_some_and(|(most, least)| most - least > NEAR)
        })
    }
}
