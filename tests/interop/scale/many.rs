//! Sixty agents on one machine.

use crate::live::Spec;
use crate::live::{Agent, Kind, Lab, Member, Process, eventually, lacks_reference, patience, run};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

const OF_EACH_KIND: usize = 30;
/// Timeout from the last join until the member lists of all cottars agree.
const AGREEMENT: f64 = 15.0;
/// Timeout until those of all Serfs agree. One that joined through another and missed the gossip about a member
/// learns of it from a push/pull: about one a minute in a cluster of sixty.
const AGREEMENT_OF_SERFS: f64 = 45.0;

#[test]
fn sixty_agents_agree() {
    if lacks_reference("sixty agents") {
        return;
    }
    let cast = "CS".repeat(OF_EACH_KIND);
    let lab = Lab::new("sixty", &cast);
    // With few log lines: the cluster is measured, not the log.
    let spec = |index: usize| -> Spec { lab.spec(index).log_level("warn") };
    let mut nodes: Vec<Agent> = vec![lab.start(spec(0))];
    for index in 1..cast.len() {
        // Each node joins a different one, of either kind.
        let other = &nodes[index / 2];
        let node = lab.start(spec(index).join(other));
        nodes.push(node);
    }
    let joined = Instant::now();
    let mut expected: Vec<Member> = nodes.iter().map(Member::of).collect();
    expected.sort();
    // Gossip alone must reach all cottars.
    for (kind, timeout) in [(Kind::Cottar, AGREEMENT), (Kind::Serf, AGREEMENT_OF_SERFS)] {
        let mut behind: Vec<&Agent> = nodes.iter().filter(|n| n.spec.kind == kind).collect();
        eventually(timeout, "sixty lists that agree", || {
            behind.retain(|node| list(node).as_ref() != Ok(&expected));
            let names: Vec<&str> = behind.iter().map(|node| node.spec.name.as_str()).collect();
            if names.is_empty() {
                Ok(())
            } else {
                Err(format!("behind: {names:?}"))
            }
        });
    }
    println!(
        "{} agents agree {:.1?} after the last join",
        nodes.len(),
        joined.elapsed()
    );

    // The lists still agree, and a query reaches all nodes.
    let asked = nodes[1].ask(
        Kind::Cottar,
        &["query", "-timeout=10s", "-format=json", "all"],
    );
    let json: serde_json::Value = serde_json::from_str(&asked.success().stdout).unwrap();
    assert_eq!(
        json["Acks"].as_array().unwrap().len(),
        nodes.len(),
        "{json}"
    );
    for node in [&nodes[0], &nodes[1]] {
        assert_eq!(list(node).as_ref(), Ok(&expected));
    }
    let mut memory: BTreeMap<Kind, u64> = BTreeMap::new();
    for node in &nodes {
        *memory.entry(node.spec.kind).or_default() += Process::resident_kb(node.pid());
    }
    for (kind, sum) in memory {
        println!("{kind:?}: {} KiB resident each", sum / OF_EACH_KIND as u64);
    }
}

/// Returns a node's member list. Asks with cottar's command line: sixty runs of the reference's per round
/// would be a load that distorts the measurement.
fn list(node: &Agent) -> Result<Vec<Member>, String> {
    let mut command: Command = node.command(Kind::Cottar, &["members", "-format=json"]);
    Member::list(&run(
        &mut command,
        patience(Duration::from_secs(10).as_secs_f64()),
    )?)
}
