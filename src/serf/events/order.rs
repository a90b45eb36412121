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
        order.skip_below(t(next), at(0));
        assert_eq!(order.deadline(), None);
        order
    }

    fn offer(order: &mut InOrder<u64>, times: &[u64], millis: u64) {
        for &time in times {
            order.offer(t(time), time, 100, WAIT, at(millis));
        }
    }

    /// Takes what is ready at the end of a turn that began at this time.
    fn take(order: &mut InOrder<u64>, millis: u64) -> Vec<u64> {
        take_with_count(order, millis).0
    }

    /// As [`take`]; also returns how many are out of order.
    fn take_with_count(order: &mut InOrder<u64>, millis: u64) -> (Vec<u64>, u64) {
        assert_eq!(order.take_excess(), Ready::default());
        let end = at(millis) + TURN;
        let ready = order.take_ready(end);
        order.check_invariants();
        assert!(order.deadline().is_none_or(|due| due > end));
        assert_eq!(ready.pushed_out, 0);
        (ready.items, ready.out_of_order)
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
        assert_eq!(order.lowest_missing(), t(8));
    }

    #[test]
    fn what_one_turn_brings_comes_in_order() {
        let mut order = from(10);
        offer(&mut order, &[10, 11], 1);
        // Another input of the same turn brings late ones.
        offer(&mut order, &[9, 8], 1);
        assert_eq!(order.deadline(), Some(at(1) + TURN));
        assert_eq!(order.take_ready(at(1)), Ready::default());
        assert_eq!(order.lowest_missing(), t(12));
        assert_eq!(take_with_count(&mut order, 1), (vec![8, 9, 10, 11], 0));
    }

    #[test]
    fn a_loop_that_was_held_up_reads_before_it_gives_up() {
        let mut order = from(1);
        offer(&mut order, &[3], 1);
        assert_eq!(take(&mut order, 1), NONE);
        // Long after its wait ended, the missing items may still arrive in the same turn.
        for time in [4, 2, 1] {
            offer(&mut order, &[time], 9_000);
            assert_eq!(order.take_ready(at(9_000)), Ready::default());
        }
        assert_eq!(take(&mut order, 9_000), [1, 2, 3, 4]);
        // Nothing more arrived.
        offer(&mut order, &[6], 9_001);
        assert_eq!(take(&mut order, 9_001), NONE);
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
        assert_eq!(take(&mut order, 20), NONE);
        assert_eq!(order.deadline(), Some(at(55)));
        assert_eq!(take(&mut order, 54), NONE);
        // The wait of 12 has ended, which gives up 10. 13 is still waited for, until 70.
        assert_eq!(take(&mut order, 55), [11, 12]);
        assert_eq!(order.deadline(), Some(at(70)));
        offer(&mut order, &[13], 60);
        assert_eq!(take(&mut order, 60), [13, 14]);
        assert_eq!((order.lowest_missing(), order.deadline()), (t(15), None));
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
        // Nothing was handed over before them.
        let all = vec![5, 5, 6, 7, 10];
        assert_eq!(take_with_count(&mut order, 1), (all, 0));
        offer(&mut order, &[9, 8, 10], 2);
        assert_eq!(take_with_count(&mut order, 2), (vec![8, 9, 10], 2));
    }

    #[test]
    fn late_items_and_those_of_the_last_time_do_not_wait() {
        let mut order = from(10);
        for _ in 0..3 {
            offer(&mut order, &[10], 0);
            assert_eq!(take(&mut order, 0), [10]);
        }
        offer(&mut order, &[12, 9, 10], 0);
        assert_eq!(take_with_count(&mut order, 0), (vec![9, 10], 1));
    }

    #[test]
    fn too_many_go_in_their_order() {
        let mut order = from(10);
        for time in (0..=WAITING_MAX as u64).rev() {
            assert_eq!(order.take_excess(), Ready::default());
            offer(&mut order, &[12 + 2 * time], 0);
        }
        let ready = order.take_excess();
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
        assert_eq!(order.take_excess().pushed_out, 0);
        assert_eq!(order.lowest_missing(), t(13 + 2 * WAITING_MAX as u64));
        let mut order = from(10);
        order.offer(t(12), 12, WAITING_BYTES_MAX, WAIT, at(0));
        assert_eq!(take(&mut order, 0), NONE);
        order.offer(t(11), 11, 1, WAIT, at(0));
        let ready = order.take_excess();
        assert_eq!((ready.items, ready.pushed_out), (vec![11, 12], 2));
    }

    #[test]
    fn what_waits_only_for_the_end_of_the_turn_goes_before_others_are_pushed_out() {
        let mut order = from(10);
        let times = || 10..=10 + WAITING_MAX as u64;
        offer(&mut order, &[2_000], 0);
        times().for_each(|time| offer(&mut order, &[time], 0));
        let ready = order.take_excess();
        assert!(ready.items.into_iter().eq(times()));
        assert_eq!(ready.pushed_out, 0);
        assert_eq!(take(&mut order, 0), NONE);
        assert_eq!(take(&mut order, 50), [2_000]);
    }

    #[test]
    fn what_is_below_the_minimum_is_no_gap() {
        let mut order = InOrder::default();
        offer(&mut order, &[8, 10, 12], 0);
        assert_eq!(take(&mut order, 0), NONE);
        order.skip_below(t(10), at(1));
        assert_eq!(take(&mut order, 1), [8, 10]);
        order.skip_below(t(3), at(2));
        assert_eq!(
            (order.lowest_missing(), take(&mut order, 2)),
            (t(11), vec![])
        );
        assert_eq!(order.take_all().items, [12]);
        assert_eq!(order.lowest_missing(), t(13));
        assert_eq!(take(&mut order, 2), NONE);
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn the_state_of_another_node_tells_what_is_missing() {
        // A node that knows no time yet starts with the lowest time that the other remembers, if any.
        for (clock, lowest, next) in [(1, None, 1), (500, None, 500), (500, Some(490), 490)] {
            let mut order: InOrder<u64> = InOrder::default();
            order.note_state(t(clock), lowest.map(t), at(0));
            assert_eq!(order.lowest_missing(), t(next));
        }
        // Otherwise the times in between are missing, except those that the other has forgotten.
        let mut order = from(480);
        order.note_state(t(500), Some(t(490)), at(0));
        assert_eq!(order.lowest_missing(), t(480));
        // What arrived in this turn does not wait for a missing time.
        offer(&mut order, &[480], 0);
        order.note_state(t(500), None, at(0));
        assert_eq!(order.lowest_missing(), t(500));
        assert_eq!(take(&mut order, 0), [480]);
        // The waiting item is later than the state.
        offer(&mut order, &[505], 0);
        order.note_state(t(504), None, at(0));
        assert_eq!(order.lowest_missing(), t(500));
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
