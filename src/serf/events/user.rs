//! User events: sending, taking in, and the memory of what was seen (gossip spec 5.7).

use std::sync::Arc;

use super::{SeenEvents, Source, event_hash, mix};
use crate::ordered::OrderedMap;
use crate::serf::config::USER_EVENT_SIZE_MAX_BYTES;
use crate::serf::gossip::{EVENTS, Sample};
use crate::serf::lamport::Clock;
use crate::serf::limits::{BUFFER_SLOTS, RING_EVENTS_MAX};
use crate::serf::{LamportTime, Serf, UserEvent};
use crate::time::Instant;
use crate::wire::name::Escaped;
use crate::wire::serf::{RecentEvents, SerfMessage, UserEventMessage};

/// Events of one time that are remembered; more are refused (gossip spec 8.7).
const SLOT_EVENTS_MAX: usize = 1024;
/// Bytes of one time's events that are remembered; an event beyond is refused.
const SLOT_BYTES_MAX: usize = 1 << 20;
/// Bytes that the whole memory takes. Beyond it the oldest times are given up for good.
const RING_BYTES_MAX: usize = 4 << 20;
/// What an event costs beside its name and payload.
const EVENT_OVERHEAD_BYTES: usize = 48;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Verdict {
    New,
    /// Too old for anybody to tell whether it was seen before.
    Old,
    /// Of a time that this node passes over because it joined later. It is remembered, for others.
    Ignored,
    Seen,
    Full,
}

/// Name and payload.
type Body = (Box<[u8]>, Option<Box<[u8]>>);

/// An event that was seen.
#[derive(Debug)]
struct StoredEvent {
    hash: u64,
    coalesce: bool,
    /// `None`: it is only known that the event was seen, until somebody sends it again. Nobody is sent
    /// it, and it does not count for the mark.
    body: Option<Body>,
}

#[derive(Debug, Default)]
struct Slot {
    events: Vec<StoredEvent>,
    bytes: usize,
    /// Equal at two nodes if the events are that they can send. What nobody can send any more keeps no
    /// two nodes apart.
    mark: u64,
}

impl Slot {
    fn find(&mut self, hash: u64, name: &[u8], payload: &[u8]) -> Option<&mut StoredEvent> {
        self.events.iter_mut().find(|stored| {
            stored.hash == hash
                && stored.body.as_ref().is_none_or(|(stored, with)| {
                    **stored == *name && with.as_deref().unwrap_or_default() == payload
                })
        })
    }

    fn can_be_sent(&self) -> bool {
        self.events.iter().any(|stored| stored.body.is_some())
    }
}

/// The events of the last 512 times.
///
/// Kept by time instead of in a ring of slots: whatever a slot would still hold from the round
/// before is too old to matter, and a quiet node pays nothing.
#[derive(Debug, Default)]
pub(in crate::serf) struct UserEventRing {
    slots: OrderedMap<LamportTime, Slot>,
    bytes: usize,
    count: usize,
    /// Times below are ignored.
    minimum: LamportTime,
    /// Times below are forgotten for good.
    forgotten_below: LamportTime,
}

impl UserEventRing {
    /// Ignores all times below from now on.
    pub(in crate::serf) fn raise_minimum(&mut self, minimum: LamportTime) {
        self.minimum = self.minimum.max(minimum);
    }

    /// The first time that is not ignored.
    pub(in crate::serf) fn minimum(&self) -> LamportTime {
        self.minimum
    }

    /// Remembers events of which only time and hash are known.
    pub(in crate::serf) fn note_seen(&mut self, seen: &SeenEvents) {
        for (ltime, hash) in seen.iter() {
            let slot = self.slots.get_or_insert_with(ltime, Slot::default);
            let is_known = slot.events.iter().any(|stored| stored.hash == hash);
            if is_known || slot.events.len() >= SLOT_EVENTS_MAX {
                continue;
            }
            slot.bytes += EVENT_OVERHEAD_BYTES;
            slot.events.push(StoredEvent {
                hash,
                coalesce: false,
                body: None,
            });
            self.bytes += EVENT_OVERHEAD_BYTES;
            self.count += 1;
        }
        self.shrink();
    }

    /// Judges an event whose time was witnessed, and remembers it.
    pub(in crate::serf) fn put(
        &mut self,
        clock: Clock,
        ltime: LamportTime,
        name: &[u8],
        payload: Option<&[u8]>,
        coalesce: bool,
    ) -> Verdict {
        self.forget_old(clock);
        if ltime < self.forgotten_below || clock.is_forgotten(ltime, BUFFER_SLOTS) {
            return Verdict::Old;
        }
        let is_ignored = ltime < self.minimum;
        let slot = self.slots.get_or_insert_with(ltime, Slot::default);
        let hash = event_hash(name, payload.unwrap_or_default());
        let length = name.len() + payload.map_or(0, <[u8]>::len);
        let has_room = slot.bytes + length <= SLOT_BYTES_MAX;
        let body = || Some((name.into(), payload.map(Into::into)));
        if let Some(stored) = slot.find(hash, name, payload.unwrap_or_default()) {
            if stored.body.is_none() && has_room {
                (stored.body, stored.coalesce) = (body(), coalesce);
                slot.mark ^= mix(hash);
                slot.bytes += length;
                self.bytes += length;
                self.shrink();
            }
            return Verdict::Seen;
        }
        let cost = EVENT_OVERHEAD_BYTES + length;
        if slot.events.len() >= SLOT_EVENTS_MAX || slot.bytes + cost > SLOT_BYTES_MAX {
            return Verdict::Full;
        }
        slot.events.push(StoredEvent {
            hash,
            coalesce,
            body: body(),
        });
        slot.mark ^= mix(hash);
        slot.bytes += cost;
        self.bytes += cost;
        self.count += 1;
        self.shrink();
        if is_ignored {
            return Verdict::Ignored;
        }
        Verdict::New
    }

    /// The lowest time of which it is certain what this node has seen.
    pub(super) fn certain_from(&self, clock: Clock) -> LamportTime {
        let remembered = clock.now().0.saturating_sub(BUFFER_SLOTS);
        self.forgotten_below.max(LamportTime(remembered))
    }

    /// The marks of the times from `first` to `last` of which this node can send an event, in their order.
    /// Two marks of one time are equal if these events are.
    pub(in crate::serf) fn marks(
        &self,
        first: LamportTime,
        last: LamportTime,
    ) -> impl Iterator<Item = (LamportTime, u64)> {
        let slots = self.slots.range_from(&first);
        let slots = slots.take_while(move |(ltime, _)| **ltime <= last);
        let used = slots.filter(|(_, slot)| slot.can_be_sent());
        used.map(|(ltime, slot)| (*ltime, slot.mark))
    }

    /// The events of a time that may be sent to others.
    pub(in crate::serf) fn messages(
        &self,
        ltime: LamportTime,
    ) -> impl Iterator<Item = UserEventMessage> {
        let slot = self.slots.get(&ltime);
        let events = slot.map_or(&[][..], |slot| &slot.events);
        events.iter().filter_map(move |stored| {
            let (name, payload) = stored.body.as_ref()?;
            Some(UserEventMessage {
                ltime,
                name: name.to_vec(),
                payload: payload.as_deref().map(<[u8]>::to_vec),
                coalesce: stored.coalesce,
            })
        })
    }

    /// What a push/pull tells others.
    pub(in crate::serf) fn recent(&self) -> Vec<Option<RecentEvents>> {
        let event = |stored: &StoredEvent| {
            let (name, payload) = stored.body.as_ref()?;
            let payload = payload.as_deref().map(<[u8]>::to_vec);
            Some((name.to_vec(), payload))
        };
        let slots = self.slots.iter().map(|(ltime, slot)| RecentEvents {
            ltime: *ltime,
            events: slot.events.iter().filter_map(event).collect(),
        });
        let used = slots.filter(|slot| !slot.events.is_empty());
        used.map(Some).collect()
    }

    fn forget_old(&mut self, clock: Clock) {
        while let Some((oldest, _)) = self.slots.first_key_value() {
            if !clock.is_forgotten(*oldest, BUFFER_SLOTS) {
                return;
            }
            let Some((_, slot)) = self.slots.pop_first() else {
                return;
            };
            self.bytes -= slot.bytes;
            self.count -= slot.events.len();
        }
    }

    /// Keeps within the budget. A time that is given up must not be accepted again, or its events
    /// would be delivered twice.
    fn shrink(&mut self) {
        while self.bytes > RING_BYTES_MAX || self.count > RING_EVENTS_MAX {
            let Some((ltime, slot)) = self.slots.pop_first() else {
                return;
            };
            self.bytes -= slot.bytes;
            self.count -= slot.events.len();
            let next = LamportTime(ltime.0.saturating_add(1));
            self.forgotten_below = self.forgotten_below.max(next);
        }
    }

    pub(in crate::serf) fn check_invariants(&self) {
        let bytes: usize = self.slots.values().map(|slot| slot.bytes).sum();
        let count: usize = self.slots.values().map(|slot| slot.events.len()).sum();
        assert_eq!((bytes, count), (self.bytes, self.count));
        assert!(count <= RING_EVENTS_MAX);
        assert!(bytes <= RING_BYTES_MAX);
        assert!(self.slots.len() as u64 <= BUFFER_SLOTS + 1);
    }
}

impl Serf {
    /// Fires an event of this node; returns its time.
    ///
    /// # Errors
    /// The reference's words; nothing has happened then.
    pub(in crate::serf) fn fire_user_event(
        &mut self,
        name: Vec<u8>,
        payload: Option<Vec<u8>>,
        coalesce: bool,
        now: Instant,
    ) -> Result<LamportTime, String> {
        let limit = self.config.user_event_size_limit_bytes;
        let bare = name.len() + payload.as_ref().map_or(0, Vec::len);
        check_size(bare, limit, "user event", "before")?;
        let ltime = self.event_clock.now();
        let message = UserEventMessage {
            ltime,
            name,
            payload,
            coalesce,
        };
        let encoded: Arc<[u8]> = SerfMessage::UserEvent(message.clone()).encode().into();
        check_size(encoded.len(), limit, "encoded user event", "after")?;
        self.event_clock.tick();
        self.handle_user_event(message, Source::Own, now);
        if !self.broadcast(EVENTS, encoded, None, now) {
            log::warn!(target: "serf", "User event is too large for a gossip packet, it spreads by push/pull only");
        }
        Ok(ltime)
    }

    /// Takes an event in. Tells whether it is new, so that others should hear of it.
    pub(in crate::serf) fn handle_user_event(
        &mut self,
        message: UserEventMessage,
        source: Source,
        now: Instant,
    ) -> bool {
        if !self.event_clock.witness(message.ltime) {
            self.refuse("user event with an absurd time");
            return false;
        }
        let verdict = self.events.put(
            self.event_clock,
            message.ltime,
            &message.name,
            message.payload.as_deref(),
            message.coalesce,
        );
        match verdict {
            Verdict::New => {}
            Verdict::Seen => return false,
            Verdict::Ignored => {
                let name = Escaped(&message.name);
                log::debug!(target: "serf", "Ignoring event {name} at {} from before the join", message.ltime);
                return false;
            }
            Verdict::Old => {
                let name = Escaped(&message.name);
                log::debug!(target: "serf", "Ignoring old event {name} at {}", message.ltime);
                // A push/pull repeats what was seen long ago; gossip that late has met a flood, or
                // comes from a part of the cluster that was cut off.
                let gossiped = matches!(source, Source::Gossip(_));
                self.counters.dropped_old_events += u64::from(gossiped);
                return false;
            }
            Verdict::Full => {
                self.counters.dropped_crowded_events += 1;
                self.refuse("user event beyond what one time may hold");
                return false;
            }
        }
        self.samples.push(Sample::Event(message.name.clone()));
        self.note_event_for_repair(message.ltime, now);
        let event = UserEvent {
            ltime: message.ltime,
            name: message.name,
            payload: message.payload.unwrap_or_default(),
            coalesce: message.coalesce,
        };
        self.admit_user_event(event, source, now);
        true
    }
}

/// The configured limit and the hard one, in the reference's words.
fn check_size(bytes: usize, limit: usize, what: &str, when: &str) -> Result<(), String> {
    if bytes > limit {
        return Err(format!(
            "{what} exceeds configured limit of {limit} bytes {when} encoding"
        ));
    }
    if bytes > USER_EVENT_SIZE_MAX_BYTES {
        // The newer releases' word; see the table of 5.7.
        let kind = if when == "before" {
            "sane"
        } else {
            "reasonable"
        };
        return Err(format!(
            "{what} exceeds {kind} limit of {USER_EVENT_SIZE_MAX_BYTES} bytes {when} encoding"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock_at(time: u64) -> Clock {
        let mut clock = Clock::new();
        assert!(clock.witness(LamportTime(time - 1)));
        clock
    }

    #[test]
    fn the_memory_reaches_back_512_times() {
        let mut ring = UserEventRing::default();
        let clock = clock_at(1001);
        assert_eq!(
            ring.put(clock, LamportTime(488), b"x", None, false),
            Verdict::Old
        );
        assert_eq!(
            ring.put(clock, LamportTime(489), b"x", None, false),
            Verdict::New
        );
        assert_eq!(
            ring.put(clock, LamportTime(489), b"x", None, false),
            Verdict::Seen
        );
        let clock = clock_at(1002);
        assert_eq!(
            ring.put(clock, LamportTime(489), b"x", None, false),
            Verdict::Old
        );
        ring.check_invariants();
        assert!(ring.recent().is_empty());
    }

    #[test]
    fn name_and_payload_make_an_event_of_a_time() {
        let mut ring = UserEventRing::default();
        let clock = clock_at(10);
        let mut put = |ltime, name: &[u8], payload: Option<&[u8]>| {
            ring.put(clock, LamportTime(ltime), name, payload, false)
        };
        assert_eq!(put(5, b"a", Some(b"1")), Verdict::New);
        assert_eq!(put(5, b"a", Some(b"1")), Verdict::Seen);
        assert_eq!(put(5, b"a", Some(b"2")), Verdict::New);
        assert_eq!(put(5, b"b", Some(b"1")), Verdict::New);
        assert_eq!(put(6, b"a", Some(b"1")), Verdict::New);
        // Nil and empty are the same to handlers.
        assert_eq!(put(7, b"c", None), Verdict::New);
        assert_eq!(put(7, b"c", Some(b"")), Verdict::Seen);
        let recent = ring.recent();
        assert_eq!(recent.len(), 3);
        let first = recent.first().cloned().flatten();
        assert!(first.is_some_and(|slot| slot.ltime.0 == 5 && slot.events.len() == 3));
    }

    #[test]
    fn the_minimum_only_rises() {
        let mut ring = UserEventRing::default();
        ring.raise_minimum(LamportTime(7));
        ring.raise_minimum(LamportTime(3));
        let clock = clock_at(10);
        let mut put = |ltime| ring.put(clock, LamportTime(ltime), b"x", None, false);
        assert_eq!(put(6), Verdict::Ignored);
        assert_eq!(put(6), Verdict::Seen);
        assert_eq!(put(7), Verdict::New);
    }

    #[test]
    fn what_a_join_ignored_is_remembered_and_passed_on() {
        let (mut joined, mut old) = (UserEventRing::default(), UserEventRing::default());
        joined.raise_minimum(LamportTime(7));
        let clock = clock_at(10);
        for ltime in [5, 8] {
            joined.put(clock, LamportTime(ltime), b"x", None, false);
            old.put(clock, LamportTime(ltime), b"x", None, true);
        }
        let marks = |ring: &UserEventRing| -> Vec<_> {
            ring.marks(LamportTime(1), LamportTime(9)).collect()
        };
        assert_eq!(marks(&joined), marks(&old));
        assert_eq!(marks(&old).len(), 2);
        assert_eq!(joined.recent().len(), 2);
        for ltime in [5, 8] {
            assert_eq!(joined.messages(LamportTime(ltime)).count(), 1);
        }
        assert!(old.messages(LamportTime(5)).all(|event| event.coalesce));
        joined.check_invariants();
    }

    #[test]
    fn what_is_known_by_its_hash_alone_counts_when_it_is_sent_again() {
        let mut ring = UserEventRing::default();
        let mut seen = SeenEvents::default();
        seen.insert(LamportTime(5), event_hash(b"x", b"1"));
        ring.note_seen(&seen);
        let marks = |ring: &UserEventRing| ring.marks(LamportTime(1), LamportTime(9)).count();
        assert_eq!((marks(&ring), ring.recent().len()), (0, 0));
        for _ in 0..2 {
            let verdict = ring.put(clock_at(10), LamportTime(5), b"x", Some(b"1"), true);
            assert_eq!(verdict, Verdict::Seen);
            ring.check_invariants();
            assert_eq!((marks(&ring), ring.recent().len()), (1, 1));
        }
        let mut whole = UserEventRing::default();
        whole.put(clock_at(10), LamportTime(5), b"x", Some(b"1"), true);
        let first = |ring: &UserEventRing| ring.marks(LamportTime(1), LamportTime(9)).next();
        assert_eq!(first(&ring), first(&whole));
        let message = ring.messages(LamportTime(5)).next();
        assert!(message.is_some_and(|message| message.coalesce));
    }

    #[test]
    fn one_time_holds_a_bounded_number() {
        let mut ring = UserEventRing::default();
        let clock = clock_at(2);
        for n in 0..SLOT_EVENTS_MAX {
            let name = n.to_string();
            let verdict = ring.put(clock, LamportTime(1), name.as_bytes(), None, false);
            assert_eq!(verdict, Verdict::New);
        }
        let verdict = ring.put(clock, LamportTime(1), b"more", None, false);
        assert_eq!(verdict, Verdict::Full);
        ring.check_invariants();
    }

    #[test]
    fn a_given_up_time_is_not_taken_again() {
        let mut ring = UserEventRing::default();
        let mut clock = Clock::new();
        let payload = vec![0; 64 << 10];
        for time in 1..=100 {
            assert!(clock.witness(LamportTime(time)));
            let verdict = ring.put(clock, LamportTime(time), b"big", Some(&payload), false);
            assert_eq!(verdict, Verdict::New);
            ring.check_invariants();
        }
        let verdict = ring.put(clock, LamportTime(1), b"big", Some(&payload), false);
        assert_eq!(verdict, Verdict::Old);
        let verdict = ring.put(clock, LamportTime(100), b"big", Some(&payload), false);
        assert_eq!(verdict, Verdict::Seen);
    }

    #[test]
    fn sizes_are_refused_in_the_reference_s_words() {
        let text = |bytes, limit, what, when| check_size(bytes, limit, what, when).err();
        assert_eq!(text(512, 512, "user event", "before"), None);
        assert_eq!(
            text(513, 512, "user event", "before").as_deref(),
            Some("user event exceeds configured limit of 512 bytes before encoding")
        );
        assert_eq!(
            text(600, 512, "encoded user event", "after").as_deref(),
            Some("encoded user event exceeds configured limit of 512 bytes after encoding")
        );
        assert_eq!(
            text(9217, 10_000, "user event", "before").as_deref(),
            Some("user event exceeds sane limit of 9216 bytes before encoding")
        );
        assert_eq!(
            text(9217, 10_000, "encoded user event", "after").as_deref(),
            Some("encoded user event exceeds reasonable limit of 9216 bytes after encoding")
        );
    }
}
