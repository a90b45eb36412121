//! Timing and execution of gossip rounds (gossip spec 4.11).

use super::{
    EARLY_QUARTERS, PACKETS_PER_TARGET_MAX, Round, TARGETS_WITHOUT_NEED_MAX, next_on_grid,
};
use crate::swim::broadcast::{Packing, Selection, retransmit_limit};
use crate::swim::table::NodeId;
use crate::swim::{PROTOCOL_WITH_CHECKSUM, Swim};
use crate::time::{Duration, Instant};
use crate::wire::limits::COMPOUND_PARTS_SENT_MAX;

impl Swim {
    /// Starts the tick if there are messages and targets; moves it forward if more is queued than a packet
    /// holds.
    pub(in crate::swim) fn arm_gossip(&mut self, now: Instant) {
        let deep = self.gossip.bytes() > self.envelope.packet_budget_bytes();
        let gossip = &mut self.gossip;
        if gossip.is_empty() {
            // A ping may have taken the last message; the next one schedules its own early round.
            gossip.early_round = None;
        }
        if gossip.is_empty() || gossip.interval.is_zero() || !self.table.has_gossip_target() {
            gossip.tick = None;
        } else if gossip.tick.is_none() {
            gossip.tick = Some(next_on_grid(gossip.phase, gossip.interval, now));
            if gossip.turned == Some(now) {
                // An early round that waited for a target: the timeout at this instant was already handled.
                let next = now + Duration::from_nanos(1);
                gossip.early_round = gossip.early_round.map(|due| due.max(next));
            }
        }
        if deep && !gossip.stuck && !self.lag.is_behind(now) {
            let early = now + gossip.round_interval();
            gossip.tick = gossip.tick.map(|tick| tick.min(early));
        }
    }

    pub(in crate::swim) fn gossip_deadline(&self) -> Option<Instant> {
        // Without a tick there are no messages or no targets, so early rounds wait, too.
        let tick = self.gossip.tick?;
        Some(self.gossip.early_round.map_or(tick, |due| due.min(tick)))
    }

    /// Runs the rounds that are due. Called last in a timeout, so that messages queued by it are included.
    pub(in crate::swim) fn tick_gossip(&mut self, now: Instant) {
        self.gossip.turned = Some(now);
        let Some(tick) = self.gossip.tick else {
            return;
        };
        if self.gossip.early_round.is_some_and(|due| due <= now) {
            self.run_early_round(now);
        }
        if tick <= now {
            self.counters.gossip_rounds += 1;
            self.gossip.stuck = !self.gossip_round(Round::TICK, now);
            if self.gossip.stuck {
                self.drop_needless(now);
            }
            let gossip = &mut self.gossip;
            gossip.tick = Some(next_on_grid(gossip.phase, gossip.interval, now));
        }
        if self.gossip.is_empty() {
            self.gossip.early_round = None;
            self.table.renew_gossip_order(&mut self.rng);
        }
    }

    /// Starts the first transmissions of new messages.
    fn run_early_round(&mut self, now: Instant) {
        if !self.gossip.early_rounds.take(now) {
            self.gossip.early_round = Some(self.gossip.early_rounds.next_refill());
            return;
        }
        let targets = self
            .config
            .gossip_nodes
            .min(self.table.live_others().max(1));
        let first = u32::try_from(targets).unwrap_or(u32::MAX);
        let limit = retransmit_limit(self.config.retransmit_multiplier, self.gossip.user_members);
        let round = Round {
            members_below: first,
            others_below: first.max(limit / 4 * EARLY_QUARTERS),
        };
        let sent = self.gossip_round(round, now);
        let more = self.gossip.has_for(round) && !self.lag.is_behind(now);
        self.gossip.early_round = (sent && more).then(|| now + self.gossip.round_interval());
    }

    /// Runs a round to the next targets that lack some of its messages; returns whether anything was sent.
    fn gossip_round(&mut self, round: Round, now: Instant) -> bool {
        let mut served = 0;
        let targets = match self.lag.is_stuck(now) {
            true => self.config.gossip_nodes.min(1),
            false => self.config.gossip_nodes,
        };
        let visits = self.table.gossip_round_len();
        for _ in 0..visits.min(targets + TARGETS_WITHOUT_NEED_MAX) {
            if served == targets || !self.gossip.has_for(round) {
                break;
            }
            let dead_for = self.config.gossip_to_the_dead_time;
            let Some(id) = self.table.next_gossip_target(dead_for, now) else {
                break;
            };
            served += usize::from(self.gossip_to(id, round, now));
        }
        served > 0
    }

    /// Sends packets to one target; returns whether there was anything to send.
    fn gossip_to(&mut self, id: NodeId, round: Round, now: Instant) -> bool {
        self.gossip.visit += 1;
        let selection = Selection {
            transmissions_below: round.others_below,
            members_below: round.members_below,
            batch: self.gossip.visit,
            ..self.selection(id, now)
        };
        for packet in 0..PACKETS_PER_TARGET_MAX {
            let space = self.envelope.packet_budget_bytes();
            let mut packing = Packing::new(space, COMPOUND_PARTS_SENT_MAX);
            self.pack(&mut packing, selection, packet == 0);
            if packing.messages.is_empty() {
                return packet > 0;
            }
            let node = &self.table.record(id).node;
            let checksum = node.versions.protocol_max >= PROTOCOL_WITH_CHECKSUM;
            self.send_datagram(node.addr, &packing.messages, checksum);
        }
        true
    }
}
