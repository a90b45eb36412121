//! Leaving, and forgetting members that were pruned (gossip spec 5.12). Making others leave is in
//! [`super::forced_leave`].

use crate::serf::gossip::INTENTS;
use crate::serf::{CommandId, CommandResult, LamportTime, MemberStatus, Serf, State};
use crate::swim::{BroadcastId, NodeState};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Prunes that wait; beyond it further ones are dropped.
const PRUNES_MAX: usize = 4096;

/// How far the leave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum LeavePhase {
    /// The intent is being spread.
    Intent,
    /// The membership layer says farewell.
    Farewell,
    /// The news has time to get around.
    Propagate {
        /// Until then.
        until: Instant,
    },
}

/// Who waits for an intent to be spread.
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
        // What waits for earlier ones, or for its batch, has no time to wait any more.
        self.flush_ordered_events();
        self.flush_user_events();
        self.record_leave();
        let local = self.local_name().clone();
        let encoded = self.take_own_leave_intent(local, false, now);
        if self.has_alive_peers() {
            self.leave_phase = Some(LeavePhase::Intent);
            self.broadcast_and_wait(encoded, Waiter::Leave, now);
        } else {
            self.say_farewell(now);
        }
    }

    /// Makes a leave intent, takes it over here, and returns it encoded.
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

    /// Spreads an intent under the id that was taken last.
    pub(super) fn broadcast_as(
        &mut self,
        id: BroadcastId,
        encoded: Vec<u8>,
        waiter: Waiter,
        now: Instant,
    ) {
        // Ids rise and the time is the same for all, so the first entry is due first.
        let deadline = now + self.config.broadcast_timeout;
        self.waiters.insert(id, (deadline, waiter));
        if !self.broadcast(INTENTS, encoded.into(), Some(id), now) {
            self.handle_broadcast_finished(id, now);
        }
    }

    /// A broadcast that somebody waits for was spread.
    pub(in crate::serf) fn handle_broadcast_finished(&mut self, id: BroadcastId, now: Instant) {
        match self.waiters.remove(&id) {
            Some((_, Waiter::Leave)) => self.say_farewell(now),
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
                    self.say_farewell(now);
                }
                Waiter::ForceLeave(command) => {
                    let why = "timed out broadcasting node removal".to_owned();
                    self.end_command(command, CommandResult::Failed(why));
                }
                // Ended by its own deadline, which is the same.
                Waiter::Challenge => {}
            }
        }
    }

    fn say_farewell(&mut self, now: Instant) {
        self.leave_phase = Some(LeavePhase::Farewell);
        self.swim.leave(self.config.broadcast_timeout, now);
    }

    /// The membership layer is through with the farewell.
    pub(in crate::serf) fn handle_leave_ended(&mut self, in_time: bool, now: Instant) {
        if self.leave_phase != Some(LeavePhase::Farewell) {
            return;
        }
        if !in_time {
            log::warn!(target: "serf", "timeout waiting for leave broadcast");
        }
        let until = now + self.config.leave_propagate_delay;
        self.leave_phase = Some(LeavePhase::Propagate { until });
        // Handlers of the own member-leave get the delay to start in.
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

    /// Forgets a member that leaves or left: at once if it is gone, else after it had the time to
    /// go.
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
                // A delay of zero must not spin.
                let due = now + delay.max(Duration::from_millis(1));
                self.prunes.push_back((due, node.clone()));
            }
            _ => {}
        }
    }

    /// Looks again at the members whose time to go is over.
    pub(in crate::serf) fn finish_due_prunes(&mut self, now: Instant) {
        while self.prunes.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, node)) = self.prunes.pop_front() else {
                return;
            };
            match self.members.status(node.as_bytes()) {
                MemberStatus::Left => self.erase_pruned(&node, now),
                // A living node would have refuted by now. This one goes, or its silence has not
                // been noticed yet.
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
