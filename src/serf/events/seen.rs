//! User events handed over recently, as stored in the snapshot: by time and hash, so that after a restart the
//! node can tell missed events from those it had.

use crate::ordered::OrderedMap;
use crate::serf::limits::{BUFFER_SLOTS, RING_EVENTS_MAX};
use crate::wire::serf::LamportTime;

/// User events that were handed over, by time, as hashes ([`crate::serf::event_hash`]).
///
/// Covers the last 512 times and at most 16,384 events, like the memory of a running node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenEvents {
    by_time: OrderedMap<LamportTime, Vec<u64>>,
    count: usize,
}

impl SeenEvents {
    /// Adds an event. If old events had to be dropped for lack of space, returns the highest time among them:
    /// up to it, the set is incomplete.
    pub fn insert(&mut self, ltime: LamportTime, hash: u64) -> Option<LamportTime> {
        let hashes = self.by_time.get_or_insert_with(ltime, Vec::new);
        if hashes.contains(&hash) {
            return None;
        }
        hashes.push(hash);
        self.count += 1;
        let latest = self.latest().map_or(0, |latest| latest.0);
        self.forget_below(LamportTime(latest.saturating_sub(BUFFER_SLOTS - 1)));
        let mut given_up = None;
        while self.count > RING_EVENTS_MAX {
            let Some((ltime, hashes)) = self.by_time.pop_first() else {
                break;
            };
            self.count -= hashes.len();
            given_up = Some(ltime);
        }
        given_up
    }

    /// Drops the events of all times below `ltime`.
    pub fn forget_below(&mut self, ltime: LamportTime) {
        while self
            .by_time
            .first_key_value()
            .is_some_and(|(oldest, _)| *oldest < ltime)
        {
            let hashes = self
                .by_time
                .pop_first()
                .map_or(Vec::new(), |(_, hashes)| hashes);
            self.count -= hashes.len();
        }
    }

    /// Returns the latest time of an event, if any.
    pub fn latest(&self) -> Option<LamportTime> {
        self.by_time.last_key_value().map(|(ltime, _)| *ltime)
    }

    /// Iterates over all events, by time.
    pub fn iter(&self) -> impl Iterator<Item = (LamportTime, u64)> {
        let by_time = self.by_time.iter();
        by_time.flat_map(|(ltime, hashes)| hashes.iter().map(|hash| (*ltime, *hash)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: impl IntoIterator<Item = (u64, u64)>) -> SeenEvents {
        let mut seen = SeenEvents::default();
        for (ltime, hash) in events {
            assert_eq!(seen.insert(LamportTime(ltime), hash), None);
        }
        seen
    }

    #[test]
    fn the_last_512_times_are_kept() {
        let seen = seen((1..=600).map(|time| (time, time)));
        let times: Vec<u64> = seen.iter().map(|(ltime, _)| ltime.0).collect();
        assert_eq!(times, Vec::from_iter(89..=600));
        assert_eq!((seen.count, seen.latest()), (512, Some(LamportTime(600))));
    }

    #[test]
    fn an_event_is_kept_once_and_one_that_is_too_old_not_at_all() {
        let seen = seen([(600, 1), (600, 1), (600, 2), (7, 3)]);
        let times = [(LamportTime(600), 1), (LamportTime(600), 2)];
        assert_eq!(seen.iter().collect::<Vec<_>>(), times);
        assert_eq!(seen.count, 2);
    }

    #[test]
    fn too_many_events_cost_the_oldest_times_and_that_is_told() {
        let mut seen = SeenEvents::default();
        let each = RING_EVENTS_MAX as u64 / 2;
        let times = [7, 8].map(|ltime| (0..each).map(move |hash| (LamportTime(ltime), hash)));
        for (ltime, hash) in times.into_iter().flatten() {
            assert_eq!(seen.insert(ltime, hash), None);
        }
        assert_eq!(seen.insert(LamportTime(9), 0), Some(LamportTime(7)));
        assert_eq!(seen.count, RING_EVENTS_MAX / 2 + 1);
    }
}
