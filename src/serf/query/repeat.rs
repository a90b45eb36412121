//! Repeats queries to the members that have not acked or answered them.

use std::net::SocketAddr;

use super::filters::CompiledFilters;
use super::schedule::Rounds;
use crate::ordered::OrderedSet;
use crate::serf::{LamportTime, MemberStatus, Serf};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{QueryMessage, SerfMessage, query_flag};

/// What the originator expects from each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Awaited {
    /// An ack, and also an answer if the ack announces one.
    Ack,
    /// An answer: every member answers the internal queries.
    Answer,
}

/// Repetition state of a query.
#[derive(Debug)]
pub(in crate::serf) struct Repetition {
    message: QueryMessage,
    awaited: Awaited,
    rounds: Rounds,
    /// When the current round continues or the next one begins; `None`: no more rounds.
    due: Option<Instant>,
    /// The last member that this round has processed; `None` between rounds.
    at: Option<NodeName>,
    /// This round found a member that still owes an ack or answer.
    found: bool,
    /// Members whose ack announced an answer that has not arrived.
    pending: OrderedSet<NodeName>,
}

impl Repetition {
    pub(in crate::serf) fn new(
        message: &QueryMessage,
        awaited: Awaited,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        let mut message = message.clone();
        message.flags |= query_flag::NO_BROADCAST;
        let mut rounds = Rounds::new(now, deadline);
        let due = rounds.next(now);
        Repetition {
            message,
            awaited,
            rounds,
            due,
            at: None,
            found: false,
            pending: OrderedSet::new(),
        }
    }

    pub(in crate::serf) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes a member's first ack.
    pub(in crate::serf) fn acked(&mut self, from: &NodeName, pending: bool, answered: bool) {
        if pending && !answered {
            self.pending.insert(from.clone());
        }
    }

    /// Notes that a member's answer is no longer expected.
    pub(in crate::serf) fn settled(&mut self, from: &NodeName) {
        self.pending.remove(from);
    }

    /// Whether an ack or answer of a member is missing, given those that arrived.
    fn waits_for(
        &self,
        member: &NodeName,
        acks: &OrderedSet<NodeName>,
        replies: &OrderedSet<NodeName>,
    ) -> bool {
        match self.awaited {
            Awaited::Ack => !acks.contains(member) || self.pending.contains(member),
            Awaited::Answer => !replies.contains(member),
        }
    }

    /// Ends the round after its last member.
    fn end_round(&mut self, now: Instant) {
        self.at = None;
        let found = std::mem::take(&mut self.found);
        // Members that join later get the query by gossip or not at all.
        self.due = if found { self.rounds.next(now) } else { None };
    }
}

impl Serf {
    /// Returns when [`Self::repeat_due_queries`] is due.
    pub(in crate::serf) fn repetition_deadline(&self) -> Option<Instant> {
        let due = self.running_queries.first_repetition()?;
        Some(self.pace.earliest(due))
    }

    /// Continues the rounds of repetitions that are due, within the rate limit.
    pub(in crate::serf) fn repeat_due_queries(&mut self, now: Instant) {
        self.pace.advance(now);
        while !self.pace.is_used_up() {
            let Some((due, ltime)) = self.running_queries.take_first_repetition(now) else {
                return;
            };
            let next = self.repeat_query(ltime, due, now);
            self.running_queries.put_repetition(ltime, next);
        }
    }

    /// Continues a round of one query; returns when to continue again.
    fn repeat_query(&mut self, ltime: LamportTime, due: Instant, now: Instant) -> Option<Instant> {
        let query = self.running_queries.get(ltime)?;
        let repetition = query.repetition.as_ref()?;
        let filters = CompiledFilters::new(repetition.message.filters.as_deref());
        let mut targets: Vec<SocketAddr> = Vec::new();
        let mut last = None;
        let mut found = false;
        let bytes = encode_for(&repetition.message, query.deadline.since(now));
        let local = &self.config.name;
        for record in self.members.after(repetition.at.as_ref()) {
            if self.pace.is_used_up() {
                last = last.or_else(|| repetition.at.clone());
                break;
            }
            self.pace.look();
            let member = &record.member;
            let alive = member.status == MemberStatus::Alive && member.name != *local;
            if alive
                && repetition.waits_for(&member.name, &query.acks, &query.replies)
                && filters.match_member(member)
            {
                found = true;
                self.pace.send(bytes.len());
                targets.push(member.addr);
            }
            last = Some(member.name.clone());
        }
        let complete = !self.pace.is_used_up() || self.is_last_member(last.as_ref());
        for to in &targets {
            self.swim.send_user_message(*to, &bytes);
        }
        self.counters.queries_repeated += targets.len() as u64;
        let repetition = self.running_queries.get_mut(ltime)?.repetition.as_mut()?;
        repetition.found |= found;
        repetition.at = last;
        repetition.due = Some(due);
        if complete {
            repetition.end_round(now);
        }
        repetition.due
    }

    fn is_last_member(&self, name: Option<&NodeName>) -> bool {
        self.members.after(name).next().is_none()
    }
}

/// Encodes the query for repetition. Its timeout is only the remaining time, for members that receive it for
/// the first time.
fn encode_for(message: &QueryMessage, left: Duration) -> Vec<u8> {
    let mut message = message.clone();
    message.timeout_nanos = i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
    SerfMessage::Query(message).encode()
}
