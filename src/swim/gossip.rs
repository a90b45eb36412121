//! Gossip: the queues, the tick, and immediate rounds for new messages (gossip spec 4.11).
//!
//! A message is transmitted as often as the protocol requires, but not only at ticks. Its first
//! transmissions, one to each of `gossip_nodes` targets, start in the loop's turn in which it arrived: an
//! *early round*. An event or a query has more early rounds, up to [`EARLY_QUARTERS`] quarters of its
//! transmissions: among ten nodes, the first rounds miss a node in one case of twenty, and it would have to
//! wait for a tick. The later transmissions follow at ticks; while more is queued than one packet holds,
//! *catch-up rounds* follow between ticks. This matters twice: a queue that grows faster than ticks empty it
//! loses messages, and receivers refuse an event after 512 later ones.
//!
//! A node that is behind its own timers ([`super::lag`]) sends only at ticks, and if it stays behind, to one
//! target instead of `gossip_nodes`: whatever arrived before is sent in as few packets as possible, which takes
//! load off the machine.
//!
//! Rounds of either kind are at least a [`ROUNDS_PER_INTERVAL`]th of the gossip interval apart, and each
//! target gets at most [`PACKETS_PER_TARGET_MAX`] packets per round. With the LAN profile a node sends at
//! most 3.4 MB/s, to three targets at a time. If nine nodes choose the same target at once, it receives 36
//! packets, about 83 KiB of a default socket buffer's 208 KiB as the kernel counts, and about 650 messages of
//! the size of a small event; the reference's queue holds 1,024.
//!
//! A user broadcast is for all nodes or for the members at the time of queueing ([`super::Audience`]). The
//! latter are numbered, and the record of each node has the number of the first one after the node became a
//! member. In a small cluster each entry also has bits for the nodes that it is for, that it was sent to, and
//! that sent it to this node, so that transmissions go only to nodes that may lack it.
//!
//! Membership broadcasts whose transmissions are complete get additional ones
//! ([`Config::membership_retransmit_nodes_min`]). These have the lowest priority: they are sent at ticks or
//! with other messages, after all of those, and never cause a second packet to a target.

mod rounds;

use std::net::SocketAddr;
use std::sync::Arc;

use super::broadcast::{
    BroadcastQueue, Completed, ForPresent, Packing, Selection, Ticket, retransmit_limit,
    transmissions_to_all,
};
use super::bucket::TokenBucket;
use super::table::{NodeId, Return};
use super::{Audience, BroadcastId, Config, NodeState, Output, Priority, Sample, Swim};
use crate::count::Count;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::{Message, NodeName, membership::message_type};

/// Number of early and catch-up rounds that fit between two ticks.
const ROUNDS_PER_INTERVAL: u32 = 20;
/// Quarters of an event's or query's transmissions that do not wait for ticks. The rest does, for nodes that
/// receive nothing for a moment.
const EARLY_QUARTERS: u32 = 3;
/// Number of early rounds that may follow each other without a delay.
const EARLY_ROUNDS_AT_ONCE: u32 = 4;
/// Limit for the packets to one target per round.
const PACKETS_PER_TARGET_MAX: usize = 4;
/// Limit for the targets that a round may skip because they have everything that is queued: the size of the
/// clusters in which this is tracked.
const TARGETS_WITHOUT_NEED_MAX: usize = 64;
/// Gossip intervals for which a returned member gets no broadcasts from before its return. The return may be
/// known before the push/pull of the member's join, which must complete within this time.
const RETURN_INTERVALS: u32 = 5;
/// Bytes of a message in a compound in addition to its content (2.10).
pub(super) const MESSAGE_OVERHEAD_BYTES: usize = 2;
/// User broadcasts are added only if more bytes than this are left (4.11).
const USER_SPACE_BYTES_MIN: usize = 3;

/// The broadcast queues and their timers.
#[derive(Debug)]
pub(super) struct Gossip {
    pub(super) membership: BroadcastQueue,
    /// Membership broadcasts that completed their transmissions in the queue above, for nodes that were
    /// missed by chance. See [`Config::membership_retransmit_nodes_min`].
    extra: BroadcastQueue,
    user: [BroadcastQueue; 3],
    pub(super) user_members: usize,
    interval: Duration,
    /// Random time of one tick; all ticks are whole intervals away from it.
    phase: Instant,
    tick: Option<Instant>,
    early_round: Option<Instant>,
    early_rounds: TokenBucket,
    /// Number of the last visit to a target, used as the batch.
    visit: u64,
    /// The last tick sent nothing: the messages are too long, or there was no target.
    stuck: bool,
    /// Last call of `tick_gossip`.
    turned: Option<Instant>,
    /// Number of the next present-members broadcast.
    next_order: u64,
    /// User messages in the current datagram, each with the bit of its sender.
    arrived: Vec<(Arc<[u8]>, u64)>,
}

impl Gossip {
    pub(super) fn new(config: &Config, rng: &mut Rng, now: Instant) -> Self {
        let interval = config.gossip_interval;
        Gossip {
            membership: BroadcastQueue::new(),
            extra: BroadcastQueue::once_to_each(),
            user: Default::default(),
            user_members: 1,
            interval,
            phase: now + rng.duration_below(interval),
            tick: None,
            early_round: None,
            early_rounds: TokenBucket::new(EARLY_ROUNDS_AT_ONCE, interval / ROUNDS_PER_INTERVAL),
            visit: 0,
            stuck: false,
            turned: None,
            next_order: 0,
            arrived: Vec::new(),
        }
    }

    pub(super) fn user_queue(&self, queue: Priority) -> &BroadcastQueue {
        &self.user[index(queue)]
    }

    fn queues(&self) -> impl Iterator<Item = &BroadcastQueue> {
        std::iter::once(&self.membership).chain(&self.user)
    }

    fn is_empty(&self) -> bool {
        self.extra.is_empty() && self.queues().all(BroadcastQueue::is_empty)
    }

    /// Whether a round has something to send. Additional transmissions count only at ticks.
    fn has_for(&self, round: Round) -> bool {
        let has_below = |queue: &BroadcastQueue, below: u32| {
            let fewest = queue.fewest_transmissions();
            fewest.is_some_and(|fewest| fewest < below)
        };
        let [first, second, third] = &self.user;
        has_below(&self.membership, round.members_below)
            || has_below(first, round.members_below)
            || has_below(second, round.others_below)
            || has_below(third, round.others_below)
            || round == Round::TICK && !self.extra.is_empty()
    }

    fn bytes(&self) -> usize {
        self.queues().map(BroadcastQueue::bytes).sum()
    }

    /// Schedules an early round: now, or right after `now` if the timeout at `now` was already handled.
    fn schedule_early_round(&mut self, now: Instant) {
        let due = if self.turned == Some(now) {
            now + Duration::from_nanos(1)
        } else {
            now
        };
        // A new message does not wait for the second round of an earlier one.
        let due = due.max(self.early_rounds.next_refill());
        self.early_round = Some(self.early_round.map_or(due, |planned| planned.min(due)));
    }

    /// Returns the minimum time between two early or catch-up rounds.
    fn round_interval(&self) -> Duration {
        (self.interval / ROUNDS_PER_INTERVAL).max(Duration::from_nanos(1))
    }

    pub(super) fn check_invariants(&self) {
        self.queues().for_each(BroadcastQueue::check_invariants);
        self.extra.check_invariants();
    }
}

/// Kind of a round: it sends messages with fewer transmissions than these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    /// Limit for membership messages and broadcasts of the first priority.
    members_below: u32,
    /// Limit for broadcasts of the other priorities.
    others_below: u32,
}

impl Round {
    /// A tick, which sends all messages.
    const TICK: Round = Round {
        members_below: u32::MAX,
        others_below: u32::MAX,
    };
}

fn index(queue: Priority) -> usize {
    match queue {
        Priority::First => 0,
        Priority::Second => 1,
        Priority::Third => 2,
    }
}

/// Returns the first of the times `phase + k * interval` after `now`.
pub(super) fn next_on_grid(phase: Instant, interval: Duration, now: Instant) -> Instant {
    if now < phase || interval.is_zero() {
        return phase.max(now + Duration::from_nanos(1));
    }
    let passed = now.since(phase).as_nanos() % interval.as_nanos();
    // The remainder is smaller than the interval, so it fits.
    now + (interval - Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
}

/// Prefixes a user message with its type byte.
pub(super) fn as_user_message(message: &[u8]) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(message.len() + 1);
    bytes.push(message_type::USER);
    bytes.extend_from_slice(message);
    bytes.into()
}

impl Swim {
    pub(super) fn queue_membership(
        &mut self,
        subject: NodeName,
        message: &Message,
        ticket: Option<Ticket>,
        now: Instant,
    ) {
        let message = message.encode().into();
        self.gossip.extra.forget(Some(&subject));
        let replaced = self.gossip.membership.push(Some(subject), message, ticket);
        if let Some(ticket) = replaced {
            self.finish(ticket);
        }
        self.schedule_early_round(now);
    }

    /// Schedules an early round for a new message. A node that is behind leaves the message to the tick.
    fn schedule_early_round(&mut self, now: Instant) {
        if !self.lag.is_behind(now) {
            self.gossip.schedule_early_round(now);
        }
    }

    pub(super) fn queue_user_message(
        &mut self,
        queue: Priority,
        audience: Audience,
        message: &[u8],
        id: Option<BroadcastId>,
        now: Instant,
    ) {
        let message = as_user_message(message);
        if message.len() + MESSAGE_OVERHEAD_BYTES > self.envelope.packet_budget_bytes() {
            log::warn!(
                target: "memberlist",
                "Dropping a broadcast of {}: too large for a packet",
                Count(message.len() as u64, "byte")
            );
            self.outputs.extend(id.map(Output::BroadcastFinished));
            return;
        }
        let ticket = id.map(Ticket::User);
        if audience == Audience::Present {
            let Some(present) = self.present_for(&message, now) else {
                self.outputs.extend(id.map(Output::BroadcastFinished));
                return;
            };
            self.gossip.user[index(queue)].push_for_present(message, ticket, &present);
        } else {
            self.gossip.user[index(queue)].push(None, message, ticket);
        }
        self.schedule_early_round(now);
    }

    /// Returns the receivers of a broadcast to present members; `None` if no member may lack it.
    fn present_for(&mut self, message: &[u8], now: Instant) -> Option<ForPresent> {
        let dead_for = self.config.gossip_to_the_dead_time;
        self.table.present_order_min(dead_for, now)?;
        let members = self.table.present_bits(dead_for, now);
        let copies = self.gossip.arrived.iter();
        let senders = copies.filter(|(copy, _)| **copy == *message);
        let known_by = senders.fold(0, |bits, (_, bit)| bits | bit);
        if members != 0 && members & !known_by == 0 {
            return None;
        }
        let order = self.gossip.next_order;
        self.gossip.next_order += 1;
        Some(ForPresent {
            order,
            members,
            known_by,
        })
    }

    /// Notes the sender of a user message, which needs no copy of it.
    pub(super) fn note_sender(&mut self, from: SocketAddr, message: &[u8], now: Instant) {
        let Some(id) = self.table.find_at(None, from) else {
            return;
        };
        let bit = self.table.bit(id);
        let message = as_user_message(message);
        let dead_for = self.config.gossip_to_the_dead_time;
        let present = self.table.present_bits(dead_for, now);
        for queue in 0..self.gossip.user.len() {
            let completed = self.gossip.user[queue].note_copy(&message, bit, present);
            if let Some(ticket) = completed {
                self.finish(ticket);
            }
        }
        // The message may be queued as a broadcast while this datagram is handled.
        self.gossip.arrived.push((message, bit));
    }

    /// Forgets the senders before the next datagram is handled.
    pub(super) fn forget_senders(&mut self) {
        self.gossip.arrived.clear();
    }

    /// Assigns a new member its first present-members broadcast.
    pub(super) fn note_new_member(&mut self, id: NodeId) {
        let first = self.gossip.next_order;
        self.gossip.next_order += 1;
        self.table.record_mut(id).first_broadcast = first;
        let bit = self.table.bit(id);
        let gossip = &mut self.gossip;
        for queue in gossip.user.iter_mut().chain([&mut gossip.membership]) {
            queue.forget_bit(bit);
        }
        gossip.extra.forget_bit(bit);
    }

    /// Notes that a dead member is alive again.
    pub(super) fn note_return(&mut self, id: NodeId, now: Instant) {
        let returned = Return {
            first_broadcast: self.gossip.next_order,
            until: now + self.gossip.interval * RETURN_INTERVALS,
        };
        self.table.record_mut(id).returned = Some(Box::new(returned));
    }

    /// Drops present-members broadcasts whose members are all gone.
    fn drop_needless(&mut self, now: Instant) {
        let dead_for = self.config.gossip_to_the_dead_time;
        let order_min = self.table.present_order_min(dead_for, now);
        let present = self.table.present_bits(dead_for, now);
        let mut finished = Vec::new();
        for queue in &mut self.gossip.user {
            queue.drop_needless(order_min.unwrap_or(u64::MAX), present, &mut finished);
        }
        finished.into_iter().for_each(|ticket| self.finish(ticket));
    }

    pub(super) fn prune_user_queue(
        &mut self,
        queue: Priority,
        messages_max: usize,
    ) -> (usize, usize) {
        let mut finished = Vec::new();
        let dropped = self.gossip.user[index(queue)].prune(messages_max, &mut finished);
        finished.into_iter().for_each(|ticket| self.finish(ticket));
        dropped
    }

    /// Returns the criteria for broadcasts to a node.
    pub(super) fn selection(&self, target: NodeId, now: Instant) -> Selection {
        let record = self.table.record(target);
        Selection {
            target_bit: self.table.bit(target),
            live_bits: self.table.live_bits(),
            order_min: match record.node.state {
                // It may be about to return, and cannot use them before.
                NodeState::Dead | NodeState::Left => u64::MAX,
                NodeState::Alive | NodeState::Suspect => record.order_min(now),
            },
            ..Selection::ANY
        }
    }

    /// Fills a packet from the queues in order; the first packet to a target also takes additional
    /// transmissions.
    pub(super) fn pack(&mut self, packing: &mut Packing, selection: Selection, first: bool) {
        let multiplier = self.config.retransmit_multiplier;
        let limit = retransmit_limit(multiplier, self.table.len());
        let of_members = Selection {
            transmissions_below: selection.members_below,
            ..selection
        };
        let membership = &mut self.gossip.membership;
        let completed = membership.fill(packing, MESSAGE_OVERHEAD_BYTES, limit, of_members);
        let limit = retransmit_limit(multiplier, self.gossip.user_members);
        let of_others = packing.messages.len();
        for (place, queue) in self.gossip.user.iter_mut().enumerate() {
            let is_first = place == index(Priority::First);
            let wanted = if is_first { of_members } else { selection };
            if packing.space > USER_SPACE_BYTES_MIN {
                queue.fill(packing, MESSAGE_OVERHEAD_BYTES, limit, wanted);
            }
        }
        for message in packing.messages.iter().skip(of_others) {
            self.samples.push(Sample::MessageOut(message.len()));
        }
        for ticket in std::mem::take(&mut packing.finished) {
            self.finish(ticket);
        }
        self.pack_extra(packing, selection, first, completed);
    }

    /// Returns the number of transmissions of a membership broadcast in addition to those that the protocol
    /// requires.
    fn additional_transmissions(&self) -> u32 {
        let multiplier = self.config.retransmit_multiplier;
        let (nodes, nodes_min) = (
            self.table.len(),
            self.config.membership_retransmit_nodes_min,
        );
        if nodes_min == 0 {
            return 0;
        }
        let wanted = retransmit_limit(multiplier, nodes.max(nodes_min));
        let wanted = wanted.max(transmissions_to_all(nodes));
        wanted.saturating_sub(retransmit_limit(multiplier, nodes))
    }

    /// Fills the rest of a packet with additional transmissions, and queues the entries of `completed` for
    /// them.
    fn pack_extra(
        &mut self,
        packing: &mut Packing,
        selection: Selection,
        first: bool,
        completed: Vec<Completed>,
    ) {
        let limit = self.additional_transmissions();
        let extra = &mut self.gossip.extra;
        if first {
            extra.fill(packing, MESSAGE_OVERHEAD_BYTES, limit, selection);
        }
        if limit > 0 {
            completed
                .into_iter()
                .for_each(|entry| extra.push_completed(entry));
        }
    }
}
