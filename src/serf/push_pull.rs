//! The Serf layer's part of a push/pull (gossip spec 5.9).

use super::user_events::RING_EVENTS_MAX;
use super::{LamportTime, MemberStatus, Serf};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::swim::JoinId;
use crate::time::Instant;
use crate::wire::NodeName;
use crate::wire::serf::{JoinIntent, LeaveIntent, RecentEvents, SerfPushPull, UserEventMessage};

impl Serf {
    /// What this node tells another.
    pub(super) fn user_state(&self) -> Vec<u8> {
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

    /// What another node told. Nothing of it is passed on. `initiated`: the join of this node that
    /// it belongs to.
    pub(super) fn handle_user_state(
        &mut self,
        bytes: &[u8],
        initiated: Option<JoinId>,
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
        self.member_clock.catch_up(state.ltime);
        self.event_clock.catch_up(state.event_ltime);
        self.query_clock.catch_up(state.query_ltime);
        self.merge_intents(&state, now);
        if initiated.is_some_and(|join| self.join_ignores_old_events(join)) {
            // A time that nobody can have reached must not silence the events to come.
            let reached = state.event_ltime.min(self.event_clock.now());
            self.events.raise_minimum(reached);
        }
        self.merge_events(state.events, now);
    }

    fn merge_intents(&mut self, state: &SerfPushPull, now: Instant) {
        let left: OrderedSet<&NodeName> = state.left_members.iter().collect();
        let times = state.status_ltimes.iter().map(|(n, t)| (n, *t));
        let times: OrderedMap<&NodeName, LamportTime> =
            times.filter(|(node, _)| left.contains(node)).collect();
        for node in &state.left_members {
            // One later than what they have, so that it counts here as well.
            let theirs = times.get(node).map_or(0, |time| time.0);
            let intent = LeaveIntent {
                ltime: LamportTime(theirs.saturating_add(1)),
                node: node.clone(),
                prune: false,
            };
            self.handle_leave_intent(&intent, now);
        }
        for (node, ltime) in &state.status_ltimes {
            if !left.contains(node) {
                let (ltime, node) = (*ltime, node.clone());
                self.handle_join_intent(&JoinIntent { ltime, node }, now);
            }
        }
    }

    fn merge_events(&mut self, slots: Vec<Option<RecentEvents>>, now: Instant) {
        // A forged state must not make this node deliver without end.
        let (mut room, mut beyond) = (RING_EVENTS_MAX, 0);
        for slot in slots.into_iter().flatten() {
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
                self.handle_user_event(message, false, now);
            }
        }
        if beyond > 0 {
            self.counters.dropped_crowded_events += beyond;
            self.refuse("push/pull with more events than are remembered");
        }
    }
}
