//! Descriptor exhaustion: accepting pauses, everything else continues, and the agent recovers.

use crate::live::{Agent, Kind, Lab, Member, Recorder, await_members, await_status, eventually};
use std::net::TcpStream;

fn descriptors(node: &Agent) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid()))
        .unwrap()
        .count()
}

/// Opens connections until the agent accepts no more.
fn exhaust(node: &Agent, address: std::net::SocketAddr) -> Vec<TcpStream> {
    let clients: Vec<TcpStream> = (0..80)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    node.await_log("Pausing accept", 10.0);
    clients
}

#[test]
fn a_flood_of_clients_or_peers_leaves_the_node_alive() {
    let lab = Lab::new("descriptors", "CC");
    let recorder = Recorder::new(lab.path(), "n2");
    let peer = lab.start(lab.spec(0).args(["-profile=local"]));
    let limited = ["sh", "-c", "ulimit -n 48; exec \"$@\"", "sh"];
    let spec = lab.spec(1).wrapper(limited).recorded(&recorder);
    let node = lab.start(spec.args(["-profile=local"]).join(&peer));
    let both = [&peer, &node];
    let members = both.map(Member::of);
    await_members(&both, &members, 15.0);
    let idle = descriptors(&node);
    for (round, address) in [node.rpc, node.gossip].into_iter().enumerate() {
        let clients = exhaust(&node, address);
        // The handler runs although clients occupy all descriptors.
        let event = format!("round-{round}");
        let ended = peer.ask(Kind::Cottar, &["event", "-coalesce=false", &event]);
        ended.success();
        recorder.await_records(1, 10.0, |record| record.var("SERF_USER_EVENT") == event);
        // For several probe intervals no node suspects it.
        std::thread::sleep(std::time::Duration::from_secs(4));
        await_status(&[&peer], "n2", "alive", 1.0);
        let log = node.log();
        let pauses = log.matches("Pausing accept").count();
        assert!(pauses <= 60, "{pauses} pauses\n{log}");
        drop(clients);
        eventually(15.0, "the descriptors given back", || {
            let now = descriptors(&node);
            if now <= idle + 2 {
                Ok(())
            } else {
                Err(format!("{now}, {idle} when idle"))
            }
        });
        let list = node.ask(Kind::Cottar, &["members", "-format=json"]);
        assert_eq!(Member::list(&list).unwrap().len(), 2);
    }
    assert!(!peer.log().contains("EventMemberFailed"), "{}", peer.log());
    await_members(&both, &members, 5.0);
}
