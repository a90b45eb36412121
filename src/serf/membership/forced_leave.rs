//! Making another node leave: for failed members at once, for members that seem to live only if they
//! do not object.
//!
//! A living node refutes a leave intent about itself with a join intent. So the intent goes out without
//! the order to prune first, and whoever gave the command hears that the member is alive. Only if no
//! objection comes within the broadcast timeout the member is taken for gone.

use super::leave::Waiter;
use crate::serf::{CommandId, CommandResult, MemberStatus, Serf};
use crate::swim::{BroadcastId, NodeState};
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Commands that wait for an objection; one more ends as soon as its intent is spread. Clients have one
/// command each under way, and there are 512 of them at most.
const CHALLENGES_MAX: usize = 512;

/// A forced leave of a member that seems to live.
#[derive(Debug)]
pub(in crate::serf) struct Challenge {
    command: CommandId,
    node: NodeName,
    prune: bool,
    intent: BroadcastId,
    /// The intent was spread.
    spread: bool,
    /// The member has gone.
    gone: bool,
    /// When the member is asked once more, directly: the intent may have been lost, or carry no later
    /// time than the member's own join, which it would not object to.
    ask_again: Option<Instant>,
    deadline: Instant,
}

/// The forced leaves of members that seem to live, the oldest first.
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
        // Nobody has a name that is none; and this node would refute at once.
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

    /// The node is gone, or nobody knows it: no objection is to be expected.
    fn declare_left(&mut self, command: CommandId, node: NodeName, prune: bool, now: Instant) {
        // Asked before the member counts as leaving: it may be the only one there is.
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

    /// The intent of a challenge was spread.
    pub(in crate::serf) fn challenge_spread(&mut self, intent: BroadcastId, now: Instant) {
        let mut all = self.challenges.0.iter_mut();
        if let Some(challenge) = all.find(|challenge| challenge.intent == intent) {
            challenge.spread = true;
            self.end_met_challenges(now);
        }
    }

    /// A join intent of a node has come.
    pub(in crate::serf) fn challenge_refuted(&mut self, node: &NodeName) {
        while let Some(challenge) = self.challenges.take(|challenge| challenge.node == *node) {
            self.waiters.remove(&challenge.intent);
            self.end_as_alive(&challenge);
        }
    }

    fn end_as_alive(&mut self, challenge: &Challenge) {
        let why = format!("Member '{}' is alive and does not leave", challenge.node);
        self.end_command(challenge.command, CommandResult::Failed(why));
    }

    /// A member has gone: nobody is left to object.
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

    /// Ends those to which nobody has objected in time.
    pub(in crate::serf) fn end_due_challenges(&mut self, now: Instant) {
        self.ask_due_members_again(now);
        while let Some(due) = self.challenges.take(|one| one.deadline <= now) {
            self.waiters.remove(&due.intent);
            if self.members.status(due.node.as_bytes()) == MemberStatus::Alive {
                // A state exchange has brought the objection.
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
