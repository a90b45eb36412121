//! Draws faults and actions of operators, and ends each fault after a while.

use cottar::serf::Command;
use cottar::time::Duration;

use super::{Swarm, TARGETS_MAX};
use crate::cluster::NodeId;
use crate::network::Weather;

/// The end of a temporary fault.
pub(super) enum Undo {
    Mend(Vec<(NodeId, NodeId)>),
    Resume(NodeId),
    Start(NodeId),
}

impl Swarm {
    fn later(&mut self, most: Duration, undo: Undo) {
        let wait = Duration::from_millis(100) + self.rng.duration_below(most);
        self.undo.push((self.sim.now + wait, undo));
    }

    pub(super) fn undo_due(&mut self, everything: bool) {
        let now = self.sim.now;
        let (due, rest) = (self.undo.drain(..)).partition(|(at, _)| everything || *at <= now);
        self.undo = rest;
        for (_, undo) in due {
            match undo {
                Undo::Mend(ways) => ways
                    .into_iter()
                    .for_each(|(from, to)| self.sim.network.mend(from, to)),
                Undo::Resume(id) => self.sim.resume(id),
                Undo::Start(id) => self.start_again(id),
            }
        }
    }

    pub(super) fn start_again(&mut self, id: NodeId) {
        if self.sim.is_up(id) {
            return;
        }
        self.sim.start(id);
        let others = self.some_others(id);
        self.sim.join(id, &others, true, true);
    }

    /// Some running nodes, for `-retry-join`.
    fn some_others(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut others = self.sim.up();
        others.retain(|&other| other != id);
        self.rng.shuffle(&mut others);
        others.truncate(TARGETS_MAX);
        others
    }

    /// Causes one fault or one action of an operator.
    fn happen(&mut self) {
        let up = self.sim.up().len();
        match self.rng.below(100) {
            0..=24 => self.fire(),
            25..=36 => self.ask(),
            37..=43 if up > 2 => {
                let id = self.pick_up();
                self.sim.crash(id, false);
                self.maybe_start_later(id);
            }
            44..=49 if up > 2 => {
                let id = self.pick_up();
                self.sim.crash(id, true);
                self.maybe_start_later(id);
            }
            50..=53 if up > 2 => {
                let id = self.pick_up();
                self.sim.command(id, Command::Leave);
                if self.rng.chance(0.5) {
                    self.later(Duration::from_secs(60), Undo::Start(id));
                }
            }
            54..=62 => self.split(),
            63..=72 => self.cut_one_way(),
            73..=81 => {
                let id = self.pick_up();
                self.sim.pause(id);
                self.later(Duration::from_secs(45), Undo::Resume(id));
            }
            82..=88 => {
                let id = self.pick_up();
                let value = self.rng.below(100).to_string();
                self.sim.set_tag(id, "v", &value);
            }
            89..=94 => self.sim.network.weather = Weather::drawn(&mut self.rng),
            _ => {
                for id in 0..self.hosts {
                    if !self.sim.is_up(id) && self.rng.chance(0.5) {
                        self.start_again(id);
                    }
                }
            }
        }
    }

    /// Forces a node to leave, whether it is alive, failed or rejoining, on either side of a partition.
    fn maybe_throw_out(&mut self) {
        let Some(rng) = &mut self.throws_out else {
            return;
        };
        if rng.chance(0.08) {
            let up = self.sim.up();
            let by = up[rng.below(up.len())];
            let node = format!("node-{}", rng.below(self.hosts)).into_bytes();
            let prune = rng.chance(0.3);
            self.sim.command(by, Command::ForceLeave { node, prune });
        }
    }

    fn maybe_start_later(&mut self, id: NodeId) {
        if self.rng.chance(0.7) {
            self.later(Duration::from_secs(60), Undo::Start(id));
        }
    }

    fn split(&mut self) {
        let side: Vec<bool> = (0..self.hosts).map(|_| self.rng.chance(0.5)).collect();
        let mut ways = Vec::new();
        for from in 0..self.hosts {
            for to in 0..self.hosts {
                if side[from] != side[to] {
                    self.sim.network.cut(from, to);
                    ways.push((from, to));
                }
            }
        }
        self.later(Duration::from_secs(90), Undo::Mend(ways));
    }

    fn cut_one_way(&mut self) {
        let from = self.rng.below(self.hosts);
        let to = self.rng.below(self.hosts);
        let all = self.rng.chance(0.3);
        let mut ways: Vec<_> = if all {
            (0..self.hosts).map(|other| (from, other)).collect()
        } else {
            vec![(from, to)]
        };
        ways.retain(|(from, to)| from != to);
        for &(from, to) in &ways {
            self.sim.network.cut(from, to);
        }
        self.later(Duration::from_secs(60), Undo::Mend(ways));
    }

    pub(super) fn chaos(&mut self) {
        self.sim.network.weather = Weather::drawn(&mut self.rng);
        let length = Duration::from_secs(60) + self.rng.duration_below(Duration::from_secs(180));
        let end = self.sim.now + length;
        let pause = Duration::from_millis(500) + self.rng.duration_below(Duration::from_secs(8));
        while self.sim.now < end {
            let wait = self.rng.duration_below(pause);
            self.sim.run_for(wait);
            self.undo_due(false);
            if self.sim.up().is_empty() {
                self.start_again(0); // the last of them left
            }
            self.happen();
            self.maybe_throw_out();
            self.maybe_try_delivery();
        }
    }
}
