//! Reorder buffer: hands items over in the order of their Lamport times, as far as a short wait for missing
//! ones achieves it.
//!
//! Times are consecutive except for concurrent ones. So a missing time below one that has arrived is probably
//! in flight: packets overtake each other, and senders pack the newest message first. An item waits until no
//! earlier time is missing, or until its wait ends; then the times that are still missing are given up.
//!
//! Each item waits until the end of the loop's turn, so that whatever one turn brings is in order, the late
//! items included, whose time was passed already.

use crate::ordered::OrderedMap;
use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// Limit for the waiting items; one more releases all. Enough for two seconds of 500 items per second behind
/// one missing item.
pub(in crate::serf) const WAITING_MAX: usize = 1024;
/// Limit for the bytes of waiting items, as counted by the caller; more release all.
pub(in crate::serf) const WAITING_BYTES_MAX: usize = 1 << 20;
/// The shortest wait: it ends at the next timeout, which the loop handles when it has read all there is.
const TURN: Duration = Duration::from_nanos(1);

/// The items of one Lamport time.
#[derive(Debug)]
struct Slot<T> {
    /// When missing times below this one are given up.
    due: Instant,
    /// Empty for a time that only has to be marked as not missing.
    items: Vec<T>,
    bytes: usize,
}

/// Items to hand over, in order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::serf) struct Ready<T> {
    pub(in crate::serf) items: Vec<T>,
    /// Number of items handed over after one of a later time.
    pub(in crate::serf) out_of_order: u64,
    /// Number of items released because too many waited.
    pub(in crate::serf) pushed_out: u64,
}

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Ready {
            items: Vec::new(),
            out_of_order: 0,
            pushed_out: 0,
        }
    }
}

/// Reorder buffer for items of type `T`.
#[derive(Debug)]
pub(in crate::serf) struct InOrder<T> {
    /// The lowest time that may be missing. Earlier times have arrived or were given up.
    next: LamportTime,
    waiting: OrderedMap<LamportTime, Slot<T>>,
    /// Number of items plus number of empty slots.
    count: usize,
    bytes: usize,
    /// Earliest due time of all slots.
    due: Option<Instant>,
    /// Highest time handed over.
    latest: LamportTime,
    /// When the turn of the loop ends in which something was added.
    turn_end: Option<Instant>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        InOrder {
            next: LamportTime(1),
            waiting: OrderedMap::new(),
            count: 0,
            bytes: 0,
            due: None,
            latest: LamportTime(0),
            turn_end: None,
        }
    }
}

fn after(time: LamportTime) -> LamportTime {
    LamportTime(time.0.saturating_add(1))
}

impl<T> InOrder<T> {
    /// Adds an item. `wait`: how long it waits for earlier times; `bytes`: its share of
    /// [`WAITING_BYTES_MAX`].
    pub(in crate::serf) fn offer(
        &mut self,
        time: LamportTime,
        item: T,
        bytes: usize,
        wait: Duration,
        now: Instant,
    ) {
        let slot = self.slot(time, wait, now);
        let was_empty = slot.items.is_empty();
        slot.items.push(item);
        slot.bytes += bytes;
        self.count += usize::from(!was_empty);
        self.bytes += bytes;
    }

    /// Marks a time as not missing without adding an item.
    pub(in crate::serf) fn skip(&mut self, time: LamportTime, wait: Duration, now: Instant) {
        if time >= self.next {
            self.slot(time, wait, now);
        }
    }

    fn slot(&mut self, time: LamportTime, wait: Duration, now: Instant) -> &mut Slot<T> {
        self.turn_end.get_or_insert(now + TURN);
        let due = now + wait.max(TURN);
        self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
        let count = &mut self.count;
        let slot = self.waiting.get_or_insert_with(time, || {
            *count += 1;
            Slot {
                due,
                items: Vec::new(),
                bytes: 0,
            }
        });
        slot.due = slot.due.min(due);
        slot
    }

    /// Marks all times below `time` as not missing.
    pub(in crate::serf) fn skip_below(&mut self, time: LamportTime, now: Instant) {
        self.next = self.next.max(time);
        if !self.waiting.is_empty() {
            self.turn_end.get_or_insert(now + TURN);
        }
    }

    /// Processes the event state of another node: its clock, which is one ahead of all times it has seen, and
    /// the lowest time not below [`Self::lowest_missing`] that it remembers.
    ///
    /// A node that knows no time yet starts with the lowest time that the other node remembers. Any other
    /// node, if nothing in it waits for a missing time, skips the times below the clock when the other node
    /// remembers none of them: it has ignored or forgotten them.
    pub(in crate::serf) fn note_state(
        &mut self,
        clock: LamportTime,
        lowest: Option<LamportTime>,
        now: Instant,
    ) {
        let missing = self.lowest_missing();
        match lowest {
            Some(lowest) if missing == LamportTime(1) => self.skip_below(lowest.min(clock), now),
            None if self.last() < Some(missing) => self.skip_below(clock, now),
            _ => {}
        }
    }

    /// Returns the lowest time that may be missing.
    pub(in crate::serf) fn lowest_missing(&self) -> LamportTime {
        let mut missing = self.next;
        for &time in self.waiting.keys() {
            if time > missing {
                break;
            }
            missing = missing.max(after(time));
        }
        missing
    }

    /// Returns when [`Self::take_ready`] must be called. Waits that end in a turn in which something was added
    /// end with the turn: if the loop was delayed, a missing item may still follow.
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.turn_end.or(self.due)
    }

    /// Takes the items that need not wait any longer, once the [deadline](Self::deadline) is reached.
    pub(in crate::serf) fn take_ready(&mut self, now: Instant) -> Ready<T> {
        let mut ready = Ready::default();
        if self.deadline().is_some_and(|due| due <= now) {
            self.turn_end = None;
            let over = self.waiting.iter().filter(|(_, slot)| slot.due <= now);
            let last = over.last().map(|(time, _)| *time);
            self.take_up_to(last, &mut ready);
        }
        ready
    }

    /// Takes the items that no missing time precedes, and then all others, if too many wait; none otherwise.
    pub(in crate::serf) fn take_excess(&mut self) -> Ready<T> {
        let mut ready = Ready::default();
        if self.is_full() {
            self.take_up_to(None, &mut ready);
        }
        if self.is_full() {
            let taken = ready.items.len();
            self.take_up_to(self.last(), &mut ready);
            ready.pushed_out = (ready.items.len() - taken) as u64;
        }
        ready
    }

    fn is_full(&self) -> bool {
        self.count > WAITING_MAX || self.bytes > WAITING_BYTES_MAX
    }

    /// Takes all waiting items.
    pub(in crate::serf) fn take_all(&mut self) -> Ready<T> {
        let mut ready = Ready::default();
        self.take_up_to(self.last(), &mut ready);
        ready
    }

    /// Returns the highest time that waits.
    fn last(&self) -> Option<LamportTime> {
        self.waiting.last_key_value().map(|(time, _)| *time)
    }

    /// Takes all items up to a time, and those that follow without a gap.
    fn take_up_to(&mut self, last: Option<LamportTime>, ready: &mut Ready<T>) {
        let mut taken = false;
        while let Some((&time, _)) = self.waiting.first_key_value() {
            if time > self.next && Some(time) > last {
                break;
            }
            let Some((_, slot)) = self.waiting.pop_first() else {
                break;
            };
            taken = true;
            let items = slot.items.len();
            self.count -= items.max(1);
            self.bytes -= slot.bytes;
            ready.out_of_order += if time < self.latest { items as u64 } else { 0 };
            if items > 0 {
                self.latest = self.latest.max(time);
            }
            ready.items.extend(slot.items);
            self.next = self.next.max(after(time));
        }
        if taken {
            self.due = self.waiting.values().map(|slot| slot.due).min();
        }
    }

    /// Panics if the counts do not match the waiting items.
    pub(in crate::serf) fn check_invariants(&self) {
        let counts = self.waiting.values().map(|slot| slot.items.len().max(1));
        assert_eq!(counts.sum::<usize>(), self.count);
        let bytes: usize = self.waiting.values().map(|slot| slot.bytes).sum();
        assert_eq!(bytes, self.bytes);
        assert_eq!(self.due, self.waiting.values().map(|slot| slot.due).min());
        assert!(self.count <= WAITING_MAX && self.bytes <= WAITING_BYTES_MAX);
        let first = self.waiting.first_key_value().map(|(time, _)| *time);
        assert!(self.turn_end.is_some() || first.is_none_or(|first| first > self.next));
    }
}

#[cfg(test)]
mod tests;
