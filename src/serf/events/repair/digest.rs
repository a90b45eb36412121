//! Digests and summaries: compare which user events two nodes remember without sending the events.

use crate::serf::LamportTime;
use crate::wire::event_digest::{EventDigest, EventSummary, SUMMARY_TIMES_MAX};

use crate::serf::events::identity::mix;
use crate::serf::events::user::UserEventRing;
use crate::serf::lamport::Clock;

/// Number of Lamport times in a digest.
pub(in crate::serf) const DIGEST_TIMES: u64 = 256;

/// Completes the low 32 bits of a time to the time nearest to this node's clock.
pub(in crate::serf) fn complete(low: u32, clock: Clock) -> LamportTime {
    const HALF: u64 = 1 << 31;
    let near = clock.now().0;
    let time = near & !u64::from(u32::MAX) | u64::from(low);
    LamportTime(if time > near.saturating_add(HALF) {
        time.checked_sub(1 << 32).unwrap_or(time)
    } else if time.saturating_add(HALF) < near {
        time.checked_add(1 << 32).unwrap_or(time)
    } else {
        time
    })
}

/// Returns the first time of the digest that ends with `upto`.
pub(in crate::serf) fn digest_from(upto: LamportTime) -> LamportTime {
    LamportTime((upto.0 + 1).saturating_sub(DIGEST_TIMES))
}

/// Computes the digest of the remembered events in the [`DIGEST_TIMES`] times that end with `upto`.
pub(in crate::serf) fn digest(events: &UserEventRing, upto: LamportTime) -> EventDigest {
    let marks = events.marks(digest_from(upto), upto);
    let all = marks.fold(0, |all, (ltime, mark)| all ^ mix(mark ^ mix(ltime.0)));
    let [_, digest @ ..] = all.to_be_bytes();
    EventDigest {
        // The receiver completes the upper bits.
        upto: upto.0 as u32,
        digest,
    }
}

/// Returns the byte for a time's events in a summary; never 0.
fn summary_mark(ltime: LamportTime, mark: u64, salt: u8) -> u8 {
    let mixed = mix(mark ^ mix(ltime.0) ^ u64::from(salt) << 56);
    1 + (mixed % 255) as u8
}

/// Computes the summary of the times from `first` to `last`; only of the last [`SUMMARY_TIMES_MAX`] if there
/// are more.
pub(in crate::serf) fn summary(
    events: &UserEventRing,
    first: LamportTime,
    last: LamportTime,
    salt: u8,
) -> EventSummary {
    let reach = SUMMARY_TIMES_MAX as u64;
    let first = LamportTime(first.0.max((last.0 + 1).saturating_sub(reach)));
    let length = (last.0 + 1).saturating_sub(first.0);
    let mut marks = vec![0; usize::try_from(length).unwrap_or(0)];
    for (ltime, mark) in events.marks(first, last) {
        let place = usize::try_from(ltime.0 - first.0).unwrap_or(usize::MAX);
        if let Some(place) = marks.get_mut(place) {
            *place = summary_mark(ltime, mark, salt);
        }
    }
    EventSummary {
        is_answer: false,
        salt,
        first: first.0 as u32,
        marks,
    }
}

/// Result of a comparison with another node's summary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::serf) struct Difference {
    /// Times at which this node has an event that the other node seems to lack.
    pub(in crate::serf) they_lack: Vec<LamportTime>,
    /// Times at which the other node has an event that this node seems to lack.
    pub(in crate::serf) we_lack: Vec<LamportTime>,
    /// The range that the summary covers; `last` is below `first` if the range is empty.
    pub(in crate::serf) first: LamportTime,
    pub(in crate::serf) last: LamportTime,
}

/// Compares a summary with the times about which this node is certain.
pub(in crate::serf) fn compare(
    events: &UserEventRing,
    clock: Clock,
    theirs: &EventSummary,
) -> Difference {
    let first = complete(theirs.first, clock);
    let last = LamportTime((first.0.saturating_add(theirs.marks.len() as u64)).saturating_sub(1));
    let mut found = Difference {
        first,
        last,
        ..Difference::default()
    };
    let certain_from = events.certain_from(clock);
    let mut ours = events.marks(first, last).peekable();
    for (ltime, &their_mark) in (first.0..).map(LamportTime).zip(&theirs.marks) {
        let mark = ours.next_if(|(at, _)| *at == ltime);
        let our_mark = mark.map_or(0, |(_, mark)| summary_mark(ltime, mark, theirs.salt));
        if ltime < certain_from || our_mark == their_mark {
            continue;
        }
        if our_mark != 0 {
            found.they_lack.push(ltime);
        }
        if their_mark != 0 {
            found.we_lack.push(ltime);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock_at(time: u64) -> Clock {
        Clock::at(time)
    }

    fn memory(clock: Clock, events: &[(u64, &str)]) -> UserEventRing {
        let mut ring = UserEventRing::default();
        for (ltime, name) in events {
            ring.put(clock, LamportTime(*ltime), name.as_bytes(), None, false);
        }
        ring
    }

    #[test]
    fn low_bits_are_completed_to_the_nearest_time() {
        let near = |low: u64, clock: u64| complete(low as u32, clock_at(clock)).0;
        for time in [1, 2, 300, (1 << 32) - 1, 1 << 32, (5 << 32) + 7] {
            for apart in [0, 1, 600, 1 << 30] {
                assert_eq!(near(time, time + apart), time);
                assert_eq!(near(time + apart, time), time + apart);
            }
        }
        // There is no time before the first one.
        assert_eq!(near(u64::from(u32::MAX), 1), u64::from(u32::MAX));
    }

    #[test]
    fn digests_are_equal_if_the_events_are() {
        let clock = clock_at(400);
        let all = [(100, "a"), (144, "b"), (145, "c"), (145, "d"), (399, "e")];
        let one = memory(clock, &all);
        let other = memory(clock, &[all[4], all[3], all[2], all[1]]);
        let equal = |upto| digest(&one, LamportTime(upto)) == digest(&other, LamportTime(upto));
        assert!(
            equal(399),
            "the order does not count, nor does what is out of reach"
        );
        assert!(!equal(300), "100 is within reach");
        for lacking in 1..all.len() {
            let mut some = all.to_vec();
            some.remove(lacking);
            let other = memory(clock, &some);
            assert_ne!(
                digest(&one, LamportTime(399)),
                digest(&other, LamportTime(399))
            );
        }
        let moved = memory(clock, &[(144, "b"), (145, "c"), (146, "d"), (399, "e")]);
        assert_ne!(
            digest(&one, LamportTime(399)),
            digest(&moved, LamportTime(399))
        );
    }

    #[test]
    fn the_digest_never_changes() {
        // Computed with an independent implementation; nodes of other versions must compute the same.
        let ring = memory(clock_at(10), &[(5, "deploy"), (6, "restart")]);
        let digest = digest(&ring, LamportTime(9));
        assert_eq!(digest.upto, 9);
        assert_eq!(digest.digest, [47, 74, 239, 207, 86, 110, 237]);
        let summary = summary(&ring, LamportTime(4), LamportTime(7), 3);
        assert_eq!(
            (summary.first, &summary.marks[..]),
            (4, &[0, 158, 82, 0][..])
        );
    }

    #[test]
    fn a_summary_shows_what_each_side_lacks() {
        let clock = clock_at(50);
        let ours = memory(clock, &[(40, "a"), (41, "b"), (42, "c"), (42, "d")]);
        let theirs = memory(clock, &[(40, "a"), (42, "c"), (44, "e")]);
        let told = summary(&theirs, LamportTime(39), LamportTime(45), 9);
        let found = compare(&ours, clock, &told);
        let times = |times: &[u64]| times.iter().map(|&time| LamportTime(time)).collect();
        assert_eq!(
            found,
            Difference {
                they_lack: times(&[41, 42]),
                we_lack: times(&[42, 44]),
                first: LamportTime(39),
                last: LamportTime(45),
            }
        );
        let nothing = summary(&theirs, LamportTime(46), LamportTime(45), 9);
        assert!(nothing.marks.is_empty());
        let found = compare(&ours, clock, &nothing);
        assert!(found.they_lack.is_empty() && found.we_lack.is_empty());
    }

    #[test]
    fn a_comparison_ignores_times_that_are_forgotten() {
        let clock = clock_at(1_000);
        let ours = memory(clock, &[(600, "a")]);
        let theirs = memory(clock_at(500), &[(300, "x"), (400, "y")]);
        let told = summary(&theirs, LamportTime(300), LamportTime(400), 0);
        let found = compare(&ours, clock, &told);
        assert!(found.we_lack.is_empty() && found.they_lack.is_empty());
    }

    #[test]
    fn a_long_summary_is_of_the_last_times() {
        let clock = clock_at(600);
        let ring = memory(clock, &[(500, "a")]);
        let summary = summary(&ring, LamportTime(1), LamportTime(599), 1);
        assert_eq!(summary.marks.len(), SUMMARY_TIMES_MAX);
        assert_eq!(summary.first, 599 - 383);
        assert_eq!(summary.marks.iter().filter(|mark| **mark != 0).count(), 1);
    }

    #[test]
    fn another_salt_tells_apart_what_one_does_not() {
        // Two different marks of one time collide under one salt in 255, but hardly ever under four.
        let confused = |salt| {
            let pairs = (0..2_000u64).filter(|number| {
                let (a, b) = (mix(*number), mix(number + 1_000_000));
                summary_mark(LamportTime(1), a, salt) == summary_mark(LamportTime(1), b, salt)
            });
            pairs.collect::<Vec<_>>()
        };
        let (first, second) = (confused(1), confused(2));
        assert!(!first.is_empty() && first.len() < 30);
        assert!(first.iter().filter(|pair| second.contains(pair)).count() <= 2);
    }
}
