//! Telemetry (agent spec 4.12): counters, samples and gauges under the reference's names, kept for a
//! minute in intervals of ten seconds, and sent to statsd or statsite if there is one.
//!
//! Nothing here waits or wakes anybody up by itself unless something is to be sent: intervals begin with
//! the first value in them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use super::sys;
use super::words::os_error;
use crate::time::{Duration, Instant};

/// In front of every name.
const PREFIX: &str = "serf-agent";
/// Length of an interval, and how many finished ones are kept.
const INTERVAL_SECONDS: u64 = 10;
const INTERVALS_MAX: usize = 6;
/// How long lines are collected before they are sent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of one datagram.
const DATAGRAM_BYTES_MAX: usize = 1400;
/// Bytes that wait for statsite.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Time between attempts to reach statsite.
const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// Names made from scripts, events and queries, and how long each may be: others than the operator can
/// make up the latter two.
const FREE_NAMES_MAX: usize = 256;
const FREE_NAME_BYTES_MAX: usize = 256;
/// What names beyond these are counted as.
const OTHER: &str = "other";

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970.
    pub unix: Duration,
    /// Since the start of the agent.
    pub monotonic: Instant,
}

/// The values of one name in one interval.
#[derive(Clone, Copy, Debug)]
struct Aggregate {
    count: u64,
    sum: f64,
    sum_of_squares: f64,
    min: f64,
    max: f64,
    updated: Moment,
}

impl Aggregate {
    fn new(at: Moment) -> Self {
        Aggregate {
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            updated: at,
        }
    }

    fn add(&mut self, value: f64, at: Moment) {
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
        // Rounding may leave a little less than nothing.
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

/// A time as the reference's language prints it, in UTC.
struct Utc(Duration);

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

/// Year, month and day of a number of days since 1970, counted in years that begin in March.
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
struct Interval {
    /// Seconds since 1970.
    start: u64,
    gauges: BTreeMap<String, f64>,
    counters: BTreeMap<String, Aggregate>,
    samples: BTreeMap<String, Aggregate>,
}

impl Interval {
    fn write(&self, text: &mut String) {
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

/// Where values are sent.
#[derive(Clone, Debug, Default)]
pub struct Sinks {
    /// By UDP.
    pub statsd: Option<SocketAddr>,
    /// By TCP.
    pub statsite: Option<SocketAddr>,
    /// Name of the machine, which the names of gauges get.
    pub host: String,
}

/// Telemetry.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The last one is the current one.
    intervals: VecDeque<Interval>,
    free_names: BTreeSet<String>,
    host: Option<String>,
    statsd: Option<Statsd>,
    statsite: Option<Statsite>,
    flush_at: Option<Instant>,
}

impl Metrics {
    /// Opens what values are sent to; an address at which nobody listens is no error.
    pub fn new(sinks: Sinks) -> Self {
        let statsd = sinks.statsd.and_then(|to| match Statsd::open(to) {
            Ok(statsd) => Some(statsd),
            Err(error) => {
                log::error!(target: "agent", "Cannot send to statsd at {to}: {}", os_error(&error));
                None
            }
        });
        let sends = sinks.statsd.is_some() || sinks.statsite.is_some();
        Metrics {
            host: sends.then_some(sinks.host),
            statsd,
            statsite: sinks.statsite.map(Statsite::new),
            ..Metrics::default()
        }
    }

    /// Whether values go anywhere but into memory.
    pub const fn sends(&self) -> bool {
        self.statsd.is_some() || self.statsite.is_some()
    }

    /// Counts once; `value` adds to the sum.
    pub fn count(&mut self, name: &str, value: f64, at: Moment) {
        self.count_as(&[name], value, at);
    }

    /// Counts `count` times, with a sum of `sum`.
    pub fn count_many(&mut self, name: &str, count: u64, sum: f64, at: Moment) {
        if count == 0 {
            return;
        }
        let key = self.key(&[name]);
        let counters = &mut self.interval(at).counters;
        let aggregate = counters
            .entry(key)
            .or_insert_with_key(|_| Aggregate::new(at));
        let each = sum / count as f64;
        aggregate.add(each, at);
        // The rest at once: the mean stands for each of them.
        let rest = (count - 1) as f64;
        aggregate.count += count - 1;
        aggregate.sum += each * rest;
        aggregate.sum_of_squares += each * each * rest;
        self.emit(&[name], sum, "c", at);
    }

    /// Counts under a name that is not known beforehand.
    pub fn count_free(&mut self, name: &str, free: &[u8], at: Moment) {
        let free = self.bounded(name, free);
        self.count_as(&[name, &free], 1.0, at);
    }

    fn count_as(&mut self, name: &[&str], value: f64, at: Moment) {
        let key = self.key(name);
        let counters = &mut self.interval(at).counters;
        let aggregate = counters
            .entry(key)
            .or_insert_with_key(|_| Aggregate::new(at));
        aggregate.add(value, at);
        self.emit(name, value, "c", at);
    }

    /// Notes a value.
    pub fn sample(&mut self, name: &str, value: f64, at: Moment) {
        self.sample_as(&[name], value, at);
    }

    /// Notes a duration, in milliseconds.
    pub fn time(&mut self, name: &str, duration: Duration, at: Moment) {
        self.sample(name, millis(duration), at);
    }

    /// Notes a duration under a name that is not known beforehand.
    pub fn time_free(&mut self, name: &str, free: &[u8], duration: Duration, at: Moment) {
        let free = self.bounded(name, free);
        self.sample_as(&[name, &free], millis(duration), at);
    }

    fn sample_as(&mut self, name: &[&str], value: f64, at: Moment) {
        let key = self.key(name);
        let samples = &mut self.interval(at).samples;
        let aggregate = samples
            .entry(key)
            .or_insert_with_key(|_| Aggregate::new(at));
        aggregate.add(value, at);
        self.emit(name, value, "ms", at);
    }

    /// Notes how much there is of something.
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

    /// A name as the dump shows it.
    fn key(&self, parts: &[&str]) -> String {
        let mut key = PREFIX.to_owned();
        for part in parts {
            key.push('.');
            key.extend(part.chars().map(|c| if is_blank(c) { '_' } else { c }));
        }
        key
    }

    /// A part of a name that somebody made up: there is an end to how many there are, and to how long.
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

    /// The interval of that moment, which becomes the current one.
    fn interval(&mut self, at: Moment) -> &mut Interval {
        let start = at.unix.as_secs() / INTERVAL_SECONDS * INTERVAL_SECONDS;
        // A clock that was set back begins a new interval as well: what has been is not added to.
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

    /// All finished intervals of the last minute, as lines.
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

    /// When [`Self::handle_timeout`] has something to do; never if nothing is to be sent.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Sends what has been collected, as far as it is taken at once.
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

/// Lines on their way to statsd.
#[derive(Debug)]
struct Statsd {
    socket: UdpSocket,
    datagram: Vec<u8>,
}

impl Statsd {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let socket = match to {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Statsd {
            socket,
            datagram: Vec::new(),
        })
    }

    fn push(&mut self, line: &[u8]) {
        if self.datagram.len() + line.len() > DATAGRAM_BYTES_MAX {
            self.flush();
        }
        self.datagram.extend(line);
    }

    fn flush(&mut self) {
        if !self.datagram.is_empty() {
            // Nobody there, or no room: that is what statsd's users have chosen.
            let _ = self.socket.send(&self.datagram);
            self.datagram.clear();
        }
    }
}

/// Lines on their way to statsite.
#[derive(Debug)]
struct Statsite {
    to: SocketAddr,
    stream: Option<TcpStream>,
    pending: VecDeque<u8>,
    /// No attempt to connect before then.
    retry_at: Instant,
    dropped_lines: u64,
    reported: bool,
    /// A line has been sent in part.
    cut: bool,
}

impl Statsite {
    fn new(to: SocketAddr) -> Self {
        Statsite {
            to,
            stream: None,
            pending: VecDeque::new(),
            retry_at: Instant::ORIGIN,
            dropped_lines: 0,
            reported: false,
            cut: false,
        }
    }

    fn push(&mut self, line: &[u8]) {
        if self.pending.len() + line.len() > PENDING_BYTES_MAX {
            self.dropped_lines += 1;
            return;
        }
        self.pending.extend(line);
    }

    fn wait(&self, now: Instant) -> Duration {
        match self.stream {
            Some(_) => Duration::ZERO,
            None => self.retry_at.since(now),
        }
    }

    /// Whether everything is written.
    fn flush(&mut self, now: Instant) -> bool {
        if self.stream.is_none() {
            if self.retry_at > now {
                return false;
            }
            self.retry_at = now + CONNECT_RETRY;
            match sys::connect_from(None, self.to) {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => self.lost(&error),
            }
        }
        while let Some(stream) = &mut self.stream {
            let (front, _) = self.pending.as_slices();
            if front.is_empty() {
                self.pending.shrink_to(DATAGRAM_BYTES_MAX);
                return true;
            }
            match stream.write(front) {
                Ok(count) if count > 0 => {
                    self.cut = self.pending.drain(..count).next_back() != Some(b'\n');
                    self.written();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Still connecting.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => self.lost(&io::ErrorKind::WriteZero.into()),
                Err(error) => self.lost(&error),
            }
        }
        false
    }

    fn written(&mut self) {
        self.reported = false;
        if self.dropped_lines > 0 {
            let count = std::mem::take(&mut self.dropped_lines);
            log::warn!(target: "agent", "{count} lines of telemetry did not reach statsite");
        }
    }

    /// The connection is gone; the operator is told once.
    fn lost(&mut self, error: &io::Error) {
        self.stream = None;
        // The rest of a line means nothing to whoever is connected to next.
        let cut = std::mem::take(&mut self.cut);
        while cut && self.pending.pop_front().is_some_and(|byte| byte != b'\n') {}
        if !self.reported {
            self.reported = true;
            let why = os_error(error);
            log::warn!(target: "agent", "Statsite at {} cannot be reached: {why}", self.to);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// 2026-11-22 19:02:30 UTC, and so many milliseconds later.
    fn at(millis: u64) -> Moment {
        Moment {
            unix: Duration::from_secs(1_795_374_150) + Duration::from_millis(millis),
            monotonic: Instant::from_millis(millis),
        }
    }

    #[test]
    fn the_dump_has_the_references_lines() {
        let mut metrics = Metrics::default();
        metrics.gauge("runtime.sys_bytes", 13_220_880.0, at(1));
        metrics.count("agent.ipc.accept", 1.0, at(5744));
        metrics.count("agent.ipc.accept", 1.0, at(5750));
        metrics.count_many("memberlist.udp.sent", 2, 430.0, at(5744));
        metrics.count_many("memberlist.udp.received", 0, 0.0, at(5744));
        for (millis, value) in [(100, 1.0), (200, 2.0), (300, 6.0)] {
            metrics.sample("serf.msgs.received", value, at(millis));
        }
        let script = Duration::from_micros(5232);
        metrics.time_free("agent.invoke", b"echo a:b\tc", script, at(7000));
        assert_eq!(metrics.dump(at(9999)), "", "nothing is finished");
        let expected = "\
[2026-11-22 19:02:30 +0000 UTC][G] 'serf-agent.runtime.sys_bytes': 13220880.000
[2026-11-22 19:02:30 +0000 UTC][C] 'serf-agent.agent.ipc.accept': Count: 2 Sum: 2.000 LastUpdated: 2026-11-22 19:02:35.75 +0000 UTC m=+5.750000000
[2026-11-22 19:02:30 +0000 UTC][C] 'serf-agent.memberlist.udp.sent': Count: 2 Sum: 430.000 LastUpdated: 2026-11-22 19:02:35.744 +0000 UTC m=+5.744000000
[2026-11-22 19:02:30 +0000 UTC][S] 'serf-agent.agent.invoke.echo_a:b_c': Count: 1 Sum: 5.232 LastUpdated: 2026-11-22 19:02:37 +0000 UTC m=+7.000000000
[2026-11-22 19:02:30 +0000 UTC][S] 'serf-agent.serf.msgs.received': Count: 3 Min: 1.000 Mean: 3.000 Max: 6.000 Stddev: 2.646 Sum: 9.000 LastUpdated: 2026-11-22 19:02:30.3 +0000 UTC m=+0.300000000
";
        assert_eq!(metrics.dump(at(10_000)), expected);
        assert_eq!(metrics.dump(at(69_999)), expected);
        assert_eq!(metrics.dump(at(70_000)), "", "older than a minute");
        assert_eq!(metrics.poll_timeout(), None, "nothing is to be sent");
    }

    #[test]
    fn intervals_come_to_an_end() {
        let mut metrics = Metrics::default();
        for second in 0..1000 {
            metrics.count("x", 1.0, at(second * 1000));
        }
        assert_eq!(metrics.intervals.len(), INTERVALS_MAX + 1);
        let dump = metrics.dump(at(1_000_000));
        assert_eq!(dump.lines().count(), INTERVALS_MAX);
        assert!(
            dump.lines()
                .all(|line| line.contains("Count: 10 Sum: 10.000"))
        );
    }

    #[test]
    fn dates_are_right() {
        let utc = |seconds| Utc(Duration::from_secs(seconds)).to_string();
        assert_eq!(utc(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 +0000 UTC");
        assert_eq!(utc(1_709_251_199), "2024-02-29 23:59:59 +0000 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn made_up_names_are_bounded() {
        let mut metrics = Metrics::default();
        for number in 0..1000 {
            metrics.count_free("serf.events", format!("e{number}").as_bytes(), at(0));
        }
        metrics.time_free("agent.invoke", &[b'x'; 9000], Duration::ZERO, at(0));
        let dump = metrics.dump(at(10_000));
        assert_eq!(dump.lines().count(), FREE_NAMES_MAX + 2);
        assert!(dump.contains("'serf-agent.serf.events.other': Count: 744 "));
        assert!(dump.contains("'serf-agent.agent.invoke.other'"));
        assert_eq!(metrics.bounded("serf.events", b"e7"), "e7");
    }

    #[test]
    fn statsd_gets_lines_in_datagrams() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut metrics = Metrics::new(Sinks {
            statsd: Some(server.local_addr().unwrap()),
            statsite: None,
            host: "my host".into(),
        });
        metrics.handle_timeout(at(1000).monotonic);
        metrics.count("serf.events", 1.0, at(1000));
        metrics.time_free(
            "agent.invoke",
            b"echo a:b c",
            Duration::from_micros(1500),
            at(1050),
        );
        metrics.gauge("runtime.sys_bytes", 7.0, at(1060));
        assert_eq!(metrics.poll_timeout(), Some(Instant::from_millis(1100)));
        metrics.handle_timeout(Instant::from_millis(1099));
        metrics.handle_timeout(Instant::from_millis(1100));
        assert_eq!(metrics.poll_timeout(), None);
        let mut bytes = [0; 1 << 16];
        let len = server.recv(&mut bytes).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&bytes[..len]),
            "serf-agent.serf.events:1.000000|c\n\
             serf-agent.agent.invoke.echo_a_b_c:1.500000|ms\n\
             serf-agent.my_host.runtime.sys_bytes:7.000000|g\n"
        );
        for _ in 0..100 {
            metrics.sample("serf.msgs.received", 1.0, at(2000));
        }
        metrics.handle_timeout(Instant::from_millis(2100));
        let mut lines = 0;
        while lines < 100 {
            let len = server.recv(&mut bytes).unwrap();
            assert!(len <= DATAGRAM_BYTES_MAX);
            assert!(bytes[..len].ends_with(b"\n"));
            lines += bytes[..len].iter().filter(|&&byte| byte == b'\n').count();
        }
        assert_eq!(lines, 100);
    }

    #[test]
    fn statsite_is_found_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        drop(server);
        let mut metrics = Metrics::new(Sinks {
            statsd: None,
            statsite: Some(addr),
            host: "h".into(),
        });
        metrics.count("serf.events", 1.0, at(0));
        let mut now = Instant::ORIGIN;
        // Refused, at the latest when something is written.
        for _ in 0..3 {
            now += CONNECT_RETRY;
            metrics.handle_timeout(now);
        }
        let server = TcpListener::bind(addr).unwrap();
        server.set_nonblocking(true).unwrap();
        let started = std::time::Instant::now();
        let mut stream = loop {
            now += CONNECT_RETRY;
            metrics.handle_timeout(now);
            match server.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(started.elapsed() < Duration::from_secs(10)),
            }
            std::thread::yield_now();
        };
        while metrics.poll_timeout().is_some() {
            now += CONNECT_RETRY;
            metrics.handle_timeout(now);
            assert!(started.elapsed() < Duration::from_secs(10));
        }
        drop(metrics);
        let mut text = String::new();
        stream.set_nonblocking(false).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "serf-agent.serf.events:1.000000|c\n");
    }

    #[test]
    fn a_statsite_that_never_reads_costs_a_bounded_amount() {
        let mut statsite = Statsite::new("127.0.0.1:1".parse().unwrap());
        for _ in 0..100_000 {
            statsite.push(b"serf-agent.serf.events:1.000000|c\n");
        }
        assert!(statsite.pending.len() <= PENDING_BYTES_MAX);
        assert!(statsite.dropped_lines > 0);
    }
}
