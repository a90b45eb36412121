//! Collects metrics of all parts under the reference's names (agent spec 4.12).

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Agent, Ticket};
use crate::agent::config::FixedConfig;
use crate::agent::net::Traffic;
use crate::agent::net::addr;
use crate::agent::net::lookup::Answer;
use crate::agent::observe::metrics::{Metrics, Moment, Sink};
use crate::os::clock::{self, Clock};
use crate::os::sys;
use crate::serf;
use crate::serf::gossip::{EVENTS, INTENTS, QUERIES, Sample};
use crate::swim::{self, NodeState};
use crate::time::{Duration, Instant};

/// Interval for setting gauges; queues are sampled every third time (agent spec 4.12).
const GAUGE_INTERVAL: Duration = Duration::from_secs(10);
const QUEUES_EVERY: u32 = 3;
/// The name of a reachable UDP sink is resolved again every sixth time, because nothing shows that it has
/// moved. Names of unreachable sinks are resolved every time.
const NAMES_EVERY: u32 = 6;
/// Default port of both kinds of sinks.
const SINK_PORT: u16 = 8125;
/// Size of a write that a pipe takes without blocking once it is writable.
const DUMP_CHUNK_BYTES: usize = 4096;

/// Counters as of the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    traffic: Traffic,
    swim: swim::Counters,
    serf: serf::Counters,
    clients: u64,
    requests: u64,
}

/// The reference's name of a counter, and its value.
type Count = (&'static str, fn(&Seen) -> u64);

/// Counters since the start.
#[rustfmt::skip]
const COUNTS: &[Count] = &[
    ("agent.ipc.accept", |seen| seen.clients),
    ("agent.ipc.command", |seen| seen.requests),
    ("serf.member.join", |seen| seen.serf.joined),
    ("serf.member.left", |seen| seen.serf.left),
    ("serf.member.failed", |seen| seen.serf.failed),
    ("serf.member.update", |seen| seen.serf.updated),
    ("serf.member.flap", |seen| seen.serf.flapped),
    ("serf.query_acks", |seen| seen.serf.acks),
    ("serf.query_responses", |seen| seen.serf.responses),
    ("serf.query_duplicate_acks", |seen| seen.serf.duplicate_acks),
    ("serf.query_duplicate_responses", |seen| seen.serf.duplicate_responses - seen.serf.duplicate_acks),
    ("memberlist.msg.alive", |seen| seen.swim.alive_accepted),
    ("memberlist.msg.suspect", |seen| seen.swim.suspect_accepted),
    ("memberlist.msg.dead", |seen| seen.swim.dead_accepted),
    ("memberlist.degraded.probe", |seen| seen.swim.degraded_probes),
    ("memberlist.degraded.timeout", |seen| seen.swim.degraded_timeouts),
    ("serf.coordinate.rejected", |seen| seen.serf.refused_coordinates),
    ("serf.coordinate.zero-rtt", |seen| seen.serf.zero_round_trips),
    ("memberlist.tcp.connect", |seen| seen.traffic.connects),
    ("memberlist.tcp.accept", |seen| seen.traffic.accepts),
];

/// A sink whose address is given by name.
#[derive(Debug)]
struct NamedSink {
    sink: Sink,
    /// Address as written in the settings.
    text: String,
    host: String,
    port: u16,
    /// Last reason why there is no address; logged only when it changes.
    failure: Option<String>,
}

/// Metrics and the state for collecting them.
#[derive(Debug)]
pub(super) struct Telemetry {
    metrics: Metrics,
    named: Vec<NamedSink>,
    /// Number of lookups in progress.
    asking: usize,
    seen: Seen,
    next_look: Instant,
    looks: u32,
    /// Script of the active run.
    script: Arc<[u8]>,
}

fn moment(clock: &Clock) -> Moment {
    Moment {
        unix: clock::unix_time(),
        monotonic: clock.now(),
    }
}

const fn word(sink: Sink) -> &'static str {
    match sink {
        Sink::Statsd => "statsd",
        Sink::Statsite => "statsite",
    }
}

impl Telemetry {
    /// Creates the telemetry for the settings. Names are resolved while the agent runs.
    pub(super) fn new(config: &FixedConfig) -> Self {
        let mut telemetry = Telemetry {
            metrics: Metrics::default(),
            named: Vec::new(),
            asking: 0,
            seen: Seen::default(),
            next_look: Instant::ORIGIN,
            looks: 0,
            script: Arc::from([].as_slice()),
        };
        for (sink, text) in [
            (Sink::Statsd, &config.statsd_addr),
            (Sink::Statsite, &config.statsite_addr),
        ] {
            if let Some(text) = text {
                if let Err(why) = telemetry.add_sink(sink, text) {
                    // As in the reference, this does not prevent the start.
                    let kind = word(sink);
                    log::error!(target: "agent", "Cannot send metrics to {kind} at {text}: {why}");
                }
            }
        }
        telemetry
    }

    fn add_sink(&mut self, sink: Sink, text: &str) -> Result<(), String> {
        let (host, port) = addr::split_host_port(text)?;
        let port = port.map_or(Ok(SINK_PORT), |port| addr::parse_port(port, "address"))?;
        let ip = match host {
            "" => Ok(Ipv4Addr::UNSPECIFIED.into()),
            host => host.parse::<IpAddr>(),
        };
        let machine = String::from_utf8_lossy(&sys::host_name()).into_owned();
        self.metrics.add_sink(sink, machine);
        match ip {
            Ok(ip) => (self.metrics).set_address(sink, (ip, port).into(), Instant::ORIGIN),
            Err(_) => self.named.push(NamedSink {
                sink,
                text: text.to_owned(),
                host: host.to_owned(),
                port,
                failure: None,
            }),
        }
        Ok(())
    }

    /// Returns the hosts to resolve now.
    fn unknown_hosts(&self) -> Vec<String> {
        let again = self.looks % NAMES_EVERY == 1;
        let wanted = self.named.iter().filter(|named| {
            let missing = self.metrics.needs_address(named.sink);
            self.asking == 0 && (missing || (again && named.sink == Sink::Statsd))
        });
        wanted.map(|named| named.host.clone()).collect()
    }

    /// Takes the resolver's answer for a host.
    pub(super) fn name_resolved(&mut self, host: &str, answer: &Answer, now: Instant) {
        self.asking = self.asking.saturating_sub(1);
        for named in self.named.iter_mut().filter(|named| named.host == host) {
            let (kind, text) = (word(named.sink), &named.text);
            match answer {
                Ok(ips) => {
                    let v4 = ips.iter().find(|ip| ip.is_ipv4());
                    let Some(ip) = v4.or(ips.first()) else {
                        continue;
                    };
                    (self.metrics).set_address(named.sink, (*ip, named.port).into(), now);
                    if named.failure.take().is_some() {
                        log::info!(target: "agent", "Sending metrics to {kind} at {text} ({ip})");
                    }
                }
                Err(why) if named.failure.as_ref() != Some(why) => {
                    if self.metrics.needs_address(named.sink) {
                        log::error!(target: "agent", "Cannot send metrics to {kind} at {text}: {why}");
                    } else {
                        log::warn!(target: "agent", "Still sending metrics to the old address of {kind} at {text}: {why}");
                    }
                    named.failure = Some(why.clone());
                }
                Err(_) => {}
            }
        }
    }

    /// Returns when [`Agent::measure`] is due without an event; `None` without sinks.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let look = self.metrics.sends().then_some(self.next_look);
        [look, self.metrics.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notes the script of a run that begins.
    pub(super) fn handler_starts(&mut self, script: &Arc<[u8]>) {
        self.script = Arc::clone(script);
    }

    /// Records the duration of a run.
    pub(super) fn handler_ended(&mut self, duration: Duration, clock: &Clock) {
        let at = moment(clock);
        self.metrics
            .time_free("agent.invoke", &self.script, duration, at);
    }

    /// Records the duration of a round of gossip in the core.
    pub(super) fn gossiped(&mut self, duration: Duration, clock: &Clock) {
        self.metrics
            .time("memberlist.gossip", duration, moment(clock));
    }

    /// Records the duration of writing lines to the snapshot.
    pub(super) fn snapshot_written(&mut self, duration: Duration, clock: &Clock) {
        self.metrics
            .time("serf.snapshot.appendLine", duration, moment(clock));
    }

    fn note_samples(&mut self, samples: Vec<Sample>, at: Moment) {
        let metrics = &mut self.metrics;
        // There may be hundreds of these in a turn.
        let (mut received, mut sent) = (Vec::new(), Vec::new());
        for sample in samples {
            match sample {
                Sample::Swim(swim::Sample::Probe(duration)) => {
                    metrics.time("memberlist.probeNode", duration, at)
                }
                Sample::Swim(swim::Sample::PushPull(duration)) => {
                    metrics.time("memberlist.pushPullNode", duration, at)
                }
                Sample::Swim(swim::Sample::MessageIn(bytes)) => received.push(bytes as f64),
                Sample::Swim(swim::Sample::MessageOut(bytes)) => sent.push(bytes as f64),
                Sample::Moved(far) => metrics.time("serf.coordinate.adjustment-ms", far, at),
                Sample::Event(name) => {
                    metrics.count("serf.events", 1.0, at);
                    metrics.count_free("serf.events", &name, at);
                }
                Sample::Query(name) => {
                    metrics.count("serf.queries", 1.0, at);
                    metrics.count_free("serf.queries", &name, at);
                }
            }
        }
        metrics.samples("serf.msgs.received", &received, at);
        metrics.samples("serf.msgs.sent", &sent, at);
    }

    fn note_counts(&mut self, now: Seen, at: Moment) {
        let old = std::mem::replace(&mut self.seen, now);
        for (name, of) in COUNTS {
            let (now, old) = (of(&now), of(&old));
            let count = now.saturating_sub(old);
            self.metrics.count_many(name, count, count as f64, at);
        }
        let (now, old) = (now.traffic, old.traffic);
        for (name, now, old) in [
            (
                "memberlist.udp.received",
                now.datagrams_in,
                old.datagrams_in,
            ),
            ("memberlist.udp.sent", now.datagrams_out, old.datagrams_out),
            ("memberlist.tcp.sent", now.writes, old.writes),
        ] {
            let count = now.count.saturating_sub(old.count);
            let bytes = now.bytes.saturating_sub(old.bytes);
            self.metrics.count_many(name, count, bytes as f64, at);
        }
    }
}

impl Agent {
    /// Records all changes of counters in this turn, and sends values that are due.
    pub(super) fn measure(&mut self) {
        let seen = Seen {
            traffic: self.gossip.traffic(),
            swim: *self.serf.swim().counters(),
            serf: *self.serf.counters(),
            clients: self.clients.accepted_count(),
            requests: self.server.request_count(),
        };
        let samples = self.serf.take_samples();
        let now = self.clock.now();
        if seen != self.telemetry.seen {
            let at = moment(&self.clock);
            self.telemetry.note_counts(seen, at);
        }
        if !samples.is_empty() {
            let at = moment(&self.clock);
            self.telemetry.note_samples(samples, at);
        }
        if self.telemetry.next_look <= now {
            self.look(now);
        }
        self.telemetry.metrics.handle_timeout(now);
    }

    fn look(&mut self, now: Instant) {
        self.telemetry.next_look = now + GAUGE_INTERVAL;
        self.telemetry.looks = self.telemetry.looks.wrapping_add(1);
        let hosts = self.telemetry.unknown_hosts();
        if !hosts.is_empty() {
            self.telemetry.asking = hosts.len();
            let registry = self.poll.registry();
            self.resolver
                .resolve(Ticket::Telemetry, hosts, registry, now);
        }
        let at = moment(&self.clock);
        let metrics = &mut self.telemetry.metrics;
        if let Some(bytes) = resident_bytes() {
            metrics.gauge("runtime.sys_bytes", bytes as f64, at);
        }
        let swim = self.serf.swim();
        let mut instances = [
            (NodeState::Alive, "memberlist.node.instances.alive", 0.0),
            (NodeState::Suspect, "memberlist.node.instances.suspect", 0.0),
            (NodeState::Dead, "memberlist.node.instances.dead", 0.0),
            (NodeState::Left, "memberlist.node.instances.left", 0.0),
        ];
        for node in swim.nodes() {
            for (state, _, count) in &mut instances {
                *count += if node.state == *state { 1.0 } else { 0.0 };
            }
        }
        for (_, name, count) in instances {
            metrics.gauge(name, count, at);
        }
        if self.telemetry.looks % QUEUES_EVERY != 1 {
            return;
        }
        for (name, len) in [
            ("serf.queue.Intent", swim.queue_len(INTENTS)),
            ("serf.queue.Event", swim.queue_len(EVENTS)),
            ("serf.queue.Query", swim.queue_len(QUERIES)),
            ("memberlist.queue.broadcasts", swim.membership_queue_len()),
        ] {
            metrics.sample(name, len as f64, at);
        }
    }

    /// Prints the metrics in memory on stderr, as far as possible without blocking.
    pub(super) fn dump_metrics(&mut self) {
        self.measure();
        let text = self.telemetry.metrics.dump(moment(&self.clock));
        let mut stderr = io::stderr();
        for chunk in text.as_bytes().chunks(DUMP_CHUNK_BYTES) {
            if !sys::is_writable(stderr.as_fd(), 0) || stderr.write_all(chunk).is_err() {
                log::warn!(target: "agent", "Metrics not printed: stderr is not read");
                return;
            }
        }
    }
}

/// Returns the resident memory of this process in bytes.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(sys::page_bytes())
}
