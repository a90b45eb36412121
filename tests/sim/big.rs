//! A thousand nodes, one after the other, to agreement.

use std::time::Instant as WallClock;

use cottar::serf::MemberStatus;
use cottar::time::Duration;

use crate::cluster::{Sim, Spec, host_addr};
use crate::network::Weather;

const NODES: usize = 1000;

#[test]
fn a_thousand_nodes_agree() {
    let started = WallClock::now();
    let mut sim = Sim::new(1000, Weather::fair());
    sim.observing = false;
    for host in 0..NODES {
        let mut spec = Spec::lan(&format!("node-{host:04}"), host_addr(host));
        // A quarter of the time would go into LZW, which all other runs exercise.
        spec.compression = false;
        sim.add(spec);
    }
    for host in 0..NODES {
        sim.start(host);
        if host > 0 {
            let through = sim.rng.below(host);
            sim.join(host, &[through], true, true);
        }
        sim.run_for(Duration::from_millis(25));
    }
    let joined = sim.now;
    let complete = |sim: &Sim| {
        let alive = |id| {
            let members = sim.serf(id).members();
            members
                .filter(|member| member.status == MemberStatus::Alive)
                .count()
        };
        (0..NODES).all(|id| alive(id) == NODES)
    };
    let mut waited = 0;
    while !complete(&sim) {
        assert!(
            waited < 600,
            "no agreement within ten minutes of the last join"
        );
        waited += 1;
        sim.run_for(Duration::from_secs(1));
    }
    println!(
        "{NODES} nodes agree {:?} after the last join: {} datagrams ({} MB), {} streams ({} MB), {} timeouts; {:.1} s of real time",
        sim.now.since(joined),
        sim.traffic.datagrams,
        sim.traffic.datagram_bytes >> 20,
        sim.traffic.streams,
        sim.traffic.stream_bytes >> 20,
        sim.traffic.timeouts,
        started.elapsed().as_secs_f64(),
    );
}
