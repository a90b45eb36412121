//! Intents, and the buffer for intents about unknown nodes (gossip spec 5.6).

use super::outcome::{IntentKind, IntentOutcome};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::gossip::INTENTS;
use crate::serf::{LamportTime, MemberEventKind, Serf, State};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{JoinIntent, LeaveIntent, SerfMessage};

/// Limit for the names in the buffer; one more evicts the oldest (gossip spec 8.7).
const ENTRIES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Buffered {
    kind: IntentKind,
    ltime: LamportTime,
    at: Instant,
}

/// The newest intent for each unknown name.
#[derive(Debug, Default)]
pub(in crate::serf) struct IntentBuffer {
    entries: OrderedMap<NodeName, Buffered>,
    by_age: OrderedSet<(Instant, NodeName)>,
}

impl IntentBuffer {
    /// Stores an intent unless one at least as new is stored. Returns whether it was stored.
    pub(in crate::serf) fn put(
        &mut self,
        node: &NodeName,
        kind: IntentKind,
        ltime: LamportTime,
        now: Instant,
    ) -> bool {
        if self.entries.get(node).is_some_and(|old| old.ltime >= ltime) {
            return false;
        }
        self.remove(node);
        if self.entries.len() >= ENTRIES_MAX {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.entries.remove(&oldest);
            }
        }
        let at = now;
        self.entries
            .insert(node.clone(), Buffered { kind, ltime, at });
        self.by_age.insert((at, node.clone()));
        true
    }

    /// Removes and returns the intent about a node that has appeared.
    pub(in crate::serf) fn take(&mut self, node: &NodeName) -> Option<(IntentKind, LamportTime)> {
        self.remove(node).map(|entry| (entry.kind, entry.ltime))
    }

    /// Drops intents older than `age_max`.
    pub(in crate::serf) fn reap(&mut self, age_max: Duration, now: Instant) {
        while let Some((at, _)) = self.by_age.first() {
            if now.since(*at) <= age_max {
                return;
            }
            if let Some((_, node)) = self.by_age.pop_first() {
                self.entries.remove(&node);
            }
        }
    }

    pub(in crate::serf) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(in crate::serf) fn contains(&self, node: &NodeName) -> bool {
        self.entries.contains_key(node)
    }

    fn remove(&mut self, node: &NodeName) -> Option<Buffered> {
        let entry = self.entries.remove(node)?;
        self.by_age.remove(&(entry.at, node.clone()));
        Some(entry)
    }

    pub(in crate::serf) fn check_invariants(&self) {
        assert_eq!(self.entries.len(), self.by_age.len());
        assert!(self.entries.len() <= ENTRIES_MAX);
    }
}

impl Serf {
    /// Processes a leave intent; returns whether to rebroadcast it.
    pub(in crate::serf) fn handle_leave_intent(
        &mut self,
        intent: &LeaveIntent,
        now: Instant,
    ) -> bool {
        let LeaveIntent { ltime, node, prune } = intent;
        if !self.member_clock.witness(*ltime, now) {
            self.refuse("leave intent with an implausible time");
            return false;
        }
        let is_new = self.members.judge_intent(node, *ltime) == IntentOutcome::Accepted;
        if is_new && node == self.local_name() && self.state == State::Alive {
            log::debug!(target: "serf", "Refuting an older leave intent");
            self.broadcast_join(now);
            return false;
        }
        match self.members.leave_intent(node, *ltime) {
            IntentOutcome::Unknown => {
                self.forget_lost(node);
                return self.intents.put(node, IntentKind::Leave, *ltime, now);
            }
            IntentOutcome::Stale => return false,
            IntentOutcome::Left => {
                let ip = self.members.member(node.as_bytes()).map(|m| m.addr.ip());
                let ip = ip.map_or_else(String::new, |ip| ip.to_string());
                log::info!(target: "serf", "EventMemberLeave (forced): {node} {ip}");
                self.emit_member_event(MemberEventKind::Leave, node, now);
            }
            IntentOutcome::Accepted => self.watch_leaving(node, now),
        }
        if *prune {
            self.prune(node, now);
        }
        true
    }

    /// Processes a join intent; returns whether to rebroadcast it.
    pub(in crate::serf) fn handle_join_intent(
        &mut self,
        intent: &JoinIntent,
        now: Instant,
    ) -> bool {
        let JoinIntent { ltime, node } = intent;
        if !self.member_clock.witness(*ltime, now) {
            self.refuse("join intent with an implausible time");
            return false;
        }
        if node == self.local_name() && self.state != State::Alive {
            // Only this node itself can revoke its leave.
            return false;
        }
        match self.members.join_intent(node, *ltime) {
            IntentOutcome::Unknown => self.intents.put(node, IntentKind::Join, *ltime, now),
            IntentOutcome::Stale => false,
            IntentOutcome::Accepted | IntentOutcome::Left => {
                self.watch_leaving(node, now);
                true
            }
        }
    }

    /// Broadcasts that this node has joined, at the member clock's time.
    pub(super) fn broadcast_join(&mut self, now: Instant) {
        let intent = JoinIntent {
            ltime: self.member_clock.now(),
            node: self.local_name().clone(),
        };
        self.handle_join_intent(&intent, now);
        let encoded = SerfMessage::Join(intent).encode();
        self.broadcast(INTENTS, encoded.into(), None, now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_a_newer_intent_replaces() {
        let mut buffer = IntentBuffer::default();
        let (node, now) = (name("x"), Instant::ORIGIN);
        assert!(buffer.put(&node, IntentKind::Leave, LamportTime(5), now));
        assert!(!buffer.put(&node, IntentKind::Join, LamportTime(5), now));
        assert!(!buffer.put(&node, IntentKind::Join, LamportTime(4), now));
        assert!(buffer.put(&node, IntentKind::Join, LamportTime(6), now));
        buffer.check_invariants();
        assert_eq!(buffer.take(&node), Some((IntentKind::Join, LamportTime(6))));
        assert_eq!(buffer.take(&node), None);
        assert!(buffer.is_empty());
    }

    #[test]
    fn old_intents_are_dropped() {
        let mut buffer = IntentBuffer::default();
        let age = Duration::from_secs(300);
        buffer.put(
            &name("a"),
            IntentKind::Leave,
            LamportTime(1),
            Instant::ORIGIN,
        );
        let later = Instant::ORIGIN + Duration::from_secs(1);
        buffer.put(&name("b"), IntentKind::Leave, LamportTime(1), later);
        buffer.reap(age, Instant::ORIGIN + age);
        assert!(buffer.contains(&name("a")));
        buffer.reap(age, Instant::ORIGIN + age + Duration::from_nanos(1));
        assert!(!buffer.contains(&name("a")));
        assert!(buffer.contains(&name("b")));
        buffer.check_invariants();
    }

    #[test]
    fn a_flood_of_names_costs_the_oldest() {
        let mut buffer = IntentBuffer::default();
        for n in 0..ENTRIES_MAX as u64 + 10 {
            let node = name(&format!("n{n}"));
            let now = Instant::from_millis(n);
            assert!(buffer.put(&node, IntentKind::Join, LamportTime(1), now));
        }
        buffer.check_invariants();
        assert!(!buffer.contains(&name("n9")));
        assert!(buffer.contains(&name("n10")));
    }
}
