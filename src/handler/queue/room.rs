//! Makes room when the queue is full.
//!
//! No event that a handler wants is lost without a log line or a counter. When the queue is full,
//!
//! - events that no handler wants, or whose copies are in lanes, are removed first (no run would follow from
//!   them);
//! - user events in the journal wait on disk only;
//! - other user events and queries are dropped, logged and counted;
//! - member events are merged per node: the newest change of a node replaces older waiting ones, as in the
//!   coalescer. An update only refreshes the record in a waiting join or update; otherwise a handler for
//!   joins would miss the node. So a full queue has each node at most once, and exceeds the limit by at most
//!   one record per node.

use std::mem;

use super::{HandlerQueue, Waiting, note_handled};
use crate::count::Count;
use crate::handler::Described;
use crate::handler::journal::Stored;
use crate::ordered::OrderedMap;
use crate::serf::{Event, Member, MemberEvent, MemberEventKind};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Minimum interval between log lines about drops.
const DROP_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Approximate overhead of an allocation in bytes.
const ALLOCATION_BYTES: usize = 16;

/// Drops that were not logged yet.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    last_logged: Option<Instant>,
    pub(super) unlogged: u64,
    last: String,
}

impl HandlerQueue {
    pub(super) fn has_room(&self, cost: usize) -> bool {
        let bytes = self
            .fifo
            .bytes()
            .saturating_add(self.handlers.lanes().bytes);
        bytes.saturating_add(cost) <= self.bytes_max
    }

    pub(super) fn forget_unwanted(&mut self) {
        let handled = &mut self.handled_queries;
        let mut finished = Vec::new();
        self.fifo.retain(&mut |waiting| {
            if !waiting.wanted {
                note_handled(handled, &waiting.event);
                finished.push(waiting.number);
            }
            waiting.wanted
        });
        finished.into_iter().for_each(|number| self.finish(number));
    }

    /// Removes the newest recorded user events from memory until the queue is within its limit. Must be
    /// called when all records are written.
    pub fn spill(&mut self) {
        let Some(journal) = self.journal.as_mut().filter(|j| !j.is_failing()) else {
            return;
        };
        if self.fifo.bytes() <= self.bytes_max || journal.is_behind() {
            return;
        }
        let stored_progress = &mut self.stored_progress;
        self.fifo.spill(self.bytes_max, &mut |waiting| {
            let number = waiting.number.filter(|&n| journal.contains(n))?;
            journal.unload(number);
            if let Some(progress) = waiting.take_progress() {
                stored_progress.insert(number, progress);
            }
            Some(Stored::new(number, number))
        });
    }

    /// Adds a member event to a full queue and removes older changes of the same nodes.
    pub(super) fn merge(&mut self, changes: MemberEvent, mut template: Waiting) {
        let kind = changes.kind;
        let named = changes
            .members
            .into_iter()
            .map(|m| (m.name.clone(), Some(m)));
        let mut changes: OrderedMap<NodeName, Option<Member>> = named.collect();
        for waiting in self.fifo.events_mut().rev() {
            if let Event::Member(old) = &mut waiting.event {
                self.counters.merged_members += give_way(old, kind, &mut changes);
                waiting.cost = cost(&waiting.event);
            }
        }
        self.fifo
            .retain(&mut |w| !matches!(&w.event, Event::Member(event) if event.members.is_empty()));
        let members: Vec<Member> = changes.into_values().flatten().collect();
        if !members.is_empty() {
            template.event = Event::Member(MemberEvent { kind, members });
            template.cost = cost(&template.event);
            self.fifo.push_back(template);
        }
    }

    pub(super) fn note_drop(&mut self, event: &Event, now: Instant) {
        self.drops.unlogged += 1;
        self.drops.last = Described(event).to_string();
        self.drops.log_if_due(self.bytes_max, now);
    }
}

/// Removes nodes with newer changes from an older event; returns how many. An update instead refreshes the
/// record in a waiting join or update, and is then removed from `changes`.
pub(super) fn give_way(
    old: &mut MemberEvent,
    kind: MemberEventKind,
    changes: &mut OrderedMap<NodeName, Option<Member>>,
) -> u64 {
    let before = old.members.len();
    let refreshes = kind == MemberEventKind::Update
        && matches!(old.kind, MemberEventKind::Join | MemberEventKind::Update);
    let mut refreshed = 0;
    old.members.retain_mut(|member| {
        let Some(newer) = changes.get_mut(&member.name) else {
            return true;
        };
        match newer.take_if(|_| refreshes) {
            Some(newer) => {
                *member = newer;
                refreshed += 1;
                true
            }
            None => false,
        }
    });
    (before - old.members.len() + refreshed) as u64
}

impl DropLog {
    pub(super) fn log_if_due(&mut self, bytes_max: usize, now: Instant) {
        let due = |last_logged: Instant| now.since(last_logged) >= DROP_LOG_INTERVAL;
        if self.unlogged > 0 && self.last_logged.is_none_or(due) {
            self.last_logged = Some(now);
            self.log(bytes_max);
        }
    }

    pub(super) fn log(&mut self, bytes_max: usize) {
        let unlogged = mem::take(&mut self.unlogged);
        if unlogged > 0 {
            log::warn!(
                target: "agent",
                "Handler queue is full ({bytes_max} bytes of events wait): dropped {}, the last one \
                 '{}'",
                Count(unlogged, "event"),
                mem::take(&mut self.last)
            );
        }
    }
}

/// Returns the approximate memory that an event takes.
pub(super) fn cost(event: &Event) -> usize {
    let own = mem::size_of::<Waiting>();
    let bytes = match event {
        Event::Member(event) => event.members.iter().map(member_cost).sum(),
        Event::User(event) => named_cost(&event.name, &event.payload),
        Event::Query(query) => named_cost(&query.name, &query.payload),
    };
    own.saturating_add(bytes)
}

fn named_cost(name: &[u8], payload: &[u8]) -> usize {
    name.len() + payload.len() + 2 * ALLOCATION_BYTES
}

fn member_cost(member: &Member) -> usize {
    let fixed = mem::size_of::<Member>() + mem::size_of_val(&**member);
    fixed + member.name.as_bytes().len() + member.meta.len() + 2 * ALLOCATION_BYTES
}
