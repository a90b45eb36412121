//! Coalescing of events before handlers see them (gossip spec 5.15). Purely local.
//!
//! A batch ends when no event arrived for the quiescent period, or one coalesce period after its first event.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::ordered::{OrderedMap, OrderedTable};
use crate::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, Output, Serf, UserEvent,
};
use crate::swim::Announcement;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Limit for the events in a batch; one more ends it early.
const BATCH_EVENTS_MAX: usize = 4096;
/// Limit for the bytes of names and payloads in a batch of user events; more end it early.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Timing of a batch.
#[derive(Debug)]
struct Window {
    period: Duration,
    quiescent: Duration,
    /// End by the coalesce period and end by the quiescent period; `None`: no batch is open.
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

/// Changes of one member in the current batch.
#[derive(Debug)]
struct Change {
    /// The last join, leave, failure or reap in the batch, if any.
    turn: Option<MemberEventKind>,
    /// Whether the batch has an update, or tags, address or versions changed between its events.
    updated: bool,
    /// The member at the last event.
    member: Member,
}

/// What a member announced by its last delivered event, and the kind of that event.
type Delivered = (Arc<Announcement>, MemberEventKind);

/// Returns a function that compares a member's name with `name`.
fn by_name(name: &NodeName) -> impl Fn(&Delivered) -> Ordering {
    move |(announced, _)| announced.name.cmp(name)
}

/// Coalescer of member events: merges the changes of each member in a batch.
#[derive(Debug)]
pub(in crate::serf) struct MemberCoalescer {
    window: Window,
    batch: OrderedMap<NodeName, Change>,
    /// Kind of the last event delivered for each member; removed when the member is reaped.
    delivered: OrderedTable<Delivered>,
    /// Members of the last batch for which no event is delivered.
    unchanged: Vec<NodeName>,
}

impl Change {
    /// Returns the kind of event to deliver, if any. `last`: the kind last delivered for the member.
    fn outcome(&self, last: Option<MemberEventKind>) -> Option<MemberEventKind> {
        match self.turn {
            None => Some(MemberEventKind::Update),
            turn if turn != last => turn,
            Some(MemberEventKind::Join) if self.updated => Some(MemberEventKind::Update),
            Some(_) => None,
        }
    }
}

/// Whether two records of a member are equal in everything that an update event reports.
fn is_same(a: &Member, b: &Member) -> bool {
    (a.addr, a.versions, &a.meta) == (b.addr, b.versions, &b.meta)
}

impl MemberCoalescer {
    pub(in crate::serf) fn new(period: Duration, quiescent: Duration) -> Self {
        MemberCoalescer {
            window: Window::new(period, quiescent),
            batch: OrderedMap::new(),
            delivered: OrderedTable::new(),
            unchanged: Vec::new(),
        }
    }

    fn put(&mut self, kind: MemberEventKind, member: Member, now: Instant) {
        let is_update = kind == MemberEventKind::Update;
        self.window.note_event(now);
        let Some(change) = self.batch.get_mut(&member.name) else {
            let name = member.name.clone();
            let change = Change {
                turn: (!is_update).then_some(kind),
                updated: is_update,
                member,
            };
            self.batch.insert(name, change);
            return;
        };
        // A member that comes back with other tags counts as updated even without an update event.
        change.updated |= is_update || !is_same(&change.member, &member);
        if !is_update {
            change.turn = Some(kind);
        }
        change.member = member;
    }

    /// Ends the batch: returns one event per kind, in the order of the kinds, members by name.
    fn flush(&mut self) -> Vec<MemberEvent> {
        self.window.ends = None;
        let mut by_kind: OrderedMap<MemberEventKind, Vec<Member>> = OrderedMap::new();
        for (name, change) in std::mem::take(&mut self.batch) {
            let last = self.delivered.find(by_name(&name));
            let last = last.and_then(|slot| self.delivered.get(slot));
            let Some(kind) = change.outcome(last.map(|(_, kind)| *kind)) else {
                self.unchanged.push(name);
                continue;
            };
            if kind == MemberEventKind::Reap {
                self.delivered.remove(by_name(&name));
                self.delivered.compact();
            } else {
                let delivered = (change.member.announced().clone(), kind);
                self.delivered
                    .insert(delivered, |(a, _), (b, _)| a.name.cmp(&b.name));
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

/// Coalescer of user events: keeps only the newest of each name in a batch.
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

    /// Adds an event. Returns the events that are dropped in favour of newer ones with the same name: `event`
    /// itself, or all of that name in the batch.
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

    /// Ends the batch: returns its events by time, events of equal time by name.
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
    /// Passes a member event to the coalescer, or delivers it if coalescing is off.
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

    /// Reports a user event for the journal and delivers it.
    pub(super) fn deliver_user_event(&mut self, event: UserEvent, now: Instant) {
        self.note_taken(&event);
        self.deliver_taken(event, now);
    }

    /// Delivers a user event that is already in the journal.
    pub(super) fn deliver_taken(&mut self, event: UserEvent, now: Instant) {
        if !event.coalesce || self.user_coalescer.window.is_off() {
            self.deliver_in_order(event, now);
            return;
        }
        let wait = self.gap_wait();
        self.event_order.skip(event.ltime, wait, now);
        for replaced in self.user_coalescer.put(event, now) {
            self.record_event(&replaced);
        }
        if self.user_coalescer.is_full() {
            self.flush_user_events();
        }
    }

    /// Delivers all events and queries that are held back.
    pub(in crate::serf) fn flush_events(&mut self) {
        self.flush_ordered();
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
