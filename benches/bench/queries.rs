//! Round trips: of RPC, and of queries to ten agents.

use crate::live::{Agent, Lab, await_each_other};
use crate::noise::Rng;
use crate::rpc::Client;
use crate::table::Row;
use std::time::{Duration, Instant};

const AGENTS: usize = 10;
const QUERIES: usize = 25;
const RPC_ROUNDS: usize = 9;
const RPC_HELD: Duration = Duration::from_millis(400);

/// Number of members in the larger cluster.
const MEMBERS: usize = 30;
/// In the larger cluster the time of a round trip is that of writing the list.
const MEMBERS_RATIO: f64 = 1.3;

/// One connection to a single agent, and to an agent in a cluster of both kinds; each request, for the list
/// of members, follows the previous reply. Median of rounds, in turn.
pub fn rpc() -> Vec<Row> {
    let labs = [Lab::new("round trips", "C"), Lab::new("round trips", "S")];
    let alone = labs
        .each_ref()
        .map(|lab| lab.start(lab.spec(0).log_level("info")));
    let [ours, theirs] = round_trips(alone.each_ref(), 1);
    let median = |rates: &Vec<f64>| crate::median(rates.clone());
    let single = Row::more("RPC round trips per second", median(&ours), median(&theirs));
    let single = single.rounds(&ours, &theirs);
    drop(alone);

    let lab = Lab::new("round trips", &"CS".repeat(MEMBERS / 2));
    let nodes = lab.start_all(|_, spec| spec.log_level("info"));
    await_each_other(&nodes, 60.0);
    let rates = round_trips([&nodes[0], &nodes[1]], MEMBERS);
    let [ours, theirs] = rates.each_ref().map(median);
    let many = Row::numbers(
        format!("RPC round trips per second, {MEMBERS} members"),
        ours,
        theirs,
        "1.3 times as many",
        ours >= theirs * MEMBERS_RATIO,
    );
    vec![single, many.rounds(&rates[0], &rates[1])]
}

/// Round trips a second to each of two agents, by round.
fn round_trips(nodes: [&Agent; 2], members: usize) -> [Vec<f64>; 2] {
    let mut clients = nodes.map(|node| Client::connect(node.rpc).expect("an RPC connection"));
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..RPC_ROUNDS {
        for (client, rates) in clients.iter_mut().zip(&mut rates) {
            let (started, mut count) = (Instant::now(), 0);
            while started.elapsed() < RPC_HELD {
                assert_eq!(client.members().expect("a member list"), members);
                count += 1;
            }
            rates.push(f64::from(count) / started.elapsed().as_secs_f64());
        }
    }
    rates
}

/// Ten agents of each kind with the LAN profile: time from the RPC request until the last of ten acks, and
/// until the last of ten answers of a handler, `echo`. Median of queries; the kinds are measured in turn.
pub fn answers() -> Vec<Row> {
    let labs = ["C", "S"].map(|letter| Lab::new("queries", &letter.repeat(AGENTS)));
    let clusters = labs.each_ref().map(|lab| {
        let nodes = lab.start_all(|_, spec| spec.log_level("info").handler("query:hello=echo hi"));
        await_each_other(&nodes, 30.0);
        nodes
    });
    let mut rng = Rng::new(11);
    let kinds = [("nobody", "ack", "acks"), ("hello", "response", "answers")];
    let rows = kinds.map(|(name, record, what)| {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..QUERIES {
            for (nodes, times) in clusters.iter().zip(&mut times) {
                times.push(once(&nodes[0], name, record, &mut rng));
            }
        }
        let [ours, theirs] = times.each_ref().map(|times| crate::median(times.clone()));
        let name = format!("query to the last of ten {what}, median, ms");
        Row::less(name, ours, theirs).rounds(&times[0], &times[1])
    });
    rows.into()
}

/// An answer whose datagram was lost counts as arriving at the end of the query.
fn once(node: &Agent, name: &str, record: &str, rng: &mut Rng) -> f64 {
    // Out of step with the gossip ticks.
    std::thread::sleep(Duration::from_millis(50 + rng.below(250) as u64));
    // A separate connection, so that later records do not disturb other queries.
    let mut client = Client::connect(node.rpc).expect("an RPC connection");
    let asked = Instant::now();
    let _ = client.query(name, record, AGENTS);
    asked.elapsed().as_secs_f64() * 1e3
}
