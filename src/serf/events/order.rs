//! Reorder buffer: hands items over in the order of their Lamport times, as far as a short wait for missing
//! ones achieves it.
//!
//! Times are consecutive except for concurrent ones. So a missing time below one that has arrived is probably
//! in flight: packets overtake each other, and senders pack the newest message first. An item waits until no
//! earlier time is missing, or until its wait ends; then the times that are still missing are given up. An
//! item whose time was passed already waits until the end of the loop's turn, so that late items of one turn
//! are also in order.

use std::cmp::Ordering;

use crate::ordered::OrderedMap;
use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// Limit for the waiting items; one more releases all. Enough for two seconds of 500 items per second behind
/// one missing item.
pub(in crate::serf) const WAITING_MAX: usize = 1024;
/// Limit for the bytes of waiting items, as counted by the caller; more release all.
pub(in crate::serf) const WAITING_BYTES_MAX: usize = 1 << 20;
/// Wait of an item whose time was passed: ends at the next timeout that is handled.
const LATE_WAIT: Duration = Duration::from_nanos(1);

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
    /// Times up to this one were found not to be missing since the last [`Self::take_ready`].
    passed: Option<LamportTime>,
    /// Something was added since the last [`Self::take_ready`]: more may follow in this turn of the loop.
    arriving: bool,
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
            passed: None,
            arriving: false,
        }
    }
}

fn after(time: LamportTime) -> LamportTime {
    LamportTime(time.0.saturating_add(1))
}

impl<T> InOrder<T> {
    /// Adds an item. `wait`: how long it waits for earlier times; `bytes`: its share of
    /// [`WAITING_BYTES_MAX`]. The caller must call [`Self::take_ready`] afterwards.
    pub(in crate::serf) fn offer(
        &mut self,
        time: LamportTime,
        item: T,
        bytes: usize,
        wait: Duration,
        now: Instant,
    ) {
        self.arriving = true;
        let slot = self.slot(time, wait, now);
        let was_empty = slot.items.is_empty();
        slot.items.push(item);
        slot.bytes += bytes;
        self.count += usize::from(!was_empty);
        self.bytes += bytes;
    }

    /// Marks a time as not missing without adding an item. The caller must call [`Self::take_ready`]
    /// afterwards.
    pub(in crate::serf) fn skip(&mut self, time: LamportTime, wait: Duration, now: Instant) {
        self.arriving = true;
        if time >= self.next {
            self.slot(time, wait, now);
        }
    }

    fn slot(&mut self, time: LamportTime, wait: Duration, now: Instant) -> &mut Slot<T> {
        let wait = match time.cmp(&self.next) {
            Ordering::Less => LATE_WAIT,
            _ => wait.max(LATE_WAIT),
        };
        let due = now + wait;
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

    /// Marks all times below `time` as not missing. The caller must call [`Self::take_ready`] afterwards.
    pub(in crate::serf) fn skip_below(&mut self, time: LamportTime) {
        self.arriving = true;
        if time > self.next {
            self.next = time;
            self.passed = time.0.checked_sub(1).map(LamportTime);
        }
    }

    /// Processes the event state of another node: its clock, which is one ahead of all times it has seen, and
    /// the lowest time not below [`Self::next`] that it remembers. The caller must call [`Self::take_ready`]
    /// afterwards.
    ///
    /// A node that knows no time yet starts with the lowest time that the other node remembers. Any other
    /// node, if nothing waits in it, skips the times below the clock when the other node remembers none of
    /// them: it has ignored or forgotten them.
    pub(in crate::serf) fn note_state(&mut self, clock: LamportTime, lowest: Option<LamportTime>) {
        let knows_nothing = self.next == LamportTime(1);
        match lowest {
            Some(lowest) if knows_nothing => self.skip_below(lowest.min(clock)),
            None if self.waiting.is_empty() => self.skip_below(clock),
            _ => {}
        }
    }

    /// Returns the lowest time that may be missing.
    pub(in crate::serf) fn next(&self) -> LamportTime {
        self.next
    }

    /// Whether something was added since the last [`Self::take_ready`].
    pub(in crate::serf) fn is_arriving(&self) -> bool {
        self.arriving
    }

    /// Returns when [`Self::take_ready`] must be called.
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the items that need not wait any longer. Waits end only at a timeout, when nothing was added
    /// since the last call: if the loop was delayed, the missing item may follow in the same turn.
    pub(in crate::serf) fn take_ready(&mut self, now: Instant) -> Ready<T> {
        let timeout = !std::mem::take(&mut self.arriving);
        let mut last = None;
        if timeout && self.due.is_some_and(|due| due <= now) {
            let over = self.waiting.iter().filter(|(_, slot)| slot.due <= now);
            last = over.last().map(|(time, _)| *time);
        }
        let mut ready = Ready::default();
        self.take_up_to(last, &mut ready);
        if self.count > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            let taken = ready.items.len();
            self.take_up_to(self.last(), &mut ready);
            ready.pushed_out = (ready.items.len() - taken) as u64;
        }
        ready
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
        let last = last.max(self.passed.take());
        let mut taken = false;
        while let Some((&time, _)) = self.waiting.first_key_value() {
            // Items of equal time have no order among each other.
            let is_next = time == self.next || time == self.latest;
            if Some(time) > last && !is_next {
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
        assert!(first != Some(self.next) && first != Some(self.latest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(50);
    const NONE: [u64; 0] = [];

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn t(time: u64) -> LamportTime {
        LamportTime(time)
    }

    /// Makes a buffer that has passed all times below `next`.
    fn from(next: u64) -> InOrder<u64> {
        let mut order = InOrder::default();
        order.skip_below(t(next));
        assert_eq!(take(&mut order, 0), NONE);
        order
    }

    fn offer(order: &mut InOrder<u64>, times: &[u64], millis: u64) {
        for &time in times {
            order.offer(t(time), time, 100, WAIT, at(millis));
        }
    }

    fn take(order: &mut InOrder<u64>, millis: u64) -> Vec<u64> {
        let ready = order.take_ready(at(millis));
        order.check_invariants();
        assert!(order.deadline().is_none_or(|due| due > at(millis)));
        ready.items
    }

    #[test]
    fn without_a_gap_nothing_waits() {
        let mut order = InOrder::default();
        for time in 1..=5 {
            offer(&mut order, &[time], time);
            assert_eq!(take(&mut order, time), [time]);
            assert_eq!(order.deadline(), None);
        }
        // A time that was skipped is not a gap.
        order.skip(t(6), WAIT, at(6));
        assert_eq!(take(&mut order, 6), NONE);
        offer(&mut order, &[7], 6);
        assert_eq!(take(&mut order, 6), [7]);
        assert_eq!(order.next(), t(8));
    }

    #[test]
    fn a_loop_that_was_held_up_reads_before_it_gives_up() {
        let mut order = from(1);
        offer(&mut order, &[3], 1);
        assert_eq!(take(&mut order, 1), NONE);
        // Long after its wait ended, the missing items may still arrive in the same turn.
        offer(&mut order, &[4], 9_000);
        assert_eq!(order.take_ready(at(9_000)).items, NONE);
        offer(&mut order, &[2], 9_000);
        assert_eq!(order.take_ready(at(9_000)).items, NONE);
        offer(&mut order, &[1], 9_000);
        assert_eq!(take(&mut order, 9_000), [1, 2, 3, 4]);
        // Nothing more arrived.
        offer(&mut order, &[6], 9_001);
        assert_eq!(order.take_ready(at(9_900)).items, NONE);
        assert_eq!(take(&mut order, 9_900), [6]);
    }

    #[test]
    fn a_burst_backwards_comes_out_forwards() {
        let mut order = InOrder::default();
        for time in (2..=5).rev() {
            offer(&mut order, &[time], 1);
            assert_eq!(take(&mut order, 1), NONE);
        }
        offer(&mut order, &[1], 1);
        assert_eq!(take(&mut order, 1), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_gap_is_waited_for_and_then_given_up() {
        let mut order = from(10);
        offer(&mut order, &[12], 5);
        offer(&mut order, &[14, 11], 20);
        assert_eq!(order.deadline(), Some(at(55)));
        assert_eq!(take(&mut order, 54), NONE);
        // The wait of 12 has ended, which gives up 10. 13 is still waited for, until 70.
        assert_eq!(take(&mut order, 55), [11, 12]);
        assert_eq!(order.deadline(), Some(at(70)));
        offer(&mut order, &[13], 60);
        assert_eq!(take(&mut order, 60), [13, 14]);
        assert_eq!((order.next(), order.deadline()), (t(15), None));
    }

    #[test]
    fn the_shortest_wait_releases_all_earlier_items() {
        let mut order = from(10);
        order.offer(t(11), 11, 1, WAIT * 5, at(0));
        order.offer(t(13), 13, 1, WAIT, at(0));
        order.offer(t(15), 15, 1, WAIT * 5, at(0));
        assert_eq!(take(&mut order, 0), NONE);
        assert_eq!(take(&mut order, 50), [11, 13]);
        assert_eq!(take(&mut order, 249), NONE);
        assert_eq!(take(&mut order, 250), [15]);
    }

    #[test]
    fn late_ones_of_a_turn_come_in_their_order() {
        let mut order = from(10);
        offer(&mut order, &[7, 5, 10, 6, 5], 1);
        // They wait for the end of the turn, and 10 waits with them.
        assert_eq!(take(&mut order, 1), NONE);
        let ready = order.take_ready(at(1) + LATE_WAIT);
        assert_eq!(ready.items, [5, 5, 6, 7, 10]);
        // Nothing was handed over before them.
        assert_eq!(ready.out_of_order, 0);
        offer(&mut order, &[9, 8, 10], 2);
        assert_eq!(take(&mut order, 2), NONE);
        let ready = order.take_ready(at(3));
        assert_eq!((ready.items, ready.out_of_order), (vec![8, 9, 10], 2));
    }

    #[test]
    fn items_of_the_last_time_do_not_wait() {
        let mut order = from(10);
        for _ in 0..3 {
            offer(&mut order, &[10], 0);
            assert_eq!(take(&mut order, 0), [10]);
        }
        offer(&mut order, &[9, 10], 0);
        assert_eq!(take(&mut order, 0), NONE);
        assert_eq!(take(&mut order, 1), [9, 10]);
    }

    #[test]
    fn too_many_go_in_their_order() {
        let mut order = from(10);
        for time in (0..=WAITING_MAX as u64).rev() {
            assert_eq!(take(&mut order, 0), NONE);
            offer(&mut order, &[12 + 2 * time], 0);
        }
        let ready = order.take_ready(at(0));
        assert_eq!(ready.items.len(), WAITING_MAX + 1);
        assert!(ready.items.is_sorted());
        assert_eq!(ready.pushed_out, WAITING_MAX as u64 + 1);
        assert_eq!(ready.out_of_order, 0);
        order.check_invariants();

        // Slots that only mark a time count as well, and so do bytes.
        let mut order: InOrder<u64> = from(10);
        for time in 0..=WAITING_MAX as u64 {
            order.skip(t(12 + 2 * time), WAIT, at(0));
        }
        assert_eq!(order.take_ready(at(0)).pushed_out, 0);
        assert_eq!(order.next(), t(13 + 2 * WAITING_MAX as u64));
        let mut order = from(10);
        order.offer(t(12), 12, WAITING_BYTES_MAX, WAIT, at(0));
        assert_eq!(take(&mut order, 0), NONE);
        order.offer(t(11), 11, 1, WAIT, at(0));
        assert_eq!(order.take_ready(at(0)).items, [11, 12]);
    }

    #[test]
    fn what_is_below_the_minimum_is_no_gap() {
        let mut order = InOrder::default();
        offer(&mut order, &[8, 10, 12], 0);
        assert_eq!(take(&mut order, 0), NONE);
        order.skip_below(t(10));
        assert_eq!(take(&mut order, 0), [8, 10]);
        order.skip_below(t(3));
        assert_eq!((order.next(), take(&mut order, 0)), (t(11), vec![]));
        assert_eq!(order.take_all().items, [12]);
        assert_eq!((order.next(), order.deadline()), (t(13), None));
    }

    #[test]
    fn the_state_of_another_node_tells_what_is_missing() {
        // A node that knows no time yet starts with the lowest time that the other remembers, if any.
        for (clock, lowest, next) in [(1, None, 1), (500, None, 500), (500, Some(490), 490)] {
            let mut order: InOrder<u64> = InOrder::default();
            order.note_state(t(clock), lowest.map(t));
            assert_eq!(order.next(), t(next));
        }
        // Otherwise the times in between are missing, except those that the other has forgotten.
        let mut order = from(480);
        order.note_state(t(500), Some(t(490)));
        assert_eq!(order.next(), t(480));
        order.note_state(t(500), None);
        assert_eq!(order.next(), t(500));
        // The waiting item is later than the state.
        offer(&mut order, &[505], 0);
        order.note_state(t(504), None);
        assert_eq!(order.next(), t(500));
    }

    #[test]
    fn the_last_time_there_is_does_not_block() {
        let mut order = InOrder::default();
        offer(&mut order, &[u64::MAX, u64::MAX - 1], 0);
        assert_eq!(take(&mut order, 0), NONE);
        assert_eq!(take(&mut order, 50), [u64::MAX - 1, u64::MAX]);
        offer(&mut order, &[u64::MAX], 60);
        assert_eq!(take(&mut order, 60), [u64::MAX]);
    }
}
