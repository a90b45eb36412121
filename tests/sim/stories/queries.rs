//! Queries and their answers.

use cottar::serf::{QueryParams, QueryRecord};
use cottar::time::Duration;

use super::{agree, close, cluster, secs};
use crate::cluster::{Sim, Spec, host_addr};
use crate::history::What;
use crate::network::Weather;

fn answers(sim: &Sim, query: cottar::serf::CommandId) -> (Vec<String>, Vec<String>, usize) {
    let (mut acks, mut responses, mut done) = (Vec::new(), Vec::new(), 0);
    for (_, record) in sim.returned.get(&query).into_iter().flatten() {
        match record {
            QueryRecord::Ack { from } => acks.push(from.to_string()),
            QueryRecord::Response { from, payload } => {
                let expected = format!("answer of {from}");
                assert_eq!(payload.as_deref(), Some(expected.as_bytes()));
                responses.push(from.to_string());
            }
            QueryRecord::Done => done += 1,
        }
    }
    acks.sort();
    responses.sort();
    (acks, responses, done)
}

#[test]
fn a_query_is_answered_by_all() {
    let mut sim = cluster(12, 3);
    let query = sim.query(
        0,
        QueryParams {
            name: b"load".to_vec(),
            request_ack: true,
            ..QueryParams::default()
        },
    );
    sim.run_for(secs(4));
    let everybody: Vec<String> = (0..3).map(|id| format!("n{id}")).collect();
    assert_eq!(answers(&sim, query), (everybody.clone(), everybody, 1));
    close(sim);
}

#[test]
fn filters_choose_who_answers() {
    let mut sim = cluster(13, 3);
    sim.set_tag(1, "role", "web-1");
    sim.set_tag(2, "role", "db");
    agree(&mut sim, secs(6));
    let by_tag = QueryParams {
        name: b"load".to_vec(),
        filter_tags: vec![(b"role".to_vec(), b"^web-[0-9]+$".to_vec())],
        request_ack: true,
        ..QueryParams::default()
    };
    let by_name = QueryParams {
        name: b"load".to_vec(),
        filter_nodes: vec![b"n2".to_vec(), b"nobody".to_vec()],
        ..QueryParams::default()
    };
    let by_tag = sim.query(0, by_tag);
    let by_name = sim.query(0, by_name);
    sim.run_for(secs(4));
    let one = |name: &str| vec![name.to_owned()];
    assert_eq!(answers(&sim, by_tag), (one("n1"), one("n1"), 1));
    assert_eq!(answers(&sim, by_name), (Vec::new(), one("n2"), 1));
    close(sim);
}

#[test]
fn relayed_answers_go_around_a_cut() {
    let mut sim = cluster(14, 4);
    // n1 gets n0's query from the others, but cannot answer directly.
    sim.network.cut(1, 0);
    let ask = |sim: &mut Sim, relay_factor| {
        let query = sim.query(
            0,
            QueryParams {
                name: b"load".to_vec(),
                request_ack: true,
                relay_factor,
                ..QueryParams::default()
            },
        );
        sim.run_for(secs(4));
        answers(sim, query)
    };
    let heard = |names: &[String]| names.iter().any(|name| name == "n1");
    let (acks, responses, _) = ask(&mut sim, 0);
    assert!(!heard(&acks) && !heard(&responses));
    // Two of three other nodes relay the answer; at most one of them is n0 itself.
    let (acks, responses, done) = ask(&mut sim, 2);
    assert!(heard(&acks) && heard(&responses), "{acks:?} {responses:?}");
    assert_eq!(done, 1);
    sim.network.mend_all();
    close(sim);
}

#[test]
fn a_late_answer_is_refused() {
    let mut sim = Sim::new(15, Weather::fair());
    for host in 0..2 {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.pace = crate::handlers::Pace::Fixed(secs(1));
        sim.add(spec);
        sim.start(host);
    }
    sim.join(1, &[0], true, false);
    agree(&mut sim, secs(5));
    sim.run_for(secs(10));
    let query = sim.query(
        0,
        QueryParams {
            name: b"load".to_vec(),
            timeout: Some(Duration::from_millis(900)),
            ..QueryParams::default()
        },
    );
    sim.run_for(secs(5));
    assert_eq!(answers(&sim, query), (Vec::new(), Vec::new(), 1));
    let refused = |what: &What| matches!(what, What::Answered { sent: false, .. });
    let refused = sim
        .history
        .iter()
        .filter(|record| refused(&record.what))
        .count();
    assert_eq!(refused, 2);
    close(sim);
}
