//! User events through ten agents of a kind with the LAN profile.

use crate::live::{Agent, Kind, Lab, Member, await_members};
use crate::noise::Rng;
use crate::rpc::Client;
use crate::table::Row;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const AGENTS: usize = 10;
const LATENCY_ROUNDS: usize = 100;
/// Events a second that are tried, until some event is lost.
const RATES: &[usize] = &[
    25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000,
];
/// How long each rate is held.
const HELD: Duration = Duration::from_secs(4);
/// How long a straggler is waited for.
const QUIET: Duration = Duration::from_secs(3);

/// An event that an agent has passed on to a subscriber.
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

/// Ten agents that all know each other, a subscriber at each.
fn ten(kind: Kind) -> Ten {
    let letter = if kind == Kind::Cottar { "C" } else { "S" };
    let lab = Lab::new("ten agents", &letter.repeat(AGENTS));
    let nodes = lab.start_all(|_, spec| spec.log_level("info"));
    let viewers: Vec<&Agent> = nodes.iter().collect();
    await_members(
        &viewers,
        &nodes.iter().map(Member::of).collect::<Vec<_>>(),
        15.0,
    );
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

/// Reports every event until the agent or the listener is gone.
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

/// The time from the request until the last agent has passed the event on: the median, and what 99 of a
/// hundred events keep to.
pub fn latency() -> Vec<Row> {
    let [ours, theirs] = [Kind::Cottar, Kind::Serf].map(|kind| {
        let mut ten = ten(kind);
        let mut rng = Rng::new(7);
        let mut times: Vec<f64> = (0..LATENCY_ROUNDS)
            .map(|round| spread(&mut ten, round, &mut rng))
            .collect();
        times.sort_by(f64::total_cmp);
        let most = times.len() * 99 / 100 - 1;
        (times[times.len() / 2], times[most])
    });
    let row = |name, ours: f64, theirs: f64| {
        Row::numbers(name, ours, theirs, "at most a fifth", ours * 5.0 <= theirs)
    };
    vec![
        row("event to ten agents, median, ms", ours.0, theirs.0),
        row("event to ten agents, 99 %, ms", ours.1, theirs.1),
    ]
}

fn spread(ten: &mut Ten, round: usize, rng: &mut Rng) -> f64 {
    // Away from the beat of the gossip ticks.
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

/// The highest of some rates at which nobody misses an event.
pub fn rate() -> Vec<Row> {
    let mut notes = Vec::new();
    let [ours, theirs] = [Kind::Cottar, Kind::Serf].map(|kind| {
        let mut ten = ten(kind);
        let mut best = 0;
        for rate in RATES {
            let (sent_per_second, lost) = hold(&mut ten, *rate);
            println!("    {kind:?}: {rate} a second ({sent_per_second:.0} reached): {lost} lost");
            if lost > 0 {
                notes.push(format!("{kind:?} loses {lost} at {rate}"));
                break;
            }
            // A machine that cannot even send faster ends the climb.
            if sent_per_second < 0.9 * *rate as f64 {
                notes.push(format!("{kind:?} took no more than {sent_per_second:.0}"));
                break;
            }
            best = *rate;
        }
        best as f64
    });
    let name = "events per second without a loss";
    let reached = ours >= 5.0 * theirs.max(1.0);
    let row = Row::numbers(name, ours, theirs, "at least 5 times", reached);
    vec![row.note(notes.join(", "))]
}

/// Sends at a rate for a while; gives the rate reached, and the number of deliveries that never came.
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
