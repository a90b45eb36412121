//! Members stuck in `leaving` because of a stale leave intent.
//!
//! A leave intent can outlive its leave. A node leaves and returns; push/pulls of nodes that missed the
//! return still list it as left, and raise the intent's time by one (gossip spec 5.9). So that time can reach
//! the time of the node's own join intent, which is then ignored. A node that accepts the stale intent keeps
//! a live member as "leaving": no node contradicts, and when the member fails one day, it is considered left
//! and no node reconnects to it.
//!
//! So the member itself is asked, by means of the protocol: with a leave intent at the current time, sent
//! only to it. A live node that is not leaving answers with a join intent to all (5.6).

use crate::ordered::OrderedMap;
use crate::serf::{MemberStatus, Serf, State};
use crate::swim::NodeState;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Questions before a member is accepted as leaving: nodes of the reference that aborted a leave stay in that
/// state, and rebroadcast each question.
const QUESTIONS_MAX: u32 = 6;
/// Minimum time before a question, even if this node's own leave is shorter.
const FIRST_QUESTION_MIN: Duration = Duration::from_secs(1);

/// The members in status `leaving`, except the local one.
#[derive(Debug, Default)]
pub(in crate::serf) struct StaleLeaves {
    /// Number of questions sent and time of the next one. Members that did not react stay here until they
    /// go or return, so that questions of other nodes do not restart ours.
    leaving: OrderedMap<NodeName, (u32, Option<Instant>)>,
    /// No question is due before this time.
    next: Option<Instant>,
}

impl StaleLeaves {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Recomputes the time of the next question.
    fn rearm(&mut self) {
        self.next = self.leaving.values().filter_map(|(_, at)| *at).min();
    }

    /// Schedules the next question to a member.
    fn wait(&mut self, node: NodeName, asked: u32, until: Instant) {
        self.leaving.insert(node, (asked, Some(until)));
        self.next = Some(self.next.map_or(until, |next| next.min(until)));
    }

    pub(in crate::serf) fn check_invariants(
        &self,
        members: &super::members::Members,
        local: &NodeName,
    ) {
        let leaving = members.iter().map(|record| &record.member);
        let leaving = leaving.filter(|m| m.status == MemberStatus::Leaving && m.name != *local);
        assert!(leaving.map(|member| &member.name).eq(self.leaving.keys()));
        let due = self.leaving.values().filter_map(|(_, at)| *at).min();
        assert!(due.is_none_or(|due| self.next.is_some_and(|next| next <= due)));
    }
}

impl Serf {
    /// Starts or stops the questions to a member whose status may have changed.
    pub(super) fn watch_leaving(&mut self, node: &NodeName, now: Instant) {
        if self.members.status(node.as_bytes()) != MemberStatus::Leaving {
            self.stale_leaves.leaving.remove(node);
        } else if node != self.local_name() && !self.stale_leaves.leaving.contains_key(node) {
            let first = now + self.longest_leave();
            self.stale_leaves.wait(node.clone(), 0, first);
        }
    }

    /// Returns the maximum duration of a graceful leave (gossip spec 5.12).
    fn longest_leave(&self) -> Duration {
        let longest = self.config.broadcast_timeout * 2 + self.config.leave_propagate_delay;
        longest.max(FIRST_QUESTION_MIN)
    }

    /// Asks the members whose leave should have ended.
    pub(in crate::serf) fn ask_leaving_members(&mut self, now: Instant) {
        if self.stale_leaves.next.is_none_or(|next| next > now) {
            return;
        }
        let waiting = self.stale_leaves.leaving.iter();
        let due: Vec<(NodeName, u32)> = waiting
            .filter(|(_, (_, at))| at.is_some_and(|at| at <= now))
            .map(|(node, (asked, _))| (node.clone(), *asked))
            .collect();
        for (node, asked) in due {
            if asked == QUESTIONS_MAX || self.state != State::Alive {
                self.stale_leaves.leaving.insert(node, (asked, None));
                continue;
            }
            let next = now + self.longest_leave() * 2u32.pow(asked);
            self.stale_leaves.wait(node.clone(), asked + 1, next);
            let record = self.swim.node(&node);
            let alive = record.filter(|record| record.state == NodeState::Alive);
            if let Some(addr) = alive.map(|record| record.addr) {
                log::debug!(target: "serf", "{node} is alive despite a leave intent: checking");
                let ltime = self.member_clock.tick();
                let prune = false;
                let question = SerfMessage::Leave(LeaveIntent { ltime, node, prune });
                self.swim.send_user_message(addr, &question.encode());
            }
        }
        self.stale_leaves.rearm();
    }
}
