//! The members and what changes their status (gossip spec 5.5, 5.6).

use super::outcome::{IntentKind, IntentOutcome};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::{LamportTime, Member, MemberEventKind, MemberStatus, Serf, Tags};
use crate::swim::Node;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// A member that comes back within this time after it failed is worth counting (gossip spec 9).
const FLAP_TIMEOUT: Duration = Duration::from_secs(60);

/// A member and what others need not know of it.
#[derive(Clone, Debug)]
pub(in crate::serf) struct Record {
    pub(in crate::serf) member: Member,
    /// Time of the last intent about it.
    pub(in crate::serf) status_ltime: LamportTime,
    /// When it left or failed.
    departed_at: Instant,
}

/// All members, in byte order of their names.
///
/// Invariants: a record is in `departed` exactly if its status is failed or left, and the two
/// counters count those statuses.
#[derive(Debug, Default)]
pub(in crate::serf) struct Members {
    // Boxed: the nodes of the map are half empty when names come in order, as they do in a push/pull.
    table: OrderedMap<NodeName, Box<Record>>,
    departed: OrderedSet<(Instant, NodeName)>,
    failed: usize,
    left: usize,
}

const fn is_departed(status: MemberStatus) -> bool {
    matches!(status, MemberStatus::Left | MemberStatus::Failed)
}

impl Members {
    pub(in crate::serf) fn record(&self, name: &[u8]) -> Option<&Record> {
        self.table.get(name).map(|record| &**record)
    }

    pub(in crate::serf) fn member(&self, name: &[u8]) -> Option<&Member> {
        self.table.get(name).map(|record| &record.member)
    }

    pub(in crate::serf) fn status(&self, name: &[u8]) -> MemberStatus {
        self.member(name)
            .map_or(MemberStatus::None, |member| member.status)
    }

    pub(in crate::serf) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.table.values().map(|record| &**record)
    }

    /// The members behind a name; all of them for `None`.
    pub(in crate::serf) fn after(&self, name: Option<&NodeName>) -> impl Iterator<Item = &Record> {
        let rest = match name {
            Some(name) => self.table.range_from(name),
            None => self.table.iter(),
        };
        let behind = rest.map(|(_, record)| &**record);
        behind.filter(move |record| name != Some(&record.member.name))
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

    /// Those that left or failed, the longest gone first: when, and the record.
    pub(in crate::serf) fn departed(&self) -> impl Iterator<Item = (Instant, &Record)> {
        self.departed
            .iter()
            .filter_map(|(at, name)| self.record(name.as_bytes()).map(|record| (*at, record)))
    }

    pub(super) fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// The membership layer says that a node is alive. `intent` is what was buffered about it.
    pub(in crate::serf) fn joined(
        &mut self,
        node: &Node,
        tags: Tags,
        intent: Option<(IntentKind, LamportTime)>,
    ) {
        if self.table.contains_key(&node.name) {
            self.set_status(&node.name, MemberStatus::Alive, Instant::ORIGIN);
            self.updated(node, tags);
            return;
        }
        let (status, status_ltime) = match intent {
            Some((IntentKind::Leave, ltime)) => (MemberStatus::Leaving, ltime),
            Some((IntentKind::Join, ltime)) => (MemberStatus::Alive, ltime),
            None => (MemberStatus::Alive, LamportTime(0)),
        };
        let member = Member {
            name: node.name.clone(),
            addr: node.addr,
            tags,
            status,
            versions: node.versions,
        };
        let record = Record {
            member,
            status_ltime,
            departed_at: Instant::ORIGIN,
        };
        self.table.insert(node.name.clone(), Box::new(record));
    }

    /// The membership layer has new facts about a node. Tells whether it is a member.
    pub(in crate::serf) fn updated(&mut self, node: &Node, tags: Tags) -> bool {
        let Some(record) = self.table.get_mut(&node.name) else {
            return false;
        };
        let member = &mut record.member;
        member.addr = node.addr;
        member.tags = tags;
        member.versions = node.versions;
        true
    }

    /// The membership layer lost a node. The last intent decides whether it left or failed.
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

    /// Whether an intent says something new about a member.
    pub(super) fn judge_intent(&self, name: &NodeName, ltime: LamportTime) -> IntentOutcome {
        match self.table.get(name) {
            None => IntentOutcome::Unknown,
            Some(record) if ltime <= record.status_ltime => IntentOutcome::Stale,
            Some(_) => IntentOutcome::Taken,
        }
    }

    /// A leave intent.
    pub(in crate::serf) fn leave_intent(
        &mut self,
        name: &NodeName,
        ltime: LamportTime,
    ) -> IntentOutcome {
        let (outcome, status) = self.take_intent(name, ltime);
        if outcome != IntentOutcome::Taken {
            return outcome;
        }
        match status {
            MemberStatus::Alive => self.set_status(name, MemberStatus::Leaving, Instant::ORIGIN),
            MemberStatus::Failed => {
                // The time since which it is away stays.
                let since = self.table.get(name).map(|record| record.departed_at);
                self.set_status(name, MemberStatus::Left, since.unwrap_or_default());
                return IntentOutcome::Left;
            }
            MemberStatus::None | MemberStatus::Leaving | MemberStatus::Left => {}
        }
        outcome
    }

    /// A join intent.
    pub(super) fn join_intent(&mut self, name: &NodeName, ltime: LamportTime) -> IntentOutcome {
        let (outcome, status) = self.take_intent(name, ltime);
        if outcome == IntentOutcome::Taken && status == MemberStatus::Leaving {
            self.set_status(name, MemberStatus::Alive, Instant::ORIGIN);
        }
        outcome
    }

    /// Notes the time of an intent that says something new. A push/pull has one for each member.
    fn take_intent(
        &mut self,
        name: &NodeName,
        ltime: LamportTime,
    ) -> (IntentOutcome, MemberStatus) {
        match self.table.get_mut(name) {
            None => (IntentOutcome::Unknown, MemberStatus::None),
            Some(record) if ltime <= record.status_ltime => {
                (IntentOutcome::Stale, record.member.status)
            }
            Some(record) => {
                record.status_ltime = ltime;
                (IntentOutcome::Taken, record.member.status)
            }
        }
    }

    /// Forgets a member.
    pub(in crate::serf) fn remove(&mut self, name: &NodeName) -> Option<Member> {
        self.set_status(name, MemberStatus::Alive, Instant::ORIGIN);
        self.table.remove(name).map(|record| record.member)
    }

    /// The only place where a status changes. `at`: when it left or failed, if that is what happens.
    fn set_status(&mut self, name: &NodeName, status: MemberStatus, at: Instant) {
        let Some(record) = self.table.get_mut(name) else {
            return;
        };
        let before = record.member.status;
        if is_departed(before) {
            self.departed.remove(&(record.departed_at, name.clone()));
        }
        record.member.status = status;
        if is_departed(status) {
            record.departed_at = at;
            self.departed.insert((at, name.clone()));
        }
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
        assert_eq!(self.failed, count(MemberStatus::Failed));
        assert_eq!(self.left, count(MemberStatus::Left));
        assert_eq!(count(MemberStatus::None), 0);
        assert_eq!(self.departed.len(), self.failed + self.left);
        for (at, name) in &self.departed {
            let record = self.table.get(name);
            assert!(record.is_some_and(|record| record.departed_at == *at));
        }
    }
}

impl Serf {
    /// The membership layer says that a node is alive.
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
        let tags = decode_tags(node);
        let intent = self.intents.take(&node.name);
        self.members.joined(node, tags, intent);
        self.find_lost(&node.name);
        self.doubt_leaving(&node.name, now);
        self.swim.set_user_member_count(self.members.len());
        log::info!(target: "serf", "EventMemberJoin: {} {}", node.name, node.addr.ip());
        self.emit_member_event(MemberEventKind::Join, &node.name, now);
    }

    /// The membership layer lost a node.
    pub(in crate::serf) fn handle_gone(&mut self, node: &Node, now: Instant) {
        let Some(kind) = self.members.gone(&node.name, now) else {
            return;
        };
        self.doubt_leaving(&node.name, now);
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

    /// The membership layer has new facts about a node.
    pub(in crate::serf) fn handle_updated(&mut self, node: &Node, now: Instant) {
        if self.members.updated(node, decode_tags(node)) {
            self.counters.updated += 1;
            log::info!(target: "serf", "EventMemberUpdate: {}", node.name);
            self.emit_member_event(MemberEventKind::Update, &node.name, now);
        }
    }

    /// Forgets a member, and tells.
    pub(super) fn erase_member(&mut self, name: &NodeName, now: Instant) {
        let failed = self.members.status(name.as_bytes()) == MemberStatus::Failed;
        if let Some(member) = self.members.remove(name) {
            if failed {
                self.record_member(MemberEventKind::Reap, &member);
            }
            self.doubt_leaving(name, now);
            self.forget_place(name);
            self.repair.forget_peer(name);
            self.swim.set_user_member_count(self.members.len());
            self.deliver_member_event(MemberEventKind::Reap, member, now);
        }
    }

    /// Forgets the member that is gone for longest, to take in another one.
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

    /// Whether another member is up, so that a broadcast can reach somebody.
    pub(super) fn has_alive_peers(&self) -> bool {
        let local = self.local_name();
        self.members.iter().any(|Record { member, .. }| {
            member.status == MemberStatus::Alive && member.name != *local
        })
    }
}

fn decode_tags(node: &Node) -> Tags {
    let (tags, complete) = Tags::of_meta(&node.meta);
    if !complete {
        log::error!(target: "serf", "Failed to decode tags of {}", node.name);
    }
    tags
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
