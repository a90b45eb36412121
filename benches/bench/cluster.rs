//! User events in clusters of ten agents of one kind, with the LAN profile.

use crate::live::{Agent, Kind, Lab, await_each_other};
use crate::noise::Rng;
use crate::results::Curve;
use crate::rpc::Client;
use crate::table::{Measured, Row};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const AGENTS: usize = 10;
const LATENCY_ROUNDS: usize = 100;
/// Rates, for the chart, at which events are lost.
const LOSSY_RATES: usize = 4;
/// Rates that are tried, in events per second.
const RATES: &[usize] = &[
    25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000,
];
/// Duration of each rate.
const HELD: Duration = Duration::from_secs(4);
/// How long to wait for late events.
const QUIET: Duration = Duration::from_secs(3);

/// An event that an agent has delivered to a subscriber.
pub struct Seen {
    pub agent: usize,
    pub name: String,
    pub at: Instant,
}

struct Ten {
    sender: Client,
    seen: Receiver<Seen>,
    _nodes: Vec<Agent>,
    _lab: Lab,
}

/// Ten agents in one cluster, with a subscriber at each.
fn ten(kind: Kind) -> Ten {
    let letter = if kind == Kind::Cottar { "C" } else { "S" };
    let lab = Lab::new("ten agents", &letter.repeat(AGENTS));
    let nodes = lab.start_all(|_, spec| spec.log_level("info"));
    await_each_other(&nodes, 15.0);
    let seen = listen(&nodes);
    let sender = Client::connect(nodes[0].rpc).expect("an RPC connection");
    Ten {
        sender,
        seen,
        _nodes: nodes,
        _lab: lab,
    }
}

/// Subscribes to the events of all agents.
pub fn listen(nodes: &[Agent]) -> Receiver<Seen> {
    let (tell, seen) = channel();
    for (agent, node) in nodes.iter().enumerate() {
        let (tell, rpc) = (tell.clone(), node.rpc);
        let (ready, is_ready) = channel();
        std::thread::spawn(move || subscribe(agent, rpc, &ready, &tell));
        is_ready.recv().expect("a subscription");
    }
    seen
}

/// Reports every event until the agent or the receiver ends.
fn subscribe(agent: usize, rpc: SocketAddr, ready: &Sender<()>, tell: &Sender<Seen>) {
    let mut client = Client::connect(rpc).expect("an RPC connection");
    client.subscribe().expect("a subscription");
    client
        .read_timeout(Duration::from_secs(600))
        .expect("a timeout");
    ready.send(()).expect("somebody waits");
    while let Ok(name) = client.next_event() {
        let at = Instant::now();
        if tell.send(Seen { agent, name, at }).is_err() {
            return;
        }
    }
}

/// Time from the request until the last agent has delivered the event: the median and the 99th percentile.
/// The kinds are measured in turn.
pub fn latency() -> Measured {
    let mut clusters = [Kind::Cottar, Kind::Serf].map(ten);
    let (mut rng, mut times) = (Rng::new(7), [Vec::new(), Vec::new()]);
    for round in 0..LATENCY_ROUNDS {
        for (ten, times) in clusters.iter_mut().zip(&mut times) {
            times.push(spread(ten, round, &mut rng));
        }
    }
    let curve = |series: &str, times: &[f64]| {
        let points = times.iter().enumerate();
        Curve::new("latency", series, points.map(|(at, ms)| [at as f64, *ms]))
    };
    let curves = vec![curve("cottar", &times[0]), curve("serf", &times[1])];
    times
        .iter_mut()
        .for_each(|times| times.sort_by(f64::total_cmp));
    let row = |name, at: usize| {
        let [ours, theirs] = times.each_ref().map(|times| times[at]);
        Row::numbers(name, ours, theirs, "at most a fifth", ours * 5.0 <= theirs)
    };
    let median = row("event to ten agents, median, ms", LATENCY_ROUNDS / 2);
    let most = LATENCY_ROUNDS * 99 / 100 - 1;
    Measured {
        rows: vec![
            median.rounds(&times[0], &times[1]),
            row("event to ten agents, 99 %, ms", most),
        ],
        curves,
    }
}

fn spread(ten: &mut Ten, round: usize, rng: &mut Rng) -> f64 {
    // Out of step with the gossip ticks.
    std::thread::sleep(Duration::from_millis(150 + rng.below(300) as u64));
    let name = format!("latency-{round}");
    let sent = Instant::now();
    ten.sender.send_event(&name, b"payload").expect("an event");
    ten.sender.accepted().expect("an event");
    let mut last = sent;
    for missing in (1..=AGENTS).rev() {
        let seen = ten
            .seen
            .recv_timeout(Duration::from_secs(10))
            .unwrap_or_else(|_| panic!("{missing} agents never saw {name}"));
        assert_eq!(seen.name, name, "agent {} is late", seen.agent);
        last = last.max(seen.at);
    }
    (last - sent).as_secs_f64() * 1e3
}

/// The highest rate at which no node misses an event, and the losses at some higher rates; the kinds are
/// measured in turn.
pub fn rate() -> Measured {
    let mut climbs = [Kind::Cottar, Kind::Serf].map(Climb::new);
    for rate in RATES {
        for climb in &mut climbs {
            climb.try_rate(*rate);
        }
    }
    let [ours, theirs] = climbs;
    let name = "events per second without a loss";
    let reached = ours.best >= 5.0 * theirs.best.max(1.0);
    let row = Row::numbers(name, ours.best, theirs.best, "at least 5 times", reached);
    let notes: Vec<String> = [&ours, &theirs]
        .into_iter()
        .filter_map(|climb| climb.note.clone())
        .collect();
    Measured {
        rows: vec![row.note(notes.join(", "))],
        curves: vec![
            Curve::new("loss", "cottar", ours.points),
            Curve::new("loss", "serf", theirs.points),
        ],
    }
}

/// The search for the highest rate without losses.
struct Climb {
    kind: Kind,
    ten: Ten,
    /// The highest rate without a loss.
    best: f64,
    /// Number of rates at which events were lost.
    lossy: usize,
    /// Why the best rate is not higher: the first loss, or the rate that was reached.
    note: Option<String>,
    /// The machine cannot send faster.
    is_over: bool,
    /// Rate, and the percentage of deliveries lost.
    points: Vec<[f64; 2]>,
}

impl Climb {
    fn new(kind: Kind) -> Climb {
        Climb {
            kind,
            ten: ten(kind),
            best: 0.0,
            lossy: 0,
            note: None,
            is_over: false,
            points: Vec::new(),
        }
    }

    fn try_rate(&mut self, rate: usize) {
        if self.is_over || self.lossy == LOSSY_RATES {
            return;
        }
        let kind = self.kind;
        let (sent_per_second, lost) = hold(&mut self.ten, rate);
        println!("    {kind:?}: {rate} a second ({sent_per_second:.0} reached): {lost} lost");
        let deliveries = rate * HELD.as_secs() as usize * AGENTS;
        let share = 100.0 * lost as f64 / deliveries as f64;
        self.points.push([sent_per_second.round(), share]);
        self.lossy += usize::from(lost > 0);
        if lost > 0 {
            self.note
                .get_or_insert(format!("{kind:?} loses {lost} of {deliveries} at {rate}"));
        } else if sent_per_second < 0.9 * rate as f64 {
            self.is_over = true;
            self.note
                .get_or_insert(format!("{kind:?} took no more than {sent_per_second:.0}"));
        } else if self.lossy == 0 {
            self.best = rate as f64;
        }
    }
}

/// Sends at a rate for a while; returns the rate reached, and the number of missing deliveries.
fn hold(ten: &mut Ten, rate: usize) -> (f64, usize) {
    let count = rate * HELD.as_secs() as usize;
    let mut writer = ten.sender.split().expect("a second handle");
    let started = Instant::now();
    let sending = std::thread::spawn(move || {
        for index in 0..count {
            let due = Duration::from_secs_f64(index as f64 / rate as f64);
            if let Some(early) = due.checked_sub(started.elapsed()) {
                std::thread::sleep(early);
            }
            writer
                .send_event(&format!("rate-{rate}-{index}"), b"payload")
                .expect("an event");
        }
    });
    for _ in 0..count {
        ten.sender.accepted().expect("an event");
    }
    let reached = count as f64 / started.elapsed().as_secs_f64();
    sending.join().expect("the sender");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut missing = count * AGENTS;
    while missing > 0 {
        let Ok(event) = ten.seen.recv_timeout(QUIET) else {
            break;
        };
        if event.name.starts_with(&format!("rate-{rate}-")) {
            *seen.entry(event.name).or_default() += 1;
            missing -= 1;
        }
    }
    assert!(
        seen.values().all(|copies| *copies <= AGENTS),
        "an event came twice"
    );
    (reached, missing)
}
