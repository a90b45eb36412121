//! Values of an interval of ten seconds, and their format in a dump.

use std::fmt::{self, Write as _};

use super::Moment;
use crate::ordered::OrderedMap;
use crate::time::{Duration, Instant};

/// Aggregated values of one name in one interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aggregate {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) sum_of_squares: f64,
    min: f64,
    max: f64,
    updated: Moment,
}

impl Aggregate {
    pub(super) fn new(at: Moment) -> Self {
        Aggregate {
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            updated: at,
        }
    }

    pub(super) fn add(&mut self, value: f64, at: Moment) {
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.updated = at;
    }

    fn stddev(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        let variance =
            (count * self.sum_of_squares - self.sum * self.sum) / (count * (count - 1.0));
        // Rounding errors may make it slightly negative.
        variance.max(0.0).sqrt()
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Count: {} ", self.count)?;
        let stddev = self.stddev();
        if stddev > 0.0 {
            let mean = self.sum / self.count as f64;
            let (min, max) = (self.min, self.max);
            write!(
                f,
                "Min: {min:.3} Mean: {mean:.3} Max: {max:.3} Stddev: {stddev:.3} "
            )?;
        }
        let at = self.updated;
        let since = at.monotonic.since(Instant::ORIGIN);
        write!(
            f,
            "Sum: {:.3} LastUpdated: {} m=+{}.{:09}",
            self.sum,
            Utc(at.unix),
            since.as_secs(),
            since.subsec_nanos()
        )
    }
}

/// Displays a time in UTC as Go does.
pub(super) struct Utc(Duration);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, time) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )?;
        if self.0.subsec_nanos() > 0 {
            let fraction = format!("{:09}", self.0.subsec_nanos());
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str(" +0000 UTC")
    }
}

/// Converts days since 1970 to year, month and day. The calculation uses years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = match month_from_march {
        0..=9 => month_from_march + 3,
        _ => month_from_march - 9,
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[derive(Debug, Default)]
pub(super) struct Interval {
    /// Start in seconds since 1970.
    pub(super) start: u64,
    pub(super) gauges: OrderedMap<String, f64>,
    pub(super) counters: OrderedMap<String, Aggregate>,
    pub(super) samples: OrderedMap<String, Aggregate>,
}

impl Interval {
    pub(super) fn write(&self, text: &mut String) {
        let start = Utc(Duration::from_secs(self.start));
        for (name, value) in &self.gauges {
            let _ = writeln!(text, "[{start}][G] '{name}': {value:.3}");
        }
        for (kind, table) in [('C', &self.counters), ('S', &self.samples)] {
            for (name, aggregate) in table {
                let _ = writeln!(text, "[{start}][{kind}] '{name}': {aggregate}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        let utc = |seconds| Utc(Duration::from_secs(seconds)).to_string();
        assert_eq!(utc(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 +0000 UTC");
        assert_eq!(utc(1_709_251_199), "2024-02-29 23:59:59 +0000 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 +0000 UTC");
    }
}
