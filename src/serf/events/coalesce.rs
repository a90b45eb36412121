//! Gathering of events before handlers see them (gossip spec 5.15). Local only.
//!
//! A batch ends when nothing new came for the quiescent period, or when its first event is one
//! coalesce period old.

use crate::ordered::OrderedMap;
use crate::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, Output, Serf, UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Events that a batch holds; beyond it the batch ends early.
const BATCH_EVENTS_MAX: usize = 4096;
/// Bytes of names and payloads that a batch of user events holds; beyond it the batch ends early.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// When a batch ends.
#[derive(Debug)]
struct Window {
    period: Duration,
    quiescent: Duration,
    /// End by the period and end by quiescence; `None`: no batch is open.
    ends: Option<(Instant, Instant)>,
}

impl Window {
    fn new(period: Duration, quiescent: Duration) -> Self {
        Window {
            period,
            quiescent,
            ends: None,
        }
    }

    fn is_off(&self) -> bool {
        self.period.is_zero()
    }

    fn note_event(&mut self, now: Instant) {
        let (latest, _) = self.ends.unwrap_or((now + self.period, now));
        self.ends = Some((latest, now + self.quiescent));
    }

    fn deadline(&self) -> Option<Instant> {
        self.ends.map(|(latest, quiet)| latest.min(quiet))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

/// What happened to one member since the last batch.
#[derive(Debug)]
struct Change {
    /// The last join, leave, failure or reap, if there was one.
    turn: Option<MemberEventKind>,
    /// Its tags, address or versions are others than at the first event of the batch.
    updated: bool,
    /// As it was at the last event.
    member: Member,
}

/// The changes of each member since the last batch.
#[derive(Debug)]
pub(in crate::serf) struct MemberCoalescer {
    window: Window,
    batch: OrderedMap<NodeName, Change>,
    /// What was delivered last about each member; forgotten with the member.
    delivered: OrderedMap<NodeName, MemberEventKind>,
    /// Members of the last batch that nothing is delivered of.
    unchanged: Vec<NodeName>,
}

impl Change {
    /// What is delivered of it, if anything. `last`: what was delivered last about the member.
    fn outcome(&self, last: Option<MemberEventKind>) -> Option<MemberEventKind> {
        match self.turn {
            None => Some(MemberEventKind::Update),
            turn if turn != last => turn,
            Some(MemberEventKind::Join) if self.updated => Some(MemberEventKind::Update),
            Some(_) => None,
        }
    }
}

/// Whether two records of a member differ in nothing that an update would tell.
fn is_same(a: &Member, b: &Member) -> bool {
    (a.addr, a.versions) == (b.addr, b.versions) && a.tags == b.tags
}

impl MemberCoalescer {
    pub(in crate::serf) fn new(period: Duration, quiescent: Duration) -> Self {
        MemberCoalescer {
            window: Window::new(period, quiescent),
            batch: OrderedMap::new(),
            delivered: OrderedMap::new(),
            unchanged: Vec::new(),
        }
    }

    fn put(&mut self, kind: MemberEventKind, member: Member, now: Instant) {
        let is_update = kind == MemberEventKind::Update;
        self.window.note_event(now);
        let Some(change) = self.batch.get_mut(&member.name) else {
            let change = Change {
                turn: (!is_update).then_some(kind),
                updated: is_update,
                member: member.clone(),
            };
            self.batch.insert(member.name, change);
            return;
        };
        // Who comes back as somebody else was updated, too, although nobody calls it so.
        change.updated |= is_update || !is_same(&change.member, &member);
        if !is_update {
            change.turn = Some(kind);
        }
        change.member = member;
    }

    /// Ends the batch: an event for each kind in its fixed order, members by name.
    fn flush(&mut self) -> Vec<MemberEvent> {
        self.window.ends = None;
        let mut by_kind: OrderedMap<MemberEventKind, Vec<Member>> = OrderedMap::new();
        for (name, change) in std::mem::take(&mut self.batch) {
            let Some(kind) = change.outcome(self.delivered.get(&name).copied()) else {
                self.unchanged.push(name);
                continue;
            };
            if kind == MemberEventKind::Reap {
                self.delivered.remove(&name);
            } else {
                self.delivered.insert(name, kind);
            }
            by_kind
                .get_or_insert_with(kind, Vec::new)
                .push(change.member);
        }
        by_kind
            .into_iter()
            .map(|(kind, members)| MemberEvent { kind, members })
            .collect()
    }
}

/// The newest user events of each name since the last batch.
#[derive(Debug)]
pub(in crate::serf) struct UserCoalescer {
    window: Window,
    batch: OrderedMap<Vec<u8>, (LamportTime, Vec<UserEvent>)>,
    events: usize,
    bytes: usize,
}

impl UserCoalescer {
    pub(in crate::serf) fn new(period: Duration, quiescent: Duration) -> Self {
        UserCoalescer {
            window: Window::new(period, quiescent),
            batch: OrderedMap::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Takes an event in. Returns the events that a newer one of the same name replaces: the given
    /// one itself, or all that the batch holds of the name.
    fn put(&mut self, event: UserEvent, now: Instant) -> Vec<UserEvent> {
        self.window.note_event(now);
        let newest = self
            .batch
            .get_or_insert_with(event.name.clone(), || (event.ltime, Vec::new()));
        if event.ltime < newest.0 {
            return vec![event];
        }
        let mut replaced = Vec::new();
        if event.ltime > newest.0 {
            newest.0 = event.ltime;
            replaced = std::mem::take(&mut newest.1);
            self.events -= replaced.len();
            self.bytes -= replaced.iter().map(size_of_event).sum::<usize>();
        }
        self.events += 1;
        self.bytes += size_of_event(&event);
        newest.1.push(event);
        replaced
    }

    fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Ends the batch: its events by time, those of one time by name.
    fn flush(&mut self) -> Vec<UserEvent> {
        self.window.ends = None;
        self.events = 0;
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let mut events: Vec<_> = batch.into_values().flat_map(|(_, events)| events).collect();
        events.sort_by_key(|event| event.ltime);
        events
    }
}

fn size_of_event(event: &UserEvent) -> usize {
    event.name.len() + event.payload.len()
}

impl Serf {
    /// A member event on its way to handlers.
    pub(in crate::serf) fn deliver_member_event(
        &mut self,
        kind: MemberEventKind,
        member: Member,
        now: Instant,
    ) {
        self.note_change(member.name.clone(), Some(kind));
        if self.member_coalescer.window.is_off() {
            let members = vec![member];
            self.push_member_event(MemberEvent { kind, members });
            return;
        }
        self.member_coalescer.put(kind, member, now);
        if self.member_coalescer.batch.len() >= BATCH_EVENTS_MAX {
            self.flush_member_events();
        }
    }

    /// A user event on its way to handlers.
    pub(super) fn deliver_user_event(&mut self, event: UserEvent, now: Instant) {
        self.note_taken(&event);
        self.deliver_taken(event, now);
    }

    /// The same for one that the journal has already.
    pub(super) fn deliver_taken(&mut self, event: UserEvent, now: Instant) {
        if !event.coalesce || self.user_coalescer.window.is_off() {
            self.deliver_in_order(event, now);
            return;
        }
        let patience = self.gap_patience();
        self.event_order.skip(event.ltime, patience, now);
        self.hand_over_ready_events(now);
        for replaced in self.user_coalescer.put(event, now) {
            self.record_event(&replaced);
        }
        if self.user_coalescer.is_full() {
            self.flush_user_events();
        }
    }

    /// Delivers all that is held back.
    pub(in crate::serf) fn flush_events(&mut self) {
        self.flush_ordered_events();
        self.flush_ordered_queries();
        self.flush_user_events();
        self.flush_member_events();
    }

    pub(in crate::serf) fn flush_due_events(&mut self, now: Instant) {
        if self.user_coalescer.window.is_due(now) {
            self.flush_user_events();
        }
        if self.member_coalescer.window.is_due(now) {
            self.flush_member_events();
        }
    }

    pub(in crate::serf) fn coalescers_deadline(&self) -> Option<Instant> {
        let member = self.member_coalescer.window.deadline();
        let user = self.user_coalescer.window.deadline();
        [member, user].into_iter().flatten().min()
    }

    fn flush_member_events(&mut self) {
        for event in self.member_coalescer.flush() {
            self.push_member_event(event);
        }
        for name in std::mem::take(&mut self.member_coalescer.unchanged) {
            self.note_change(name, None);
        }
    }

    fn note_change(&mut self, name: NodeName, kind: Option<MemberEventKind>) {
        if self.config.member_changes {
            self.outputs.push_back(Output::MemberChanged { name, kind });
        }
    }

    pub(in crate::serf) fn flush_user_events(&mut self) {
        for event in self.user_coalescer.flush() {
            self.hand_over_event(event);
        }
    }

    fn push_member_event(&mut self, event: MemberEvent) {
        self.outputs.push_back(Output::Event(Event::Member(event)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
