//! Ten agents of both kinds run for a while without events, except for garbage from a stranger: no node is
//! suspected, memory is stable, and the coordinates settle.

use crate::live::Spec;
use crate::live::{
    Agent, Kind, Lab, Member, Process, await_members, await_status, eventually, lacks_reference,
};
use crate::noise::{Noise, Rng};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Long enough for every node to exchange its state with another one (every 30 s) and to probe each other
/// node several times.
const CALM: Duration = Duration::from_secs(40);
/// Pause between datagrams, and datagrams per connection: this is no flood, which other tests cover.
const PACE: Duration = Duration::from_millis(5);
const DATAGRAMS_A_STREAM: u64 = 20;
/// Maximum growth of an agent's resident memory.
const GROWTH_MAX_KB: u64 = 8 * 1024;

/// Sends garbage until the end of the test; never panics, since the test waits for it to end.
fn bother(target: SocketAddr, over: &AtomicBool) -> u64 {
    let noise = Noise::for_plaintext();
    let mut rng = Rng::new(5);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut hanging: Vec<TcpStream> = Vec::new();
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let _ = socket.send_to(&noise.datagram(&mut rng), target);
        sent += 1;
        let stream = (sent % DATAGRAMS_A_STREAM == 0)
            .then(|| TcpStream::connect_timeout(&target, Duration::from_secs(1)));
        if let Some(Ok(mut stream)) = stream {
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.write_all(&noise.stream(&mut rng));
            hanging.push(stream);
            hanging.truncate(8);
        }
        std::thread::sleep(PACE);
    }
    sent
}

/// Returns an agent's estimate of the distance between two nodes.
fn estimate(viewer: &Agent, from: &Agent, to: &Agent) -> Result<f64, String> {
    let asked = viewer.ask(Kind::Cottar, &["rtt", &from.spec.name, &to.spec.name]);
    let millis = asked
        .stdout
        .split("rtt: ")
        .nth(1)
        .and_then(|rest| rest.split(" ms").next()?.parse().ok());
    millis.ok_or(format!("{asked:?}"))
}

fn health_score(node: &Agent) -> Result<(), String> {
    let asked = node.ask(Kind::Cottar, &["info", "-format=json"]);
    let json: serde_json::Value =
        serde_json::from_str(&asked.stdout).map_err(|why| why.to_string())?;
    match json["serf"]["health_score"].as_str() {
        Some("0") => Ok(()),
        other => Err(format!("{}: {other:?}", node.spec.name)),
    }
}

/// A node joins and leaves, which creates a tombstone; the first node reaps it after a second.
fn visit(lab: &Lab, nodes: &[&Agent]) {
    let visitor = lab.start(Spec::new(Kind::Cottar, "visitor").join(nodes[0]));
    let members: Vec<Member> = nodes
        .iter()
        .copied()
        .chain([&visitor])
        .map(Member::of)
        .collect();
    await_members(nodes, &members, 15.0);
    visitor.signal(libc::SIGINT);
    assert_eq!(visitor.await_exit(15.0).code(), Some(0));
    await_status(&nodes[1..], "visitor", "left", 15.0);
}

/// Reads an agent's member list for a while; returns the first list with other names than these, if any.
fn watch_list(viewer: &Agent, expected: &[String]) -> Result<(), String> {
    let end = Instant::now() + CALM;
    let mut listed = Ok(());
    while Instant::now() < end && listed.is_ok() {
        listed = viewer.members().and_then(|list| {
            let mut names: Vec<String> = list.into_iter().map(|member| member.name).collect();
            names.retain(|name| name != "visitor");
            names.sort_by_key(|name| name[1..].parse::<u32>().ok());
            if names == expected {
                Ok(())
            } else {
                Err(format!("{names:?}"))
            }
        });
        std::thread::sleep(Duration::from_secs(1));
    }
    listed
}

#[test]
fn idle_agents_suspect_nobody() {
    if lacks_reference("ten calm agents") {
        return;
    }
    // Idle agents need not share the machine's slots for tests.
    let lab = Lab::new("calm", "CSCSCSCSCS");
    let config = lab.path().join("forgetful.json");
    std::fs::write(&config, r#"{"tombstone_timeout": "1s"}"#).unwrap();
    let nodes = lab.start_all(|index, spec| {
        let spec = spec.log_level("info");
        match index {
            0 => spec.args(["-config-file", config.to_str().unwrap()]),
            _ => spec,
        }
    });
    let all: Vec<&Agent> = nodes.iter().collect();
    visit(&lab, &all);
    nodes[2].cli(&["tags", "-set", "mood=calm"]).success();
    nodes[0].await_log("[INFO] serf: EventMemberUpdate: n3", 15.0);

    let members: Vec<String> = nodes.iter().map(|node| node.spec.name.clone()).collect();
    let before = Process::resident_kb(nodes[0].pid());
    let over = AtomicBool::new(false);
    let (listed, sent) = std::thread::scope(|scope| {
        let garbage = scope.spawn(|| bother(nodes[0].gossip, &over));
        let listed = watch_list(&nodes[0], &members);
        over.store(true, Ordering::Relaxed);
        (listed, garbage.join())
    });
    assert_eq!(listed, Ok(()));
    println!("{} datagrams of garbage", sent.expect("the stranger"));
    nodes[0].await_log("[INFO] serf: EventMemberReap: visitor", 15.0);
    let after = Process::resident_kb(nodes[0].pid());
    assert!(after <= before + GROWTH_MAX_KB, "{before} -> {after} KB");

    for node in &nodes {
        let log = node.log();
        assert!(!log.contains("EventMemberFailed"), "{log}");
        // A busy machine may cost a probe or two, but each successful probe improves the score again.
        eventually(30.0, "the health score", || health_score(node));
    }
    nodes[0].event("still-there", "");
    for node in &nodes {
        node.await_log("Received event: user-event: still-there", 15.0);
    }
    // On a busy machine, cottar's estimates need only be as good as the reference's.
    eventually(30.0, "settled coordinates", || {
        let theirs = estimate(&nodes[1], &nodes[1], &nodes[3])?;
        let ours = estimate(&nodes[0], &nodes[0], &nodes[2])?;
        let across = estimate(&nodes[2], &nodes[2], &nodes[1])?;
        let limit = f64::max(1.0, 3.0 * theirs);
        if ours < limit && across < limit {
            Ok(())
        } else {
            Err(format!("theirs {theirs}, ours {ours}, across {across} ms"))
        }
    });
}
