//! Time of day as handlers see it, and ids of events.

use std::fmt;

use crate::serf::{Event, UserEvent, event_hash};
use crate::time::{Duration, Instant};

/// A point in time on both clocks. The core itself reads no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time, for deadlines.
    pub now: Instant,
    /// Time of day: microseconds since 1970 in UTC. It may jump.
    pub unix_micros: u64,
}

impl Moment {
    /// Converts an instant of the monotonic clock to the time of day, in microseconds since 1970.
    pub fn unix_micros_of(&self, instant: Instant) -> u64 {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let ahead = micros(instant.since(self.now));
        let behind = micros(self.now.since(instant));
        self.unix_micros
            .saturating_add(ahead)
            .saturating_sub(behind)
    }
}

/// For callers that have only the monotonic clock: its origin counts as 1970.
impl From<Instant> for Moment {
    fn from(now: Instant) -> Self {
        Moment {
            now,
            unix_micros: now.as_nanos() / 1000,
        }
    }
}

/// Displays microseconds since 1970 as RFC 3339 in UTC, with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1000;
        let (days, millis) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil(days);
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// Returns year, month and day of the Gregorian calendar, `days` after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    let year = era * 400 + year + u64::from(is_next_year);
    (year, month, day_of_month)
}

/// Returns the id of a user event: `user:`, its Lamport time and the hash of its name and payload. All nodes
/// give the same event the same id.
pub fn user_event_id(event: &UserEvent) -> String {
    let hash = event_hash(&event.name, &event.payload);
    format!("user:{}:{hash:016x}", event.ltime)
}

/// Returns the id of an event. Ids of user events and queries are the same on all nodes. Member events are
/// local: their ids contain `local`, which must differ from all earlier values.
pub fn event_id(event: &Event, local: u64) -> String {
    match event {
        Event::User(event) => user_event_id(event),
        Event::Query(query) => format!("query:{}:{}", query.ltime, query.id),
        Event::Member(event) => format!("{}:{local}", event.kind.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let micros = seconds * 1_000_000 + 7_999;
            assert_eq!(Rfc3339(micros).to_string(), shown);
        }
        // Each date is the day after the one before.
        let mut last = civil(0);
        for days in 1..100_000 {
            let next = civil(days);
            let follows = next == (last.0, last.1, last.2 + 1)
                || next == (last.0, last.1 + 1, 1) && last.2 >= 28
                || next == (last.0 + 1, 1, 1) && (last.1, last.2) == (12, 31);
            assert!(follows, "{last:?} {next:?}");
            last = next;
        }
    }
}
