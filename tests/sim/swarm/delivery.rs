//! What the delivery of events and queries is tried by: nodes that come late, leave and come back,
//! bursts, and a steady time with loss at the end.

use cottar::serf::{Command, QueryParams};
use cottar::time::Duration;

use super::{Outcome, Swarm, Undo, drawn_spec};
use crate::checkers::Lateness;
use crate::cluster::{NodeId, Spec, host_addr};
use crate::history::{Steady, What};
use crate::network::Weather;

impl Swarm {
    /// Who has a snapshot, who goes on after a leave, and who comes late.
    pub(super) fn draw_habits(&mut self, base: &Spec) {
        for _ in 0..self.tries.below(3) {
            let host = self.sim.nodes.len();
            let name = format!("node-{host}");
            let spec = drawn_spec(&mut self.tries, &name, host_addr(host), base);
            self.sim.add(spec);
        }
        for node in &mut self.sim.nodes {
            if self.tries.chance(0.7) {
                node.disk.snapshot = Some(Vec::new());
            }
            node.spec.rejoin_after_leave = self.tries.chance(0.5);
        }
    }

    /// In the chaos, beside the misfortunes.
    pub(super) fn maybe_try_delivery(&mut self) {
        match self.tries.below(100) {
            0..=5 => {
                let up = self.sim.up();
                if !up.is_empty() {
                    let id = up[self.tries.below(up.len())];
                    self.burst(id);
                }
            }
            6..=9 if self.sim.up().len() > 4 => {
                let up = self.sim.up();
                let id = up[self.tries.below(up.len())];
                self.sim.command(id, Command::Leave);
                let most = Duration::from_secs(20);
                let wait = Duration::from_millis(100) + self.tries.duration_below(most);
                self.undo.push((self.sim.now + wait, Undo::Start(id)));
            }
            10..=14 => {
                let late = self.hosts..self.sim.nodes.len();
                if let Some(id) = late.into_iter().find(|&id| !self.sim.is_up(id)) {
                    self.start_again(id);
                }
            }
            _ => {}
        }
    }

    fn fire_at(&mut self, id: NodeId) {
        self.payloads += 1;
        let payload = format!("payload {}", self.payloads);
        self.sim.user_event(id, "deploy", &payload);
    }

    /// Many events of one node, at once or one right after the other.
    fn burst(&mut self, id: NodeId) {
        let gap = Duration::from_millis([0, 0, 2, 20][self.tries.below(4)]);
        for _ in 0..2 + self.tries.below(30) {
            if self.sim.is_up(id) {
                self.fire_at(id);
            }
            self.sim.run_for(gap);
        }
    }

    /// Events and queries at a loss that is the same all the time, with nothing else going on.
    /// Returns the loss.
    pub(super) fn steady(&mut self) -> f64 {
        let loss = [0.0, 0.1, 0.25][self.tries.below(3)];
        let config = self.sim.nodes[0].spec.config.clone();
        self.sim.network.weather = Weather {
            loss,
            ..Weather::fair()
        };
        // Order is promised for one that sends, not between two, and where its own transmissions
        // reach everybody: whom chance passes over hears later (seed 1789).
        let up = self.sim.up();
        let reaches_all = up.len() - 1 <= config.swim.retransmit_multiplier as usize;
        let senders = match self.tries.chance(0.5) {
            true => vec![up[self.tries.below(up.len())]],
            false => up.clone(),
        };
        let seconds = Duration::from_secs;
        let steady = Steady {
            loss,
            bound: Some(seconds(if loss > 0.2 { 5 } else { 2 })),
            hoped: seconds(2),
            queries_reach_all: loss < 0.2,
            in_order: loss == 0.0 && senders.len() == 1 && reaches_all,
        };
        let first = up[0];
        self.sim.record(first, What::Steady(Some(steady)));
        for _ in 0..3 {
            match self.tries.below(3) {
                0 => {
                    let id = senders[self.tries.below(senders.len())];
                    self.burst(id);
                }
                _ => self.scattered_events(&senders),
            }
            self.ask_for_acks();
        }
        self.sim.run_for(config.swim.gossip_interval * 100);
        self.sim.network.weather = Weather::fair();
        self.sim.record(first, What::Steady(None));
        loss
    }

    fn scattered_events(&mut self, senders: &[NodeId]) {
        for _ in 0..1 + self.tries.below(10) {
            let id = senders[self.tries.below(senders.len())];
            self.fire_at(id);
            let wait = self.tries.duration_below(Duration::from_millis(200));
            self.sim.run_for(wait);
        }
    }

    fn ask_for_acks(&mut self) {
        let up = self.sim.up();
        let id = up[self.tries.below(up.len())];
        let params = QueryParams {
            name: b"load".to_vec(),
            request_ack: true,
            relay_factor: [0, 0, 0, 2][self.tries.below(4)],
            ..QueryParams::default()
        };
        self.sim.query(id, params);
    }
}

/// Says how many events were late and how many acks were missing, by loss.
pub(super) fn print_lateness(outcomes: &[Outcome]) {
    for loss in [0.0, 0.1, 0.25] {
        let of_loss = || outcomes.iter().filter(move |outcome| outcome.loss == loss);
        let sum = |one: fn(&Outcome) -> Lateness| {
            of_loss().map(one).fold((0, 0), |(pairs, late), next| {
                (pairs + next.pairs, late + next.late)
            })
        };
        let (events, late) = sum(|outcome| outcome.events);
        let (queries, silent) = sum(|outcome| outcome.queries);
        println!(
            "at a loss of {loss}: {late} of {events} (event, node) pairs late, {silent} of {queries} acks missing"
        );
    }
}
