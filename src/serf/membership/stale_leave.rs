//! Members that are said to leave and do not.
//!
//! A leave intent can outlive its leave. A node leaves and comes back; push/pulls of those who missed
//! the return still call it left, and count the intent's time up by one (gossip spec 5.9), so that it
//! can come to equal the time of the node's own join intent and shut that out. Whoever takes the stale
//! word over holds a living node "leaving" from then on: nobody contradicts, for nobody else is asked,
//! and when the node fails one day, it will be called left, and nobody calls it again.
//!
//! So the node itself is asked, with what the protocol has for it: a leave intent at the current time,
//! to it alone. A node that lives and does not leave answers with a join intent to all (5.6).

use crate::ordered::OrderedMap;
use crate::serf::{MemberStatus, Serf, State};
use crate::swim::NodeState;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Questions before a node is believed to be leaving for good: those of the reference that gave up a
/// leave halfway stay in that state, and pass the question on to everybody.
const QUESTIONS_MAX: u32 = 6;
/// Shortest time before a question, whatever this node's own leave may take.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// The members that are said to leave: exactly those, but for the local one.
#[derive(Debug, Default)]
pub(in crate::serf) struct Doubts {
    /// How often each was asked, and when it will be again. Who was asked in vain stays here until it
    /// goes or comes back: the questions of others must not start ours again.
    leaving: OrderedMap<NodeName, (u32, Option<Instant>)>,
    /// No question is due before.
    next: Option<Instant>,
}

impl Doubts {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// The next time to look, once nothing is due any longer.
    fn rearm(&mut self) {
        self.next = self.leaving.values().filter_map(|(_, at)| *at).min();
    }

    /// The next question to a member is due then.
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
    /// The status of a member may have changed: if it is said to leave now, it will be looked at again.
    pub(super) fn doubt_leaving(&mut self, node: &NodeName, now: Instant) {
        if self.members.status(node.as_bytes()) != MemberStatus::Leaving {
            self.doubts.leaving.remove(node);
        } else if node != self.local_name() && !self.doubts.leaving.contains_key(node) {
            let first = now + self.longest_leave();
            self.doubts.wait(node.clone(), 0, first);
        }
    }

    /// What a leave takes at most (gossip spec 5.12).
    fn longest_leave(&self) -> Duration {
        let longest = self.config.broadcast_timeout * 2 + self.config.leave_propagate_delay;
        longest.max(PATIENCE_MIN)
    }

    /// Asks those whose leave should be over.
    pub(in crate::serf) fn ask_the_doubted(&mut self, now: Instant) {
        if self.doubts.next.is_none_or(|next| next > now) {
            return;
        }
        let waiting = self.doubts.leaving.iter();
        let due: Vec<(NodeName, u32)> = waiting
            .filter(|(_, (_, at))| at.is_some_and(|at| at <= now))
            .map(|(node, (asked, _))| (node.clone(), *asked))
            .collect();
        for (node, asked) in due {
            if asked == QUESTIONS_MAX || self.state != State::Alive {
                self.doubts.leaving.insert(node, (asked, None));
                continue;
            }
            let next = now + self.longest_leave() * 2u32.pow(asked);
            self.doubts.wait(node.clone(), asked + 1, next);
            let record = self.swim.node(&node);
            let alive = record.filter(|record| record.state == NodeState::Alive);
            if let Some(addr) = alive.map(|record| record.addr) {
                log::debug!(target: "serf", "{node} was to leave and is here: asking it");
                let ltime = self.member_clock.tick();
                let prune = false;
                let question = SerfMessage::Leave(LeaveIntent { ltime, node, prune });
                self.swim.send_user_message(addr, &question.encode());
            }
        }
        self.doubts.rearm();
    }
}
