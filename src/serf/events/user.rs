//! User events: sending, receiving, and the memory of events already seen (gossip spec 5.7).

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

/// Limit for the events remembered per time; further ones are refused (gossip spec 8.7).
const SLOT_EVENTS_MAX: usize = 1024;
/// Limit for the bytes of events remembered per time; an event beyond is refused.
const SLOT_BYTES_MAX: usize = 1 << 20;
/// Limit for the bytes of all remembered events. Beyond it the oldest times are dropped permanently.
const RING_BYTES_MAX: usize = 4 << 20;
/// Bytes counted per event in addition to its name and payload.
const EVENT_OVERHEAD_BYTES: usize = 48;

/// Result of [`UserEventRing::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Verdict {
    New,
    /// Too old to tell whether it was seen before.
    Old,
    /// From before this node's join. Remembered in order to pass it on.
    Ignored,
    Seen,
    Full,
}

/// Name and payload of an event.
type Body = (Box<[u8]>, Option<Box<[u8]>>);

/// An event that was seen.
#[derive(Debug)]
struct StoredEvent {
    hash: u64,
    coalesce: bool,
    /// `None`: only the hash is known, from the snapshot, until the event is received again. Such an event is
    /// not sent to others and does not count in the mark.
    body: Option<Body>,
}

#[derive(Debug, Default)]
struct Slot {
    events: Vec<StoredEvent>,
    bytes: usize,
    /// Equal at two nodes that can send the same events of this time. Events without a body do not count, so
    /// they do not make nodes differ.
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
/// A map by time instead of a ring of slots: what a slot of a ring would retain from the previous round is
/// too old to matter, and a quiet node needs no memory.
#[derive(Debug, Default)]
pub(in crate::serf) struct UserEventRing {
    slots: OrderedMap<LamportTime, Slot>,
    bytes: usize,
    count: usize,
    /// Events of earlier times are ignored.
    minimum: LamportTime,
    /// Earlier times are forgotten permanently.
    forgotten_below: LamportTime,
}

impl UserEventRing {
    /// Ignores all times below `minimum` from now on.
    pub(in crate::serf) fn raise_minimum(&mut self, minimum: LamportTime) {
        self.minimum = self.minimum.max(minimum);
    }

    /// Returns the first time that is not ignored.
    pub(in crate::serf) fn minimum(&self) -> LamportTime {
        self.minimum
    }

    /// Adds events of which only time and hash are known.
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

    /// Classifies an event whose time was witnessed, and remembers it.
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

    /// Returns the lowest time from which on this node knows all events that it has seen.
    pub(super) fn certain_from(&self, clock: Clock) -> LamportTime {
        let remembered = clock.now().0.saturating_sub(BUFFER_SLOTS);
        self.forgotten_below.max(LamportTime(remembered))
    }

    /// Returns, in order, the marks of those times from `first` to `last` whose events this node can send.
    /// Equal marks of a time mean equal events.
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

    /// Returns the events of a time that this node can send to others.
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

    /// Returns the events for a push/pull.
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

    /// Drops the oldest times until the memory is within its limits. A dropped time must never be accepted
    /// again, or its events would be delivered twice.
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
    /// Fires an event from this node; returns its time.
    ///
    /// # Errors
    /// Returns the reference's error text, and changes nothing, if the event exceeds a size limit.
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
            log::warn!(target: "serf", "User event is too large for a gossip packet: it spreads only by push/pull");
        }
        Ok(ltime)
    }

    /// Processes a user event; returns whether it is new and must be rebroadcast.
    pub(in crate::serf) fn handle_user_event(
        &mut self,
        message: UserEventMessage,
        source: Source,
        now: Instant,
    ) -> bool {
        if !self.event_clock.witness(message.ltime, now) {
            self.refuse("user event with an implausible time");
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
                // A push/pull repeats events seen long ago. Gossip this late means a flood, or a part of the
                // cluster that was cut off.
                let gossiped = matches!(source, Source::Gossip(_));
                self.counters.dropped_old_events += u64::from(gossiped);
                return false;
            }
            Verdict::Full => {
                self.counters.dropped_crowded_events += 1;
                self.refuse("more user events with one Lamport time than allowed");
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

/// Checks the configured and the hard size limit; returns the reference's error text.
fn check_size(bytes: usize, limit: usize, what: &str, when: &str) -> Result<(), String> {
    if bytes > limit {
        return Err(format!(
            "{what} exceeds configured limit of {limit} bytes {when} encoding"
        ));
    }
    if bytes > USER_EVENT_SIZE_MAX_BYTES {
        // The wording of newer releases; see the table of gossip spec 5.7.
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
mod tests;
