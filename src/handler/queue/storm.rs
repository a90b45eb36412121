//! Detects that events with one name keep the queue busy: usually a handler fires the event that it runs for.

use crate::handler::Described;
use crate::handler::outcome::Shown;
use crate::ordered::OrderedMap;
use crate::serf::Event;
use crate::time::{Duration, Instant};

/// Idle time after which the queue no longer counts as busy.
const PAUSE: Duration = Duration::from_secs(1);
/// Busy time before the first warning. It doubles after each warning.
const WARN_AFTER: Duration = Duration::from_secs(30);
/// Minimum number of events for a warning: long-running handlers alone are no storm.
const EVENTS_MIN: u64 = 100;
/// Limit for the counted names; with more names, none has a large share.
const NAMES_MAX: usize = 16;

/// Statistics of the current busy period.
#[derive(Debug)]
pub(super) struct Storm {
    since: Instant,
    idle_since: Option<Instant>,
    warn_after: Duration,
    events: u64,
    by_name: OrderedMap<(bool, Vec<u8>), u64>,
}

impl Default for Storm {
    fn default() -> Self {
        Storm::starting(Instant::ORIGIN)
    }
}

impl Storm {
    fn starting(now: Instant) -> Self {
        Storm {
            since: now,
            idle_since: Some(now),
            warn_after: WARN_AFTER,
            events: 0,
            by_name: OrderedMap::new(),
        }
    }

    /// Notes that the queue is empty.
    pub(super) fn note_idle(&mut self, now: Instant) {
        self.idle_since.get_or_insert(now);
    }

    /// Counts an event that is being processed. Returns how long the queue has been busy, and with how many
    /// events of this name, if a warning is due.
    fn note(&mut self, event: &Event, now: Instant) -> Option<(Duration, u64)> {
        if self.idle_since.is_some_and(|idle| now >= idle + PAUSE) || self.events == 0 {
            *self = Storm::starting(now);
        }
        self.idle_since = None;
        self.events += 1;
        let name = match event {
            Event::User(event) => (false, &event.name),
            Event::Query(query) => (true, &query.name),
            Event::Member(_) => return None,
        };
        let key = (name.0, name.1.clone());
        if self.by_name.get(&key).is_none() && self.by_name.len() >= NAMES_MAX {
            return None;
        }
        let count = self.by_name.get_or_insert_with(key, || 0);
        *count += 1;
        let (count, busy) = (*count, now.since(self.since));
        if busy < self.warn_after || count < EVENTS_MIN || count * 2 < self.events {
            return None;
        }
        self.warn_after = busy.saturating_mul(2);
        Some((busy, count))
    }

    /// Counts an event that is being processed, and logs a warning if its name keeps the queue busy.
    pub(super) fn watch(&mut self, event: &Event, script: &[u8], now: Instant) {
        let Some((busy, count)) = self.note(event, now) else {
            return;
        };
        log::warn!(
            target: "agent",
            "Events '{}' have kept the handlers busy for {}s, {count} of them, with script '{}': does \
             a handler fire the event that it runs for?",
            Described(event),
            busy.as_nanos() / 1_000_000_000,
            Shown(script)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serf::{LamportTime, UserEvent};

    fn event(name: &str) -> Event {
        Event::User(UserEvent {
            ltime: LamportTime(1),
            name: name.into(),
            payload: Vec::new(),
            coalesce: false,
        })
    }

    /// Returns the counts in the warnings of a queue that processes an event every `every`, for `total`.
    fn warnings(names: &[&str], every: Duration, total: Duration) -> Vec<u64> {
        let (mut storm, mut now) = (Storm::default(), Instant::ORIGIN);
        let mut warned = Vec::new();
        for name in names.iter().cycle() {
            if now.since(Instant::ORIGIN) > total {
                return warned;
            }
            warned.extend(storm.note(&event(name), now).map(|(_, count)| count));
            // The queue is empty for a moment.
            storm.note_idle(now + every / 2);
            now += every;
        }
        warned
    }

    #[test]
    fn a_name_that_keeps_the_queue_busy_is_named_less_and_less_often() {
        let (every, minutes) = (Duration::from_millis(10), Duration::from_secs(250));
        assert_eq!(warnings(&["x"], every, minutes), [3001, 6001, 12001, 24001]);
        let mixed = warnings(&["x", "x", "y"], every, Duration::from_secs(40));
        assert_eq!(mixed, [2001]);
    }

    #[test]
    fn ordinary_work_is_not_a_storm() {
        let (millis, minute) = (Duration::from_millis, Duration::from_secs(60));
        // Idle times, too few events, many names.
        assert!(warnings(&["x"], millis(3000), minute).is_empty());
        assert!(warnings(&["x"], millis(900), minute).is_empty());
        assert!(warnings(&["a", "b", "c"], millis(10), minute).is_empty());
    }
}
