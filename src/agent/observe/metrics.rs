//! Telemetry (agent spec 4.12): counters, samples and gauges under the reference's names, kept for a minute
//! in intervals of ten seconds, and sent to statsd or statsite if configured.
//!
//! Nothing blocks, and there are no timers unless values are sent: an interval begins with its first value.

mod interval;
mod sinks;

pub use sinks::Sink;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::ordered::OrderedSet;
use crate::os::error::os_error;
use crate::time::{Duration, Instant};
use interval::{Aggregate, Interval};
use sinks::{Statsd, Statsite};

/// Prefix of every name.
const PREFIX: &str = "serf-agent";
/// Length of an interval, and the number of finished ones that are kept.
const INTERVAL_SECONDS: u64 = 10;
const INTERVALS_MAX: usize = 6;
/// How long lines are collected before they are sent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Limits for the number and length of names made from scripts, events and queries: remote peers choose event
/// and query names.
const FREE_NAMES_MAX: usize = 256;
const FREE_NAME_BYTES_MAX: usize = 256;
/// Name that stands for all variable names beyond [`FREE_NAMES_MAX`].
const OTHER: &str = "other";

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since 1970.
    pub unix: Duration,
    /// Time since the start of the agent.
    pub monotonic: Instant,
}

/// Collected values and the sinks they are sent to.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Oldest first; the last one is the current interval.
    intervals: VecDeque<Interval>,
    free_names: OrderedSet<String>,
    host: Option<String>,
    statsd: Option<Statsd>,
    statsite: Option<Statsite>,
    flush_at: Option<Instant>,
}

impl Metrics {
    /// Adds a sink whose address is not resolved yet. `host` is the host name, which becomes part of gauge
    /// names.
    pub fn add_sink(&mut self, sink: Sink, host: String) {
        self.host = Some(host);
        match sink {
            Sink::Statsd => self.statsd = Some(Statsd::default()),
            Sink::Statsite => self.statsite = Some(Statsite::new()),
        }
    }

    /// Sets the address of a sink; does nothing if it is already connected there. An address without a
    /// listener is not an error.
    pub fn set_address(&mut self, sink: Sink, to: SocketAddr, now: Instant) {
        match (sink, &mut self.statsd, &mut self.statsite) {
            (Sink::Statsd, Some(statsd), _) => {
                if let Err(error) = statsd.open(to) {
                    log::error!(target: "agent", "Cannot send to statsd at {to}: {}", os_error(&error));
                }
            }
            (Sink::Statsite, _, Some(statsite)) => statsite.set_address(to),
            _ => return,
        }
        self.flush_at.get_or_insert(now + FLUSH_INTERVAL);
    }

    /// Returns whether a sink has no address, or cannot be reached at the one it has.
    pub fn needs_address(&self, sink: Sink) -> bool {
        match sink {
            Sink::Statsd => self.statsd.as_ref().is_some_and(Statsd::needs_address),
            Sink::Statsite => (self.statsite.as_ref()).is_some_and(Statsite::needs_address),
        }
    }

    /// Returns whether values are sent anywhere.
    pub const fn sends(&self) -> bool {
        self.statsd.is_some() || self.statsite.is_some()
    }

    /// Counts one occurrence; `value` is added to the sum.
    pub fn count(&mut self, name: &str, value: f64, at: Moment) {
        self.count_as(&[name], value, at);
    }

    /// Counts `count` occurrences with a total of `sum`.
    pub fn count_many(&mut self, name: &str, count: u64, sum: f64, at: Moment) {
        if count == 0 {
            return;
        }
        let key = self.key(&[name]);
        let counters = &mut self.interval(at).counters;
        let aggregate = counters.get_or_insert_with(key, || Aggregate::new(at));
        let each = sum / count as f64;
        aggregate.add(each, at);
        // Adds the others at once, each with the mean value.
        let rest = (count - 1) as f64;
        aggregate.count += count - 1;
        aggregate.sum += each * rest;
        aggregate.sum_of_squares += each * each * rest;
        self.emit(&[name], sum, "c", at);
    }

    /// Counts under a name with a variable part.
    pub fn count_free(&mut self, name: &str, free: &[u8], at: Moment) {
        let free = self.bounded(name, free);
        self.count_as(&[name, &free], 1.0, at);
    }

    fn count_as(&mut self, name: &[&str], value: f64, at: Moment) {
        let key = self.key(name);
        let counters = &mut self.interval(at).counters;
        let aggregate = counters.get_or_insert_with(key, || Aggregate::new(at));
        aggregate.add(value, at);
        self.emit(name, value, "c", at);
    }

    /// Records a value.
    pub fn sample(&mut self, name: &str, value: f64, at: Moment) {
        self.samples_as(&[name], &[value], at);
    }

    /// Records several values under one name.
    pub fn samples(&mut self, name: &str, values: &[f64], at: Moment) {
        if !values.is_empty() {
            self.samples_as(&[name], values, at);
        }
    }

    /// Records a duration in milliseconds.
    pub fn time(&mut self, name: &str, duration: Duration, at: Moment) {
        self.sample(name, millis(duration), at);
    }

    /// Records a duration under a name with a variable part.
    pub fn time_free(&mut self, name: &str, free: &[u8], duration: Duration, at: Moment) {
        let free = self.bounded(name, free);
        self.samples_as(&[name, &free], &[millis(duration)], at);
    }

    fn samples_as(&mut self, name: &[&str], values: &[f64], at: Moment) {
        let key = self.key(name);
        let samples = &mut self.interval(at).samples;
        let aggregate = samples.get_or_insert_with(key, || Aggregate::new(at));
        for value in values {
            aggregate.add(*value, at);
        }
        for value in values {
            self.emit(name, *value, "ms", at);
        }
    }

    /// Sets a gauge.
    pub fn gauge(&mut self, name: &str, value: f64, at: Moment) {
        let host = self.host.clone();
        let parts: &[&str] = match &host {
            Some(host) => &[host, name],
            None => &[name],
        };
        let key = self.key(parts);
        self.interval(at).gauges.insert(key, value);
        self.emit(parts, value, "g", at);
    }

    /// Returns a name as it appears in the dump.
    fn key(&self, parts: &[&str]) -> String {
        let bytes: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut key = String::with_capacity(PREFIX.len() + bytes);
        key.push_str(PREFIX);
        for part in parts {
            key.push('.');
            if part.bytes().all(|byte| byte.is_ascii_graphic()) {
                key.push_str(part);
            } else {
                key.extend(part.chars().map(|c| if is_blank(c) { '_' } else { c }));
            }
        }
        key
    }

    /// Returns the variable part of a name, within the limits for number and length.
    fn bounded(&mut self, name: &str, free: &[u8]) -> Cow<'static, str> {
        let mut text = String::from_utf8_lossy(free).into_owned();
        let mut end = text.len().min(FREE_NAME_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        let whole = format!("{name}.{text}");
        if !self.free_names.contains(&whole) {
            if self.free_names.len() >= FREE_NAMES_MAX {
                return OTHER.into();
            }
            self.free_names.insert(whole);
        }
        text.into()
    }

    /// Returns the interval for that time and makes it the current one.
    fn interval(&mut self, at: Moment) -> &mut Interval {
        let start = at.unix.as_secs() / INTERVAL_SECONDS * INTERVAL_SECONDS;
        // A clock that was set back begins a new interval, too; old intervals are never changed.
        if self.intervals.back().is_none_or(|last| last.start != start) {
            let new = Interval {
                start,
                ..Interval::default()
            };
            self.intervals.push_back(new);
        }
        while self.intervals.len() > INTERVALS_MAX + 1 {
            self.intervals.pop_front();
        }
        let last = self.intervals.len() - 1;
        &mut self.intervals[last]
    }

    /// Formats all finished intervals of the last minute.
    pub fn dump(&mut self, at: Moment) -> String {
        let current = self.interval(at).start;
        let oldest = current.saturating_sub(INTERVAL_SECONDS * INTERVALS_MAX as u64);
        let mut text = String::new();
        let finished = self.intervals.len() - 1;
        for interval in self.intervals.iter().take(finished) {
            if interval.start >= oldest {
                interval.write(&mut text);
            }
        }
        text
    }

    fn emit(&mut self, parts: &[&str], value: f64, kind: &str, at: Moment) {
        if !self.sends() {
            return;
        }
        let mut line = PREFIX.to_owned();
        for part in parts {
            line.push('.');
            let plain = |c| if c == ':' || is_blank(c) { '_' } else { c };
            line.extend(part.chars().map(plain));
        }
        let _ = writeln!(line, ":{value:.6}|{kind}");
        if let Some(statsd) = &mut self.statsd {
            statsd.push(line.as_bytes());
        }
        if let Some(statsite) = &mut self.statsite {
            statsite.push(line.as_bytes());
        }
        self.flush_at.get_or_insert(at.monotonic + FLUSH_INTERVAL);
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` if there is nothing to send.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Sends collected values as far as possible without blocking.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.flush_at.is_none_or(|at| at > now) {
            return;
        }
        self.flush_at = None;
        if let Some(statsd) = &mut self.statsd {
            statsd.flush();
        }
        if let Some(statsite) = &mut self.statsite {
            if !statsite.flush(now) {
                self.flush_at = Some(now + FLUSH_INTERVAL.max(statsite.wait(now)));
            }
        }
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
