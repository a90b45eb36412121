//! User events that reach a node before it has exchanged states with anybody.
//!
//! A node that has just started cannot tell yet which user events are for it: its first exchange
//! says what was before its join. Gossip may be faster than that, above all if the others still hold
//! the node for alive from before its restart. So until the first exchange, events of others wait.

use super::Source;
use crate::serf::{LamportTime, Serf, UserEvent};
use crate::swim::JoinId;
use crate::time::{Duration, Instant};

/// How long the first event waits at most: a node without an exchange by then may be alone for good,
/// as one that others hold for a member and that does not know where to join.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Events that may wait; with one more, all go. As many as may wait for their order.
const WAITING_EVENTS_MAX: usize = 1024;
/// Bytes of names and payloads that may wait; beyond it, all go.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What waits for the first exchange since the start.
#[derive(Debug)]
pub(in crate::serf) enum Newcomer {
    /// No state was merged yet.
    Waiting {
        events: Vec<UserEvent>,
        bytes: usize,
        /// When the events go without an exchange; `None`: there are none.
        due: Option<Instant>,
        /// A state was merged while this node's own join was under way.
        has_merged: bool,
    },
    /// A state was merged, or the time is over: nothing waits any more.
    Settled,
}

impl Default for Newcomer {
    fn default() -> Self {
        Newcomer::Waiting {
            events: Vec::new(),
            bytes: 0,
            due: None,
            has_merged: false,
        }
    }
}

impl Newcomer {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        match self {
            Newcomer::Waiting { due, .. } => *due,
            Newcomer::Settled => None,
        }
    }

    /// Keeps an event if events wait; else gives it back.
    fn hold(&mut self, event: UserEvent, source: Source, now: Instant) -> Option<UserEvent> {
        match self {
            Newcomer::Waiting {
                events, bytes, due, ..
            } if source != Source::Own => {
                due.get_or_insert(now + WAIT_MAX);
                *bytes += event.name.len() + event.payload.len();
                events.push(event);
                None
            }
            _ => Some(event),
        }
    }

    /// A state was merged before this node's own join is through, which would say what is old. It may
    /// never be, where none of its targets runs: the wait for it is bounded, too.
    fn note_merged(&mut self, now: Instant) {
        if let Newcomer::Waiting {
            due, has_merged, ..
        } = self
        {
            *has_merged = true;
            due.get_or_insert(now + WAIT_MAX);
        }
    }

    fn has_merged(&self) -> bool {
        matches!(
            self,
            Newcomer::Waiting {
                has_merged: true,
                ..
            }
        )
    }

    /// Whether a state was merged since the start, or the wait for it is over.
    pub(in crate::serf) fn is_settled(&self) -> bool {
        matches!(self, Newcomer::Settled)
    }

    fn is_full(&self) -> bool {
        match self {
            Newcomer::Waiting { events, bytes, .. } => {
                events.len() > WAITING_EVENTS_MAX || *bytes > WAITING_BYTES_MAX
            }
            Newcomer::Settled => false,
        }
    }

    fn settle(&mut self) -> Vec<UserEvent> {
        match std::mem::replace(self, Newcomer::Settled) {
            Newcomer::Waiting { events, .. } => events,
            Newcomer::Settled => Vec::new(),
        }
    }
}

impl Serf {
    /// A new user event on its way to handlers: it waits if this node has just started.
    pub(in crate::serf) fn admit_user_event(
        &mut self,
        event: UserEvent,
        source: Source,
        now: Instant,
    ) {
        if let Some(event) = self.newcomer.hold(event, source, now) {
            self.deliver_user_event(event, now);
        } else if self.newcomer.is_full() {
            self.release_held_events(now);
        }
    }

    /// A whole state was merged, of a join of this node or of somebody else's exchange.
    pub(in crate::serf) fn note_merged_state(&mut self, initiated: Option<JoinId>, now: Instant) {
        let of_join = initiated.is_some_and(|join| self.join_ignores_old_events(join));
        if !of_join && self.joins.iter().any(|join| join.ignores_old_events()) {
            // This node's own join is under way, and says what is old.
            self.newcomer.note_merged(now);
            return;
        }
        self.is_member = true;
        self.release_held_events(now);
    }

    /// Lets those go that have waited for long enough.
    pub(in crate::serf) fn release_overdue_events(&mut self, now: Instant) {
        if self.newcomer.deadline().is_some_and(|due| due <= now) {
            self.is_member |= self.newcomer.has_merged();
            self.release_held_events(now);
        }
    }

    /// Nothing waits for the first exchange any more: what is not from before it goes, the lowest time
    /// first.
    pub(in crate::serf) fn release_held_events(&mut self, now: Instant) {
        let mut events = self.newcomer.settle();
        events.sort_by_key(|event| event.ltime);
        let first: LamportTime = self.events.minimum();
        for event in events {
            if event.ltime >= first {
                self.deliver_user_event(event, now);
            }
        }
        self.hand_over_ready_events(now);
    }
}
