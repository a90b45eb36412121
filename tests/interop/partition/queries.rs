//! Queries on hosts that lose datagrams.

use super::cluster::{Cluster, is_impossible};
use super::world::Fate;
use crate::live::Kind;
use std::collections::BTreeMap;

/// Concurrent queries, and rounds of them.
const AT_ONCE: usize = 6;
const TIMES: usize = 2;
/// Percentage of incoming datagrams that are lost.
const LOST: u8 = 25;

/// Names of the nodes that acked or answered.
fn ask(cluster: &Cluster, name: &str) -> (Vec<String>, Vec<String>) {
    // Handlers run one after the other, so on a busy machine the last of six queries waits.
    let line = ["query", "-format=json", "-timeout=8s", name];
    let finished = cluster.nodes[0].ask(Kind::Cottar, &line).success();
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let acks = json["Acks"].as_array().into_iter().flatten();
    let acks = acks.map(|name| name.as_str().expect("a name").to_owned());
    let answers = json["Responses"].as_object().into_iter().flatten();
    (
        acks.collect(),
        answers.map(|(name, _)| name.clone()).collect(),
    )
}

#[test]
fn lost_datagrams_cost_no_answers_of_our_own() {
    let cast = "CCCCSC";
    if is_impossible("lossy queries") {
        return;
    }
    let cluster = Cluster::start("lossy queries", cast);
    for host in 0..cast.len() {
        let others: Vec<usize> = (0..cast.len()).filter(|other| *other != host).collect();
        cluster.world.cut(host, &others, Fate::DatagramsLost(LOST));
    }
    let mut missing = Vec::new();
    for time in 0..TIMES {
        let heard: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..AT_ONCE)
                .map(|number| {
                    let (cluster, name) = (&cluster, format!("q{time}-{number}"));
                    scope.spawn(move || ask(cluster, &name))
                })
                .collect();
            let joined = asking.into_iter().map(|thread| thread.join());
            joined.map(|heard| heard.expect("an asker")).collect()
        });
        for (acks, answers) in heard {
            for node in cluster.nodes.iter().map(|node| &node.spec.name) {
                let ours = *node != "n5";
                if ours && !acks.contains(node) {
                    missing.push(format!("ack of {node}"));
                }
                if ours && !answers.contains(node) {
                    missing.push(format!("answer of {node}"));
                }
            }
        }
    }
    // Of 120; without repeated queries about 30 would be missing.
    assert!(missing.len() <= 1, "{missing:?}");
    let info = cluster.nodes[0].ask(Kind::Cottar, &["info"]).success();
    assert!(info.stdout.contains("repeated ="), "{}", info.stdout);
    // No handler ran twice for a query, on either kind of agent.
    for recorder in &cluster.recorders {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in recorder.of("query") {
            let name = record.var("SERF_QUERY_NAME").to_owned();
            *seen.entry(name).or_default() += 1;
        }
        assert!(seen.len() >= AT_ONCE, "{seen:?}");
        assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    }
    // The reference does not log anything unusual about repeated queries.
    let log = cluster.nodes[4].log();
    let about_queries: Vec<&str> = log.lines().filter(|line| line.contains("uery")).collect();
    println!("the reference on queries: {:#?}", about_queries.get(..6));
    let harmless = |line: &str| line.contains("[DEBUG]") || line.contains("[INFO]");
    let mut complaints = about_queries.iter().filter(|line| !harmless(line));
    assert_eq!(complaints.next(), None);
}
