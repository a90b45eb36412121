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
