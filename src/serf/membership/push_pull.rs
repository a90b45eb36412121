//! The Serf layer's part of a push/pull (gossip spec 5.9).

use std::collections::VecDeque;

use crate::ordered::OrderedMap;
use crate::serf::events::Source;
use crate::serf::limits::RING_EVENTS_MAX;
use crate::serf::{LamportTime, MemberStatus, Serf};
use crate::swim::JoinId;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{JoinIntent, LeaveIntent, RecentEvents, SerfPushPull, UserEventMessage};

/// Intents of a state to process per call, like the entries in the membership layer.
const INTENTS_AT_ONCE: usize = 1_024;
/// Limit for the states that are partly processed; one more is processed in one call.
const STATES_MAX: usize = 4;

/// Large states that are processed in pieces.
#[derive(Debug, Default)]
pub(in crate::serf) struct UserStates {
    pending: VecDeque<UserState>,
    /// Time of the next piece of the first state.
    due: Option<Instant>,
}

/// The unprocessed part of a state.
#[derive(Debug)]
struct UserState {
    /// Names of left members with their intent times at the sender; processed first.
    left: std::vec::IntoIter<(NodeName, LamportTime)>,
    joined: std::vec::IntoIter<(NodeName, LamportTime)>,
    events: Vec<Option<RecentEvents>>,
    event_ltime: LamportTime,
    initiated: Option<JoinId>,
    /// It was requested to repair events.
    asked: bool,
    /// Result of the join that the state belongs to; reported after the state is processed.
    join_ended: Option<Result<(), String>>,
}

impl UserState {
    fn new(state: SerfPushPull, initiated: Option<JoinId>, asked: bool) -> Self {
        let mut joined = state.status_ltimes;
        let names = state.left_members.into_iter();
        let mut left: OrderedMap<_, _> = names.map(|name| (name, LamportTime(0))).collect();
        if !left.is_empty() {
            joined.retain(|(node, ltime)| {
                let theirs = left.get_mut(node);
                theirs.map(|theirs| *theirs = *ltime).is_none()
            });
        }
        let left: Vec<_> = left.into_iter().collect();
        UserState {
            left: left.into_iter(),
            joined: joined.into_iter(),
            events: state.events,
            event_ltime: state.event_ltime,
            initiated,
            asked,
            join_ended: None,
        }
    }

    /// Returns the number of intents that are left.
    fn intents(&self) -> usize {
        self.left.len() + self.joined.len()
    }
}

impl UserStates {
    /// Whether a state is pending that was requested to repair events.
    pub(in crate::serf) fn has_asked(&self) -> bool {
        self.pending.iter().any(|state| state.asked)
    }

    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn arm(&mut self, now: Instant) {
        self.due.get_or_insert(now + Duration::from_nanos(1));
    }

    /// Keeps the result of a join while a state of it is pending; otherwise returns it.
    pub(in crate::serf) fn hold_back(
        &mut self,
        join: JoinId,
        result: Result<(), String>,
    ) -> Option<Result<(), String>> {
        let mut pending = self.pending.iter_mut();
        match pending.find(|state| state.initiated == Some(join)) {
            Some(state) => {
                state.join_ended = Some(result);
                None
            }
            None => Some(result),
        }
    }
}

impl Serf {
    /// Encodes this node's state for another node.
    pub(in crate::serf) fn user_state(&self) -> Vec<u8> {
        let members = || self.members.iter();
        let status_ltimes = members().map(|r| (r.member.name.clone(), r.status_ltime));
        let left = members().filter(|r| r.member.status == MemberStatus::Left);
        SerfPushPull {
            ltime: self.member_clock.now(),
            status_ltimes: status_ltimes.collect(),
            left_members: left.map(|r| r.member.name.clone()).collect(),
            event_ltime: self.event_clock.now(),
            events: self.events.recent(),
            query_ltime: self.query_clock.now(),
        }
        .encode()
    }

    /// Processes another node's state without rebroadcasting it. `initiated`: the join by this node that it
    /// belongs to; `asked`: this node requested it to repair its events.
    pub(in crate::serf) fn handle_user_state(
        &mut self,
        bytes: &[u8],
        initiated: Option<JoinId>,
        asked: bool,
        now: Instant,
    ) {
        let state = match SerfPushPull::decode(bytes) {
            Ok(state) => state,
            Err(error) => {
                log::debug!(target: "serf", "Ignoring remote state: {error:?}");
                self.counters.dropped_malformed += 1;
                return;
            }
        };
        self.member_clock.catch_up(state.ltime, now);
        let event_clock = self.event_clock.now();
        self.event_clock.catch_up(state.event_ltime, now);
        self.query_clock.catch_up(state.query_ltime, now);
        if initiated.is_some_and(|join| self.join_ignores_old_events(join)) {
            // Capped, so that a time that no node can have reached does not suppress all future events.
            let reached = state.event_ltime.min(self.event_clock.now());
            self.events.raise_minimum(reached);
            self.event_order.skip_below(reached, now);
            self.repair.skip_below(reached);
        } else {
            self.note_event_clock_jump(event_clock, now);
        }
        // Capped by this node's clock, which invalid times do not move and others move by one leap at most.
        let query_ltime = state.query_ltime.min(self.query_clock.now());
        self.query_order.note_state(query_ltime, None, now);
        let mut state = UserState::new(state, initiated, asked);
        let full = self.user_states.pending.len() >= STATES_MAX;
        if full || (state.intents() <= INTENTS_AT_ONCE && self.user_states.pending.is_empty()) {
            self.merge_user_state(&mut state, usize::MAX, now);
        } else {
            self.user_states.pending.push_back(state);
            self.user_states.arm(now);
        }
    }

    /// Processes the next piece of a large state.
    pub(in crate::serf) fn continue_user_state(&mut self, now: Instant) {
        if self.user_states.due.is_none_or(|due| due > now) {
            return;
        }
        self.user_states.due = None;
        if let Some(mut state) = self.user_states.pending.pop_front() {
            self.merge_user_state(&mut state, INTENTS_AT_ONCE, now);
            if state.intents() > 0 {
                self.user_states.pending.push_front(state);
            } else if let (Some(join), Some(result)) = (state.initiated, state.join_ended) {
                self.handle_join_ended(join, result, now);
            } else if state.asked {
                self.end_repair_exchange(now);
            }
        }
        if !self.user_states.pending.is_empty() {
            self.user_states.arm(now);
        }
    }

    /// Processes up to `at_once` intents; after the last one, processes the events.
    fn merge_user_state(&mut self, state: &mut UserState, at_once: usize, now: Instant) {
        let before = state.left.len();
        for (node, theirs) in state.left.by_ref().take(at_once) {
            // One above the sender's time, so that the intent is also newer here.
            let ltime = LamportTime(theirs.0.saturating_add(1));
            let prune = false;
            self.handle_leave_intent(&LeaveIntent { ltime, node, prune }, now);
        }
        let at_once = at_once - (before - state.left.len());
        for (node, ltime) in state.joined.by_ref().take(at_once) {
            self.handle_join_intent(&JoinIntent { ltime, node }, now);
        }
        if state.intents() > 0 {
            return;
        }
        let slots = std::mem::take(&mut state.events);
        let new_events = self.merge_events(slots, state.event_ltime, now);
        if state.asked {
            self.repair.note_brought(new_events);
        }
        self.record_membership(self.events.minimum());
        self.note_merged_state(state.initiated, now);
    }

    /// Processes the events; returns the number of new ones.
    fn merge_events(
        &mut self,
        slots: Vec<Option<RecentEvents>>,
        event_ltime: LamportTime,
        now: Instant,
    ) -> u64 {
        let mut slots: Vec<RecentEvents> = slots.into_iter().flatten().collect();
        // Lowest time first, because other nodes send the times in the order of their ring buffers.
        slots.sort_by_key(|slot| slot.ltime);
        let reached = event_ltime.min(self.event_clock.now());
        let missing = self.event_order.lowest_missing();
        let mut times = slots.iter().map(|slot| slot.ltime);
        let lowest = times.find(|ltime| *ltime >= missing && *ltime < reached);
        self.event_order.note_state(reached, lowest, now);
        // Bounds the deliveries that one forged state can cause.
        let (mut room, mut beyond, mut new_events) = (RING_EVENTS_MAX, 0, 0);
        for slot in slots {
            for (name, payload) in slot.events {
                if room == 0 {
                    beyond += 1;
                    continue;
                }
                room -= 1;
                let message = UserEventMessage {
                    ltime: slot.ltime,
                    name,
                    payload,
                    coalesce: false,
                };
                new_events += u64::from(self.handle_user_event(message, Source::Exchange, now));
            }
        }
        if beyond > 0 {
            self.counters.dropped_crowded_events += beyond;
            self.refuse("push/pull with more events than are kept");
        }
        new_events
    }
}
