//! The members and their status changes (gossip spec 5.5, 5.6).

use std::cmp::Ordering;

use super::outcome::{IntentKind, IntentOutcome};
use crate::ordered::{OrderedSet, OrderedTable};
use crate::serf::{LamportTime, Member, MemberEventKind, MemberStatus, Serf};
use crate::swim::Node;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// A member that returns within this time after its failure counts as flapping (gossip spec 9).
const FLAP_TIMEOUT: Duration = Duration::from_secs(60);

/// A member, with data that is internal to this layer.
#[derive(Clone, Debug)]
pub(in crate::serf) struct Record {
    pub(in crate::serf) member: Member,
    /// Lamport time of the last intent about it.
    pub(in crate::serf) status_ltime: LamportTime,
    /// When it left or failed; of no meaning while it is present.
    departed_at: Instant,
}

/// All members, in byte order of their names.
///
/// Invariants: a record is in `departed` if and only if its status is failed or left, and the two counters
/// match those statuses.
#[derive(Debug, Default)]
pub(in crate::serf) struct Members {
    table: OrderedTable<Record>,
    departed: OrderedSet<(Instant, NodeName)>,
    failed: usize,
    left: usize,
    /// Increases with each change of a [`Member`].
    version: u64,
}

/// Returns a function that compares a record's name with `name`.
fn by_name(name: &[u8]) -> impl Fn(&Record) -> Ordering {
    move |record| record.member.name.as_bytes().cmp(name)
}

const fn is_departed(status: MemberStatus) -> bool {
    matches!(status, MemberStatus::Left | MemberStatus::Failed)
}

impl Members {
    pub(in crate::serf) fn record(&self, name: &[u8]) -> Option<&Record> {
        self.table.get(self.table.find(by_name(name))?)
    }

    fn record_mut(&mut self, name: &NodeName) -> Option<&mut Record> {
        self.table
            .get_mut(self.table.find(by_name(name.as_bytes()))?)
    }

    pub(in crate::serf) fn member(&self, name: &[u8]) -> Option<&Member> {
        self.record(name).map(|record| &record.member)
    }

    pub(in crate::serf) fn status(&self, name: &[u8]) -> MemberStatus {
        self.member(name)
            .map_or(MemberStatus::None, |member| member.status)
    }

    pub(in crate::serf) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.table.iter()
    }

    /// Iterates over the members after a name in byte order; over all for `None`.
    pub(in crate::serf) fn after(&self, name: Option<&NodeName>) -> impl Iterator<Item = &Record> {
        let rest = match name {
            Some(name) => self.table.range_from(by_name(name.as_bytes())),
            None => self.table.iter(),
        };
        rest.filter(move |record| name != Some(&record.member.name))
    }

    pub(in crate::serf) fn len(&self) -> usize {
        self.table.len()
    }

    pub(in crate::serf) fn failed(&self) -> usize {
        self.failed
    }

    pub(in crate::serf) fn left(&self) -> usize {
        self.left
    }

    pub(in crate::serf) fn version(&self) -> u64 {
        self.version
    }

    /// Iterates over the members that left or failed, each with its time, oldest first.
    pub(in crate::serf) fn departed(&self) -> impl Iterator<Item = (Instant, &Record)> {
        self.departed
            .iter()
            .filter_map(|(at, name)| self.record(name.as_bytes()).map(|record| (*at, record)))
    }

    pub(super) fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Adds or revives a member that the membership layer reports as alive. `intent`: the buffered intent
    /// about it.
    pub(in crate::serf) fn joined(
        &mut self,
        mut member: Member,
        intent: Option<(IntentKind, LamportTime)>,
    ) {
        if self.record(member.name.as_bytes()).is_some() {
            self.set_status(&member.name, MemberStatus::Alive, Instant::ORIGIN);
            self.updated(member);
            return;
        }
        let (status, status_ltime) = match intent {
            Some((IntentKind::Leave, ltime)) => (MemberStatus::Leaving, ltime),
            Some((IntentKind::Join, ltime)) => (MemberStatus::Alive, ltime),
            None => (MemberStatus::Alive, LamportTime(0)),
        };
        member.status = status;
        let record = Record {
            member,
            status_ltime,
            departed_at: Instant::ORIGIN,
        };
        self.table
            .insert(record, |a, b| a.member.name.cmp(&b.member.name));
        self.version += 1;
    }

    /// Updates everything about a member but its status; returns false if it is not a member.
    pub(in crate::serf) fn updated(&mut self, mut member: Member) -> bool {
        let Some(record) = self.record_mut(&member.name) else {
            return false;
        };
        member.status = record.member.status;
        record.member = member;
        self.version += 1;
        true
    }

    /// Marks a member as gone. The last intent determines whether it left or failed.
    pub(in crate::serf) fn gone(
        &mut self,
        name: &NodeName,
        now: Instant,
    ) -> Option<MemberEventKind> {
        let (status, kind) = match self.status(name.as_bytes()) {
            MemberStatus::Leaving => (MemberStatus::Left, MemberEventKind::Leave),
            MemberStatus::Alive => (MemberStatus::Failed, MemberEventKind::Failed),
            MemberStatus::None | MemberStatus::Left | MemberStatus::Failed => return None,
        };
        self.set_status(name, status, now);
        Some(kind)
    }

    /// Classifies an intent by its time.
    pub(super) fn judge_intent(&self, name: &NodeName, ltime: LamportTime) -> IntentOutcome {
        match self.record(name.as_bytes()) {
            None => IntentOutcome::Unknown,
            Some(record) if ltime <= record.status_ltime => IntentOutcome::Stale,
            Some(_) => IntentOutcome::Accepted,
        }
    }

    /// Applies a leave intent.
    pub(in crate::serf) fn leave_intent(
        &mut self,
        name: &NodeName,
        ltime: LamportTime,
    ) -> IntentOutcome {
        let (outcome, status) = self.take_intent(name, ltime);
        if outcome != IntentOutcome::Accepted {
            return outcome;
        }
        match status {
            MemberStatus::Alive => self.set_status(name, MemberStatus::Leaving, Instant::ORIGIN),
            MemberStatus::Failed => {
                // The time of departure does not change.
                let since = self.record(name.as_bytes()).map(|r| r.departed_at);
                self.set_status(name, MemberStatus::Left, since.unwrap_or_default());
                return IntentOutcome::Left;
            }
            MemberStatus::None | MemberStatus::Leaving | MemberStatus::Left => {}
        }
        outcome
    }

    /// Applies a join intent.
    pub(super) fn join_intent(&mut self, name: &NodeName, ltime: LamportTime) -> IntentOutcome {
        let (outcome, status) = self.take_intent(name, ltime);
        if outcome == IntentOutcome::Accepted && status == MemberStatus::Leaving {
            self.set_status(name, MemberStatus::Alive, Instant::ORIGIN);
        }
        outcome
    }

    /// Updates the intent time if the intent is newer. Called for each member in a push/pull.
    fn take_intent(
        &mut self,
        name: &NodeName,
        ltime: LamportTime,
    ) -> (IntentOutcome, MemberStatus) {
        match self.record_mut(name) {
            None => (IntentOutcome::Unknown, MemberStatus::None),
            Some(record) if ltime <= record.status_ltime => {
                (IntentOutcome::Stale, record.member.status)
            }
            Some(record) => {
                record.status_ltime = ltime;
                (IntentOutcome::Accepted, record.member.status)
            }
        }
    }

    /// Removes a member.
    pub(in crate::serf) fn remove(&mut self, name: &NodeName) -> Option<Member> {
        self.set_status(name, MemberStatus::Alive, Instant::ORIGIN);
        self.version += 1;
        let record = self.table.remove(by_name(name.as_bytes()));
        self.table.compact();
        Some(record?.member)
    }

    /// Sets a status; all changes go through here. `at`: time of departure, used only for left and failed.
    fn set_status(&mut self, name: &NodeName, status: MemberStatus, at: Instant) {
        let Some(record) = self.record_mut(name) else {
            return;
        };
        let before = std::mem::replace(&mut record.member.status, status);
        let since = std::mem::replace(&mut record.departed_at, at);
        if is_departed(before) {
            self.departed.remove(&(since, name.clone()));
        }
        if is_departed(status) {
            self.departed.insert((at, name.clone()));
        }
        self.version += 1;
        self.failed -= usize::from(before == MemberStatus::Failed);
        self.left -= usize::from(before == MemberStatus::Left);
        self.failed += usize::from(status == MemberStatus::Failed);
        self.left += usize::from(status == MemberStatus::Left);
    }

    pub(in crate::serf) fn check_invariants(&self) {
        let count = |status| {
            let of_status = |record: &&Record| record.member.status == status;
            self.iter().filter(of_status).count()
        };
        let names = || self.iter().map(|record| &record.member.name);
        assert!(names().is_sorted_by(|a, b| a < b));
        assert_eq!(self.failed, count(MemberStatus::Failed));
        assert_eq!(self.left, count(MemberStatus::Left));
        assert_eq!(count(MemberStatus::None), 0);
        assert_eq!(self.departed.len(), self.failed + self.left);
        for (at, name) in &self.departed {
            let record = self.record(name.as_bytes());
            assert!(record.is_some_and(|record| record.departed_at == *at));
        }
    }
}

impl Serf {
    /// Handles a node that became alive.
    pub(in crate::serf) fn handle_joined(&mut self, node: &Node, now: Instant) {
        let known = self.members.record(node.name.as_bytes()).is_some();
        if !known && self.members.len() >= self.config.swim.nodes_max && !self.make_room(now) {
            log::warn!(target: "serf", "Ignoring node {}: the member table is full", node.name);
            return;
        }
        self.counters.joined += 1;
        let record = self.members.record(node.name.as_bytes());
        let flaps = record.is_some_and(|record| {
            record.member.status == MemberStatus::Failed
                && now.since(record.departed_at) < FLAP_TIMEOUT
        });
        self.counters.flapped += u64::from(flaps);
        let intent = self.intents.take(&node.name);
        self.members.joined(member_of(node), intent);
        self.find_lost(&node.name);
        self.watch_leaving(&node.name, now);
        self.swim.set_user_member_count(self.members.len());
        log::info!(target: "serf", "EventMemberJoin: {} {}", node.name, node.addr.ip());
        self.emit_member_event(MemberEventKind::Join, &node.name, now);
    }

    /// Handles a node that is dead or left.
    pub(in crate::serf) fn handle_gone(&mut self, node: &Node, now: Instant) {
        let Some(kind) = self.members.gone(&node.name, now) else {
            return;
        };
        self.watch_leaving(&node.name, now);
        self.challenge_met(&node.name, now);
        self.repair.forget_peer(&node.name);
        let word = if kind == MemberEventKind::Leave {
            self.counters.left += 1;
            "Leave"
        } else {
            self.counters.failed += 1;
            "Failed"
        };
        log::info!(target: "serf", "EventMember{word}: {} {}", node.name, node.addr.ip());
        self.emit_member_event(kind, &node.name, now);
    }

    /// Handles a change of a node's meta.
    pub(in crate::serf) fn handle_updated(&mut self, node: &Node, now: Instant) {
        if self.members.updated(member_of(node)) {
            self.counters.updated += 1;
            log::info!(target: "serf", "EventMemberUpdate: {}", node.name);
            self.emit_member_event(MemberEventKind::Update, &node.name, now);
        }
    }

    /// Removes a member and delivers a member-reap.
    pub(super) fn erase_member(&mut self, name: &NodeName, now: Instant) {
        let failed = self.members.status(name.as_bytes()) == MemberStatus::Failed;
        if let Some(member) = self.members.remove(name) {
            if failed {
                self.record_member(MemberEventKind::Reap, &member);
            }
            self.watch_leaving(name, now);
            self.forget_coordinate(name);
            self.repair.forget_peer(name);
            self.swim.set_user_member_count(self.members.len());
            self.deliver_member_event(MemberEventKind::Reap, member, now);
        }
    }

    /// Removes the member that is gone longest, to make room for a new one; returns false if none is gone.
    fn make_room(&mut self, now: Instant) -> bool {
        let local = self.local_name().clone();
        let oldest = self
            .members
            .departed()
            .map(|(_, record)| record.member.name.clone())
            .find(|name| *name != local);
        let Some(name) = oldest else {
            return false;
        };
        log::info!(target: "serf", "EventMemberReap (forced): {name}, the member table is full");
        self.erase_member(&name, now);
        true
    }

    pub(super) fn emit_member_event(
        &mut self,
        kind: MemberEventKind,
        name: &NodeName,
        now: Instant,
    ) {
        if let Some(member) = self.members.member(name.as_bytes()) {
            let member = member.clone();
            self.record_member(kind, &member);
            self.deliver_member_event(kind, member, now);
        }
    }

    /// Whether another member is alive, so that a broadcast has a receiver.
    pub(super) fn has_alive_peers(&self) -> bool {
        let local = self.local_name();
        self.members.iter().any(|Record { member, .. }| {
            member.status == MemberStatus::Alive && member.name != *local
        })
    }
}

fn member_of(node: &Node) -> Member {
    let (member, complete) = Member::of_node(node);
    if !complete {
        log::error!(target: "serf", "Failed to decode tags of {}", node.name);
    }
    member
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
