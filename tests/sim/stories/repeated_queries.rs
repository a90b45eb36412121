//! Queries are repeated if datagrams are lost, and repetitions are answered again.

use cottar::serf::{QueryParams, QueryRecord};
use cottar::time::Duration;

use super::{cluster, secs};
use crate::checkers::queries_are_delivered_at_most_once;
use crate::cluster::{Sim, Spec, host_addr};
use crate::handlers::Pace;
use crate::network::Weather;

const NODES: usize = 10;
const TIMEOUT: Duration = Duration::from_secs(1);

fn ask(sim: &mut Sim, id: usize) -> cottar::serf::CommandId {
    let params = QueryParams {
        name: b"load".to_vec(),
        request_ack: true,
        timeout: Some(TIMEOUT),
        ..QueryParams::default()
    };
    sim.query(id, params)
}

/// The numbers of acks and of answers that a query got.
fn heard(sim: &Sim, query: cottar::serf::CommandId) -> (usize, usize) {
    let records = sim.returned.get(&query).into_iter().flatten();
    records.fold((0, 0), |(acks, answers), (_, record)| match record {
        QueryRecord::Ack { .. } => (acks + 1, answers),
        QueryRecord::Response { .. } => (acks, answers + 1),
        QueryRecord::Done => (acks, answers),
    })
}

/// The numbers of repeated queries and of answered repetitions, over all nodes.
fn repeats(sim: &Sim) -> (u64, u64) {
    let counters = (0..NODES).map(|id| *sim.serf(id).counters());
    counters.fold((0, 0), |(sent, answered), counters| {
        (
            sent + counters.queries_repeated,
            answered + counters.repeats_answered,
        )
    })
}

/// Checks that at most `per_thousand_max` of a thousand acks, and of a thousand answers, are missing.
fn assert_missing(seed: u64, loss: f64, queries: usize, per_thousand_max: f64) {
    let mut sim = cluster(seed, NODES);
    sim.network.weather.loss = loss;
    let (mut acks, mut answers) = (0, 0);
    for number in 0..queries {
        let query = ask(&mut sim, number % NODES);
        sim.run_for(TIMEOUT + Duration::from_millis(100));
        let (heard_acks, heard_answers) = heard(&sim, query);
        acks += NODES - heard_acks;
        answers += NODES - heard_answers;
    }
    queries_are_delivered_at_most_once(&sim.history).unwrap();
    let of = (queries * NODES) as f64 / 1000.0;
    let missing = [acks as f64 / of, answers as f64 / of];
    println!(
        "{loss}: {missing:?} of a thousand, {:?} repeats",
        repeats(&sim)
    );
    assert!(
        missing.iter().all(|missing| *missing <= per_thousand_max),
        "loss {loss}: {missing:?} of a thousand acks and answers are missing"
    );
}

#[test]
fn acks_and_answers_arrive_despite_loss() {
    assert_missing(60, 0.1, 200, 1.0);
    assert_missing(61, 0.25, 200, 10.0);
}

#[test]
fn nothing_is_repeated_without_loss() {
    let mut sim = cluster(62, NODES);
    for _ in 0..5 {
        let query = ask(&mut sim, 0);
        sim.run_for(TIMEOUT * 2);
        assert_eq!(heard(&sim, query), (NODES, NODES));
    }
    assert_eq!(repeats(&sim), (0, 0));
    // Nor if no answer is expected.
    let params = QueryParams {
        name: b"_serf_ping".to_vec(),
        request_ack: true,
        ..QueryParams::default()
    };
    let ping = sim.query(0, params);
    sim.run_for(secs(8));
    assert_eq!(heard(&sim, ping), (NODES, 0));
    assert_eq!(repeats(&sim), (0, 0));
}

#[test]
fn a_slow_handler_runs_once_and_is_waited_for() {
    let mut sim = Sim::new(63, Weather::fair());
    for host in 0..NODES {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.pace = Pace::Fixed(Duration::from_millis(600));
        sim.add(spec);
        sim.start(host);
        if host > 0 {
            sim.join(host, &[0], true, true);
        }
    }
    super::agree(&mut sim, secs(10));
    // The handlers have processed the joins.
    sim.run_for(secs(30));
    sim.network.weather.loss = 0.1;
    let mut missing = 0;
    for _ in 0..20 {
        let query = ask(&mut sim, 0);
        sim.run_for(TIMEOUT * 2);
        missing += NODES - heard(&sim, query).1;
    }
    queries_are_delivered_at_most_once(&sim.history).unwrap();
    // Three rounds of repetitions follow the end of the handler.
    assert!(missing <= 2, "{missing} of 200 answers are missing");
    // Each query is sent at most eight times to each of nine nodes.
    let (sent, _) = repeats(&sim);
    assert!(sent <= 20 * 9 * 8, "{sent}");
}
