//! Force-leave of another node: immediate for failed members; for members that seem alive, only if they do
//! not refute.
//!
//! A live node refutes a leave intent about itself with a join intent. So the intent is first sent without
//! the prune flag. If the member refutes within the broadcast timeout, the command fails with the error that
//! the member is alive; otherwise the member is considered gone.

use super::leave::Waiter;
use crate::serf::{CommandId, CommandResult, MemberStatus, Serf};
use crate::swim::{BroadcastId, NodeState};
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Limit for the commands that wait for a refutation; one more ends as soon as its intent is transmitted.
/// Each of the at most 512 clients runs one command at a time.
const CHALLENGES_MAX: usize = 512;

/// A forced leave of a member that seems alive.
#[derive(Debug)]
pub(in crate::serf) struct Challenge {
    command: CommandId,
    node: NodeName,
    prune: bool,
    intent: BroadcastId,
    /// The intent was transmitted.
    spread: bool,
    /// The member is gone.
    gone: bool,
    /// When to send the member the intent once more, directly: the first one may have been lost, or its time
    /// may not exceed that of the member's own join, in which case the member does not refute.
    ask_again: Option<Instant>,
    deadline: Instant,
}

/// The forced leaves of members that seem alive, oldest first.
#[derive(Debug, Default)]
pub(in crate::serf) struct Challenges(Vec<Challenge>);

impl Challenges {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        let due = |challenge: &Challenge| challenge.ask_again.unwrap_or(challenge.deadline);
        self.0.iter().map(due).min()
    }

    fn take(&mut self, is_wanted: impl Fn(&Challenge) -> bool) -> Option<Challenge> {
        let at = self.0.iter().position(is_wanted)?;
        Some(self.0.remove(at))
    }
}

impl Serf {
    pub(in crate::serf) fn force_leave(
        &mut self,
        command: CommandId,
        node: &[u8],
        prune: bool,
        now: Instant,
    ) {
        // No member has an invalid name, and this node would refute a leave of itself at once.
        let node = NodeName::new(node).ok();
        let Some(node) = node.filter(|node| node != self.local_name()) else {
            self.end_command(command, CommandResult::Done);
            return;
        };
        let room = self.challenges.0.len() < CHALLENGES_MAX;
        if room && self.seems_alive(&node) {
            self.challenge(command, node, prune, now);
        } else {
            self.declare_left(command, node, prune, now);
        }
    }

    fn seems_alive(&self, node: &NodeName) -> bool {
        let state = self.swim.node(node).map(|node| node.state);
        matches!(state, Some(NodeState::Alive | NodeState::Suspect))
    }

    /// Marks a node as left without waiting for a refutation, because it is gone or unknown.
    fn declare_left(&mut self, command: CommandId, node: NodeName, prune: bool, now: Instant) {
        // Checked before the member counts as leaving, because it may be the only other one.
        let somebody_listens = self.has_alive_peers();
        let encoded = self.take_own_leave_intent(node, prune, now);
        if somebody_listens {
            self.broadcast_and_wait(encoded, Waiter::ForceLeave(command), now);
        } else {
            self.end_command(command, CommandResult::Done);
        }
    }

    fn challenge(&mut self, command: CommandId, node: NodeName, prune: bool, now: Instant) {
        let encoded = self.take_own_leave_intent(node.clone(), false, now);
        let intent = self.next_broadcast_id();
        self.challenges.0.push(Challenge {
            command,
            node,
            prune,
            intent,
            spread: false,
            gone: false,
            ask_again: Some(now + self.config.broadcast_timeout / 2),
            deadline: now + self.config.broadcast_timeout,
        });
        self.broadcast_as(intent, encoded, Waiter::Challenge, now);
    }

    /// Notes that the intent of a challenge was transmitted.
    pub(in crate::serf) fn challenge_spread(&mut self, intent: BroadcastId, now: Instant) {
        let mut all = self.challenges.0.iter_mut();
        if let Some(challenge) = all.find(|challenge| challenge.intent == intent) {
            challenge.spread = true;
            self.end_met_challenges(now);
        }
    }

    /// Ends the challenges of a node whose join intent arrived.
    pub(in crate::serf) fn challenge_refuted(&mut self, node: &NodeName) {
        while let Some(challenge) = self.challenges.take(|challenge| challenge.node == *node) {
            self.waiters.remove(&challenge.intent);
            self.end_as_alive(&challenge);
        }
    }

    fn end_as_alive(&mut self, challenge: &Challenge) {
        let why = format!(
            "Member '{}' is alive and has refuted the leave",
            challenge.node
        );
        self.end_command(challenge.command, CommandResult::Failed(why));
    }

    /// Notes that a member is gone and can no longer refute.
    pub(in crate::serf) fn challenge_met(&mut self, node: &NodeName, now: Instant) {
        for challenge in &mut self.challenges.0 {
            challenge.gone |= challenge.node == *node;
        }
        self.end_met_challenges(now);
    }

    fn end_met_challenges(&mut self, now: Instant) {
        while let Some(met) = self.challenges.take(|one| one.gone && one.spread) {
            self.end_unopposed(met, now);
        }
    }

    fn ask_due_members_again(&mut self, now: Instant) {
        for challenge in &mut self.challenges.0 {
            if challenge.ask_again.take_if(|at| *at <= now).is_none() {
                continue;
            }
            if let Some(addr) = self.swim.node(&challenge.node).map(|node| node.addr) {
                let question = SerfMessage::Leave(LeaveIntent {
                    ltime: self.member_clock.tick(),
                    node: challenge.node.clone(),
                    prune: false,
                });
                self.swim.send_user_message(addr, &question.encode());
            }
        }
    }

    /// Ends the challenges whose deadline has passed.
    pub(in crate::serf) fn end_due_challenges(&mut self, now: Instant) {
        self.ask_due_members_again(now);
        while let Some(due) = self.challenges.take(|one| one.deadline <= now) {
            self.waiters.remove(&due.intent);
            if self.members.status(due.node.as_bytes()) == MemberStatus::Alive {
                // The refutation came through a state exchange.
                self.end_as_alive(&due);
            } else if due.spread {
                self.end_unopposed(due, now);
            } else {
                let why = "timed out broadcasting node removal".to_owned();
                self.end_command(due.command, CommandResult::Failed(why));
            }
        }
    }

    fn end_unopposed(&mut self, challenge: Challenge, now: Instant) {
        if challenge.prune {
            self.declare_left(challenge.command, challenge.node, true, now);
        } else {
            self.end_command(challenge.command, CommandResult::Done);
        }
    }
}
