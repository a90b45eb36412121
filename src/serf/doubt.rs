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

use super::{MemberStatus, Serf, State};
use crate::ordered::OrderedMap;
use crate::swim::NodeState;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{LeaveIntent, SerfMessage};

/// Questions before a node is believed to be leaving for good: those of the reference that gave up a
/// leave halfway stay in that state, and pass the question on to everybody.
const QUESTIONS_MAX: u32 = 6;

/// The members that are said to leave, and when each will be asked.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    waiting: OrderedMap<NodeName, (Instant, u32)>,
}

impl Doubts {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|(at, _)| *at).min()
    }
}

impl Serf {
    /// Remembers to look again at a member that has just been said to leave.
    pub(super) fn doubt_leaving(&mut self, node: &NodeName, now: Instant) {
        let leaving = self.members.status(node.as_bytes()) == MemberStatus::Leaving;
        if leaving && node != self.local_name() {
            let first = (now + self.longest_leave(), 0);
            let waiting = &mut self.doubts.waiting;
            waiting.get_or_insert_with(node.clone(), || first);
        }
    }

    /// What a leave takes at most (gossip spec 5.12).
    fn longest_leave(&self) -> Duration {
        self.config.broadcast_timeout * 2 + self.config.leave_propagate_delay
    }

    /// Asks those whose leave should be over.
    pub(super) fn ask_the_doubted(&mut self, now: Instant) {
        let due = |(_, (at, _)): &(&NodeName, &(Instant, u32))| *at <= now;
        let due: Vec<(NodeName, u32)> = (self.doubts.waiting.iter().filter(due))
            .map(|(node, (_, asked))| (node.clone(), *asked))
            .collect();
        for (node, asked) in due {
            self.doubts.waiting.remove(&node);
            let leaving = self.members.status(node.as_bytes()) == MemberStatus::Leaving;
            if !leaving || asked == QUESTIONS_MAX || self.state != State::Alive {
                continue;
            }
            let next = now + self.longest_leave() * 2u32.pow(asked);
            self.doubts.waiting.insert(node.clone(), (next, asked + 1));
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
    }
}
