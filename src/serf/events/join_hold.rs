//! User events that arrive before the node's first state exchange.
//!
//! A node that has just started cannot tell yet which user events are older than its join; only its first
//! exchange tells it. Gossip may arrive earlier, above all if other nodes still consider the node alive from
//! before its restart. So events of other nodes wait until the first exchange.

use super::Source;
use crate::serf::{LamportTime, Serf, UserEvent};
use crate::swim::JoinId;
use crate::time::{Duration, Instant};

/// Longest time that the first event waits. A node without an exchange by then may never have one, for
/// example if other nodes consider it a member while it has no address to join.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Limit for the waiting events, as in the order stage; one more releases all.
const WAITING_EVENTS_MAX: usize = 1024;
/// Limit for the bytes of waiting names and payloads; more release all.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Events that wait for the first exchange since the start.
#[derive(Debug)]
pub(in crate::serf) enum JoinHold {
    /// Waits for the first merge of a state.
    Waiting {
        events: Vec<UserEvent>,
        bytes: usize,
        /// Time at which the events are released without an exchange; `None`: none wait.
        due: Option<Instant>,
        /// A state was merged while this node's own join was in progress.
        has_merged: bool,
    },
    /// A state was merged, or the wait timed out; events no longer wait.
    Settled,
}

impl Default for JoinHold {
    fn default() -> Self {
        JoinHold::Waiting {
            events: Vec::new(),
            bytes: 0,
            due: None,
            has_merged: false,
        }
    }
}

impl JoinHold {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        match self {
            JoinHold::Waiting { due, .. } => *due,
            JoinHold::Settled => None,
        }
    }

    /// Holds an event if events wait; otherwise returns it.
    fn hold(&mut self, event: UserEvent, source: Source, now: Instant) -> Option<UserEvent> {
        match self {
            JoinHold::Waiting {
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

    /// Notes that a state was merged while this node's own join, which determines the old events, is in
    /// progress. If none of its targets runs, the join never succeeds, so the wait for it is bounded, too.
    fn note_merged(&mut self, now: Instant) {
        if let JoinHold::Waiting {
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
            JoinHold::Waiting {
                has_merged: true,
                ..
            }
        )
    }

    /// Whether a state was merged since the start, or the wait for it timed out.
    pub(in crate::serf) fn is_settled(&self) -> bool {
        matches!(self, JoinHold::Settled)
    }

    fn is_full(&self) -> bool {
        match self {
            JoinHold::Waiting { events, bytes, .. } => {
                events.len() > WAITING_EVENTS_MAX || *bytes > WAITING_BYTES_MAX
            }
            JoinHold::Settled => false,
        }
    }

    fn settle(&mut self) -> Vec<UserEvent> {
        match std::mem::replace(self, JoinHold::Settled) {
            JoinHold::Waiting { events, .. } => events,
            JoinHold::Settled => Vec::new(),
        }
    }
}

impl Serf {
    /// Delivers a new user event, or holds it if this node has just started.
    pub(in crate::serf) fn admit_user_event(
        &mut self,
        event: UserEvent,
        source: Source,
        now: Instant,
    ) {
        if let Some(event) = self.join_hold.hold(event, source, now) {
            self.deliver_user_event(event, now);
        } else if self.join_hold.is_full() {
            self.release_held_events(now);
        }
    }

    /// Notes that a full state was merged, from a join by this node or from any other exchange.
    pub(in crate::serf) fn note_merged_state(&mut self, initiated: Option<JoinId>, now: Instant) {
        let of_join = initiated.is_some_and(|join| self.join_ignores_old_events(join));
        if !of_join && self.joins.iter().any(|join| join.ignores_old_events()) {
            // This node's own join is in progress and will determine which events are old.
            self.join_hold.note_merged(now);
            return;
        }
        self.is_member = true;
        self.release_held_events(now);
    }

    /// Releases the waiting events if their wait has timed out.
    pub(in crate::serf) fn release_overdue_events(&mut self, now: Instant) {
        if self.join_hold.deadline().is_some_and(|due| due <= now) {
            self.is_member |= self.join_hold.has_merged();
            self.release_held_events(now);
        }
    }

    /// Ends the wait and delivers the events that are not from before the join, in the order of their times.
    pub(in crate::serf) fn release_held_events(&mut self, now: Instant) {
        let mut events = self.join_hold.settle();
        events.sort_by_key(|event| event.ltime);
        let first: LamportTime = self.events.minimum();
        for event in events {
            if event.ltime >= first {
                self.deliver_user_event(event, now);
            }
        }
    }
}
