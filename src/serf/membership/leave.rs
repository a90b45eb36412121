//! Graceful leave, and pruning of members (gossip spec 5.12). For force-leave see [`super::forced_leave`].

use crate::serf::gossip::INTENTS;
use crate::serf::{CommandId, CommandResult, LamportTime, MemberStatus, Serf, State};
use crate::swim::{BroadcastId, NodeState};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Limit for the prunes waiting; further ones are dropped.
const PRUNES_MAX: usize = 4096;

/// Phase of a graceful leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum LeavePhase {
    /// The leave intent is being transmitted.
    Intent,
    /// The membership layer transmits its dead message about this node.
    Farewell,
    /// The leave has time to propagate.
    Propagate {
        /// End of the phase.
        until: Instant,
    },
}

/// What waits for the transmission of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Waiter {
    Leave,
    ForceLeave(CommandId),
    /// A [`super::forced_leave::Challenge`].
    Challenge,
}

impl Serf {
    pub(in crate::serf) fn start_leave(&mut self, command: CommandId, now: Instant) {
        if self.state == State::Left {
            self.end_command(command, CommandResult::Done);
            return;
        }
        self.leave_commands.push(command);
        if self.state == State::Leaving {
            return;
        }
        self.state = State::Leaving;
        // Events that wait for earlier ones or for their batch cannot wait any longer.
        self.flush_ordered_events();
        self.flush_user_events();
        self.record_leave();
        let local = self.local_name().clone();
        let encoded = self.take_own_leave_intent(local, false, now);
        if self.has_alive_peers() {
            self.leave_phase = Some(LeavePhase::Intent);
            self.broadcast_and_wait(encoded, Waiter::Leave, now);
        } else {
            self.announce_leave(now);
        }
    }

    /// Creates a leave intent, applies it locally, and returns it encoded.
    pub(super) fn take_own_leave_intent(
        &mut self,
        node: NodeName,
        prune: bool,
        now: Instant,
    ) -> Vec<u8> {
        let ltime: LamportTime = self.member_clock.tick();
        let intent = LeaveIntent { ltime, node, prune };
        self.handle_leave_intent(&intent, now);
        SerfMessage::Leave(intent).encode()
    }

    pub(super) fn broadcast_and_wait(&mut self, encoded: Vec<u8>, waiter: Waiter, now: Instant) {
        let id = self.next_broadcast_id();
        self.broadcast_as(id, encoded, waiter, now);
    }

    pub(super) fn next_broadcast_id(&mut self) -> BroadcastId {
        self.last_broadcast_id += 1;
        BroadcastId(self.last_broadcast_id)
    }

    /// Broadcasts an intent under the id that was allocated last.
    pub(super) fn broadcast_as(
        &mut self,
        id: BroadcastId,
        encoded: Vec<u8>,
        waiter: Waiter,
        now: Instant,
    ) {
        // Ids increase and the timeout is the same for all, so the first entry is due first.
        let deadline = now + self.config.broadcast_timeout;
        self.waiters.insert(id, (deadline, waiter));
        if !self.broadcast(INTENTS, encoded.into(), Some(id), now) {
            self.handle_broadcast_finished(id, now);
        }
    }

    /// Handles the end of an intent's transmission.
    pub(in crate::serf) fn handle_broadcast_finished(&mut self, id: BroadcastId, now: Instant) {
        match self.waiters.remove(&id) {
            Some((_, Waiter::Leave)) => self.announce_leave(now),
            Some((_, Waiter::ForceLeave(command))) => {
                self.end_command(command, CommandResult::Done);
            }
            Some((_, Waiter::Challenge)) => self.challenge_spread(id, now),
            None => {}
        }
    }

    pub(in crate::serf) fn end_overdue_waits(&mut self, now: Instant) {
        while let Some((_, (due, _))) = self.waiters.first_key_value() {
            if *due > now {
                return;
            }
            let Some((_, (_, waiter))) = self.waiters.pop_first() else {
                return;
            };
            match waiter {
                Waiter::Leave => {
                    log::warn!(target: "serf", "timeout while waiting for graceful leave");
                    self.announce_leave(now);
                }
                Waiter::ForceLeave(command) => {
                    let why = "timed out broadcasting node removal".to_owned();
                    self.end_command(command, CommandResult::Failed(why));
                }
                // Ends by its own deadline, which is the same.
                Waiter::Challenge => {}
            }
        }
    }

    fn announce_leave(&mut self, now: Instant) {
        self.leave_phase = Some(LeavePhase::Farewell);
        self.swim.leave(self.config.broadcast_timeout, now);
    }

    /// Handles the end of the membership layer's leave.
    pub(in crate::serf) fn handle_leave_ended(&mut self, in_time: bool, now: Instant) {
        if self.leave_phase != Some(LeavePhase::Farewell) {
            return;
        }
        if !in_time {
            log::warn!(target: "serf", "timeout waiting for leave broadcast");
        }
        let until = now + self.config.leave_propagate_delay;
        self.leave_phase = Some(LeavePhase::Propagate { until });
        // The delay lets handlers of the own member-leave start.
        self.flush_events();
    }

    pub(in crate::serf) fn leave_deadline(&self) -> Option<Instant> {
        match self.leave_phase {
            Some(LeavePhase::Propagate { until }) => Some(until),
            _ => None,
        }
    }

    pub(in crate::serf) fn finish_due_leave(&mut self, now: Instant) {
        if self.leave_deadline().is_some_and(|until| until <= now) {
            self.leave_phase = None;
            self.state = State::Left;
            self.flush_events();
            self.record_clock();
            for command in std::mem::take(&mut self.leave_commands) {
                self.end_command(command, CommandResult::Done);
            }
        }
    }

    /// Removes a member that leaves or left: at once if it is gone, otherwise after it had time to leave.
    pub(in crate::serf) fn prune(&mut self, node: &NodeName, now: Instant) {
        if node == self.local_name() {
            return;
        }
        match self.members.status(node.as_bytes()) {
            MemberStatus::Left => self.erase_pruned(node, now),
            MemberStatus::Leaving => {
                let waits = self.prunes.iter().any(|(_, other)| other == node);
                if waits || self.prunes.len() >= PRUNES_MAX {
                    return;
                }
                let delay = self.config.broadcast_timeout + self.config.leave_propagate_delay;
                // A delay of zero must not cause a busy loop.
                let due = now + delay.max(Duration::from_millis(1));
                self.prunes.push_back((due, node.clone()));
            }
            _ => {}
        }
    }

    /// Processes the prunes that are due.
    pub(in crate::serf) fn finish_due_prunes(&mut self, now: Instant) {
        while self.prunes.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, node)) = self.prunes.pop_front() else {
                return;
            };
            match self.members.status(node.as_bytes()) {
                MemberStatus::Left => self.erase_pruned(&node, now),
                // A live node would have refuted by now. Either it is leaving, or its failure is not detected
                // yet.
                MemberStatus::Leaving => self.prune(&node, now),
                _ => {}
            }
        }
    }

    fn erase_pruned(&mut self, node: &NodeName, now: Instant) {
        let alive = [Some(NodeState::Alive), Some(NodeState::Suspect)];
        if alive.contains(&self.swim_state(node)) {
            return;
        }
        if let Some(member) = self.members.member(node.as_bytes()) {
            let ip = member.addr.ip();
            log::info!(target: "serf", "EventMemberReap (forced): {node} {ip}");
            self.erase_member(node, now);
        }
    }

    fn swim_state(&self, node: &NodeName) -> Option<NodeState> {
        self.swim.node(node).map(|node| node.state)
    }
}
