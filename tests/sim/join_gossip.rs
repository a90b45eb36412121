//! Nodes join one after the other, and gossip misses none of them, even if half of the nodes transmit no more
//! often than the reference.

use cottar::swim;
use cottar::time::Duration;

use crate::cluster::{Sim, Spec, host_addr};
use crate::network::Weather;

/// Minimum cluster size that the two halves of a cluster assume for retransmissions.
type NodesMin = [usize; 2];

const OURS: usize = swim::Config::lan().membership_retransmit_nodes_min;
const REFERENCE: usize = 0;

/// Too short for a push/pull, which would add missing members.
const GOSSIP: Duration = Duration::from_secs(10);

/// Returns the lists that are not complete after gossip has ended.
fn incomplete_lists(seed: u64, nodes: usize, nodes_min: NodesMin) -> usize {
    let mut sim = Sim::new(seed, Weather::fair());
    sim.observing = false;
    for host in 0..nodes {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.config.swim.membership_retransmit_nodes_min = nodes_min[host % 2];
        spec.config.swim.push_pull_interval = Duration::ZERO;
        spec.compression = false;
        sim.add(spec);
    }
    sim.start(0);
    for host in 1..nodes {
        sim.start(host);
        sim.join(host, &[(host - 1) / 2], true, true);
        sim.run_for(Duration::from_millis(60));
    }
    sim.run_until(GOSSIP, |sim| sim.disagreement().is_none());
    let complete = |id: &usize| sim.serf(*id).members().count() == nodes;
    (0..nodes).filter(|id| !complete(id)).count()
}

fn runs_that_miss(seeds: u64, nodes: usize, nodes_min: NodesMin) -> usize {
    let missed = (0..seeds).filter(|&seed| incomplete_lists(seed, nodes, nodes_min) > 0);
    missed.count()
}

#[test]
fn no_node_is_missed_if_half_transmit_more_often() {
    for (nodes, seeds) in [(8, 100), (60, 6)] {
        assert_eq!(
            runs_that_miss(seeds, nodes, [OURS, REFERENCE]),
            0,
            "{nodes} nodes"
        );
    }
}

#[test]
fn nodes_are_missed_with_the_references_transmissions() {
    assert_ne!(runs_that_miss(100, 8, [REFERENCE, REFERENCE]), 0);
}
