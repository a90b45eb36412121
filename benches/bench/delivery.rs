//! Events and queries that arrive late or not at all under packet loss, in clusters of eight agents with the
//! LAN profile, in separate network namespaces. In clusters of up to nine members each node transmits an
//! event four times, in larger ones eight times: so clusters of eight lose the most.
//!
//! `COTTAR_BENCH_AGENTS`, `COTTAR_BENCH_EVENTS`, `COTTAR_BENCH_RATE` and `COTTAR_BENCH_QUERIES` change these
//! numbers. `COTTAR_BENCH_LOSS` sets other losses in percent, and `COTTAR_BENCH_CAST` one cluster instead of
//! three, with a letter for each agent: `C`, or `S` for the reference.

use crate::cluster::{Seen, listen};
use crate::live::{Agent, Kind, Lab, await_each_other};
use crate::network;
use crate::noise::Rng;
use crate::rpc::Client;
use crate::table::Row;
use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Percentages of datagrams that are dropped.
const LOSSES: &str = "0 10 25";
/// From this loss on, one delivery in ten thousand may be late, and one answer in a hundred may be missing.
const HEAVY: u8 = 11;
/// Delay, in seconds, from which an event counts as late.
const LATE: [f64; 2] = [2.0, 5.0];
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// Queries per second.
const QUERY_RATE: f64 = 10.0;

/// Missing deliveries and answers at the nodes of one kind in one cluster.
#[derive(Clone, Copy, Debug, Default)]
struct Lacks {
    pairs: usize,
    late: [usize; 2],
    asked: usize,
    acks: usize,
    answers: usize,
}

/// Clusters of cottar, of the reference, and of both in equal parts.
pub fn missing() -> Vec<Row> {
    let agents = number("COTTAR_BENCH_AGENTS", 8);
    let cast = std::env::var("COTTAR_BENCH_CAST").ok();
    let losses = std::env::var("COTTAR_BENCH_LOSS").unwrap_or_else(|_| LOSSES.into());
    let mut rows = Vec::new();
    for loss in losses.split_whitespace() {
        let loss: u8 = loss.parse().expect("COTTAR_BENCH_LOSS");
        if let Some(cast) = &cast {
            rows.extend(one_cluster(&format!("{loss} % loss, {cast}"), cast, loss));
            continue;
        }
        let alone = [("C", Kind::Cottar), ("S", Kind::Serf)];
        let [ours, theirs] = alone.map(|(letter, kind)| {
            let cast = letter.repeat(agents);
            measure(&cast, loss).map(|lacks| lacks.get(&kind).copied().unwrap_or_default())
        });
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
            rows.push(impossible(loss));
            continue;
        };
        rows.extend(table(&format!("{loss} % loss"), loss, ours, theirs));
        let title = format!("{loss} % loss, one cluster");
        rows.extend(one_cluster(&title, &"CS".repeat(agents / 2), loss));
    }
    rows
}

fn one_cluster(title: &str, cast: &str, loss: u8) -> Vec<Row> {
    match measure(cast, loss) {
        Ok(lacks) => {
            let of = |kind| lacks.get(&kind).copied().unwrap_or_default();
            table(title, loss, of(Kind::Cottar), of(Kind::Serf))
        }
        Err(_) => vec![impossible(loss)],
    }
}

fn impossible(loss: u8) -> Row {
    let what = format!("delivery at {loss} % loss");
    Row::missing(what, "needs network namespaces and nft")
}

fn table(title: &str, loss: u8, ours: Lacks, theirs: Lacks) -> Vec<Row> {
    let row = |what: &str, allowed: f64, goal: &str, share: fn(&Lacks) -> f64| {
        let (ours, theirs) = (share(&ours), share(&theirs));
        Row::numbers(
            format!("{title}: {what}"),
            ours,
            theirs,
            goal,
            ours <= allowed,
        )
    };
    let is_heavy = loss >= HEAVY;
    let (late, late_goal) = if is_heavy {
        (1.0, "at most 1")
    } else {
        (0.0, "none")
    };
    let (unheard, unheard_goal) = if is_heavy {
        (1.0, "at most 1")
    } else {
        (0.0, "none")
    };
    vec![
        row(
            "events missing after 2 s, of 10,000",
            late,
            late_goal,
            |l| l.late[0] as f64 / l.pairs as f64 * 1e4,
        ),
        row("events missing after 5 s, of 10,000", 0.0, "none", |l| {
            l.late[1] as f64 / l.pairs as f64 * 1e4
        }),
        row("acks missing, %", unheard, unheard_goal, |l| {
            l.acks as f64 / l.asked as f64 * 1e2
        }),
        row("answers missing, %", unheard, unheard_goal, |l| {
            l.answers as f64 / l.asked as f64 * 1e2
        }),
    ]
}

fn number(name: &str, usual: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(usual, |text| text.parse().expect(name))
}

fn measure(cast: &str, loss: u8) -> Result<BTreeMap<Kind, Lacks>, String> {
    let (lacks, repairs) = network::in_own_network(|| {
        let cluster = Cluster::start(cast);
        network::lose(loss);
        let mut lacks = BTreeMap::new();
        cluster.fire(&mut lacks);
        cluster.ask(&mut lacks);
        (lacks, cluster.repairs())
    })?;
    for (kind, of) in &lacks {
        println!("    {cast} {loss} %: {kind:?} {of:?}");
    }
    println!("    {cast} {loss} %: {repairs:?}");
    Ok(lacks)
}

struct Cluster {
    seen: Receiver<Seen>,
    nodes: Vec<Agent>,
    lab: Lab,
}

impl Cluster {
    fn start(cast: &str) -> Cluster {
        let lab = Lab::new("delivery", cast);
        let nodes = lab.start_all(|_, spec| spec.log_level("info").handler("query:hello=echo hi"));
        await_each_other(&nodes, 30.0);
        let seen = listen(&nodes);
        Cluster { seen, nodes, lab }
    }

    /// Returns the sum of all cottars' counters of repairs, losses and repetitions, by groups of `info`.
    fn repairs(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        let cottars = self.nodes.iter().enumerate();
        for (_, node) in cottars.filter(|(index, _)| self.lab.kind(*index) == Kind::Cottar) {
            let (_, info) = node.call("info", &[]);
            let mut group = "";
            for line in info.lines() {
                if let Some(name) = line.strip_suffix(':') {
                    group = name;
                    continue;
                }
                let is_count = ["lost", "order", "queries", "repair"].contains(&group);
                if let Some((key, count)) = line.trim().split_once(" = ").filter(|_| is_count) {
                    let count: u64 = count.parse().expect("a count");
                    *sums.entry(format!("{group}.{key}")).or_default() += count;
                }
            }
        }
        sums
    }

    fn connect(&self) -> Vec<Client> {
        let clients = self.nodes.iter().map(|node| Client::connect(node.rpc));
        clients
            .map(|client| client.expect("an RPC connection"))
            .collect()
    }

    /// Fires events at a rate from random nodes.
    fn fire(&self, lacks: &mut BTreeMap<Kind, Lacks>) {
        let count = number("COTTAR_BENCH_EVENTS", 1_000);
        let rate = number("COTTAR_BENCH_RATE", 50) as f64;
        let mut clients = self.connect();
        let mut rng = Rng::new(3);
        let began = Instant::now();
        let mut fired = Vec::new();
        for index in 0..count {
            let due = Duration::from_secs_f64(index as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let client = &mut clients[rng.below(self.nodes.len())];
            fired.push(Instant::now());
            client
                .send_event(&format!("event-{index}"), b"payload")
                .expect("an event");
            client.accepted().expect("an event");
        }
        let delays = self.delays(&fired);
        for (agent, delays) in delays.iter().enumerate() {
            let of = lacks.entry(self.lab.kind(agent)).or_default();
            of.pairs += count;
            for (late, limit) in of.late.iter_mut().zip(LATE) {
                *late += delays.iter().filter(|delay| **delay > limit).count();
            }
        }
    }

    /// Seconds until each agent delivered each event; infinite if it did not in time.
    fn delays(&self, fired: &[Instant]) -> Vec<Vec<f64>> {
        let mut delays = vec![vec![f64::INFINITY; fired.len()]; self.nodes.len()];
        let mut missing = fired.len() * self.nodes.len();
        let last = fired.last().expect("an event");
        let deadline = *last + Duration::from_secs_f64(LATE[1]);
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(seen) = self.seen.recv_timeout(left) else {
                break;
            };
            let index = seen
                .name
                .strip_prefix("event-")
                .and_then(|n| n.parse().ok());
            let index: usize = index.expect("an event of ours");
            let delay = &mut delays[seen.agent][index];
            assert!(
                delay.is_infinite(),
                "agent {} ran {} twice",
                seen.agent,
                seen.name
            );
            *delay = (seen.at - fired[index]).as_secs_f64();
            missing -= 1;
        }
        delays
    }

    /// Queries from each node in turn; missing answers are counted by the kind of the asker.
    fn ask(&self, lacks: &mut BTreeMap<Kind, Lacks>) {
        let count = number("COTTAR_BENCH_QUERIES", 100);
        let began = Instant::now();
        let asking: Vec<_> = (0..count)
            .map(|index| {
                let due = Duration::from_secs_f64(index as f64 / QUERY_RATE);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                let asker = index % self.nodes.len();
                let rpc = self.nodes[asker].rpc;
                let ask = move || {
                    let mut client = Client::connect(rpc)?;
                    client.ask("hello", QUERY_TIMEOUT)
                };
                (asker, std::thread::spawn(ask))
            })
            .collect();
        for (asker, thread) in asking {
            let records = thread.join().expect("an asker").expect("a query");
            for (agent, node) in self.nodes.iter().enumerate() {
                // The reference may handle queries of cottars differently, so only pairs of one kind are
                // counted.
                if self.lab.kind(agent) != self.lab.kind(asker) {
                    continue;
                }
                let has = |kind: &str| {
                    let mut some = records.iter();
                    some.any(|(each, from)| each == kind && *from == node.spec.name)
                };
                let of = lacks.entry(self.lab.kind(asker)).or_default();
                of.asked += 1;
                of.acks += usize::from(!has("ack"));
                of.answers += usize::from(!has("response"));
            }
        }
    }
}
