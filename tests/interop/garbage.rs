//! Bad input at full rate: the agent keeps running, with a correct member list and stable memory.

use crate::live::{Agent, Lab, Member, Process, await_members, eventually, patience, scenario};
use crate::noise::{Noise, Rng};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Duration of the flood: some hundred thousand datagrams. It uses the whole machine.
const FLOOD: Duration = Duration::from_secs(5);
/// Maximum growth of the agent's resident memory.
const GROWTH_MAX_KB: u64 = 8 * 1024;

fn flood(lab: &Lab, nodes: &[Agent], noise: &Noise) {
    let viewers: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&viewers, &members, 5.0);
    let victim = &nodes[0];
    let before = Process::resident_kb(victim.pid());
    let (ended, datagrams, streams) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| send_datagrams(victim.gossip, noise, &ended, &datagrams));
        for seed in 0..2 {
            let (ended, streams) = (&ended, &streams);
            scope.spawn(move || send_streams(victim.gossip, noise, seed, ended, streams));
        }
        let deadline = Instant::now() + FLOOD;
        let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        let mut answered = Ok(());
        while Instant::now() < deadline && answered.is_ok() {
            answered = victim.members().and_then(|list| {
                let seen: Vec<&str> = list.iter().map(|member| member.name.as_str()).collect();
                if seen == names {
                    Ok(())
                } else {
                    Err(format!("{seen:?} instead of {names:?}"))
                }
            });
            std::thread::sleep(Duration::from_millis(500));
        }
        // The senders must end before an assertion panics, or the scope would wait for them forever.
        ended.store(true, Ordering::Relaxed);
        if let Err(why) = answered {
            panic!("during the flood `members` gave: {why}\n{}", victim.log());
        }
    });
    println!(
        "{:?}: {} datagrams, {} streams; resident {} KB before, {} KB after",
        lab.kind(0),
        datagrams.load(Ordering::Relaxed),
        streams.load(Ordering::Relaxed),
        before,
        Process::resident_kb(victim.pid())
    );
    await_members(&viewers, &members, 15.0);
    eventually(10.0, "the resident memory", || {
        let after = Process::resident_kb(victim.pid());
        if after <= before + GROWTH_MAX_KB {
            Ok(())
        } else {
            Err(format!("{before} -> {after} KB"))
        }
    });
    victim.event("still-there", "");
    for node in nodes {
        node.await_log("Received event: user-event: still-there", 5.0);
    }
}

fn send_datagrams(target: SocketAddr, noise: &Noise, ended: &AtomicBool, sent: &AtomicU64) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut rng = Rng::new(1);
    while !ended.load(Ordering::Relaxed) {
        if socket.send_to(&noise.datagram(&mut rng), target).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn send_streams(
    target: SocketAddr,
    noise: &Noise,
    seed: u64,
    ended: &AtomicBool,
    sent: &AtomicU64,
) {
    let mut rng = Rng::new(2 + seed);
    // Some connections are left open for a while, as by a slow peer.
    let mut hanging: Vec<TcpStream> = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&target, patience(1.0)) else {
            continue;
        };
        let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
        let _ = stream.write_all(&noise.stream(&mut rng));
        sent.fetch_add(1, Ordering::Relaxed);
        if rng.below(8) == 0 {
            hanging.push(stream);
        }
        if hanging.len() > 32 {
            hanging.clear();
        }
    }
}

#[test]
fn silent_connections_do_not_block_others() {
    scenario("silent connections", &["CC", "CS"], |lab| {
        let node = lab.start(lab.spec(0));
        let connect = |_| TcpStream::connect(node.gossip).expect("a connection");
        let silent: Vec<TcpStream> = (0..200).map(connect).collect();
        let peer = lab.start(lab.spec(1).join(&node));
        let both = [&node, &peer];
        await_members(&both, &both.map(Member::of), 5.0);
        drop(silent);
    });
}

#[test]
fn a_flood_of_garbage_changes_nothing() {
    scenario("garbage", &["CC"], |lab| {
        let nodes = lab.start_all(|_, spec| spec.log_level("info").tag("role", "web"));
        flood(lab, &nodes, &Noise::for_plaintext());
    });
}

#[test]
fn garbage_for_an_encrypted_cluster_changes_nothing() {
    scenario("garbage, encrypted", &["CS"], |lab| {
        let nodes = lab.start_all(|_, spec| {
            spec.log_level("info")
                .tag("role", "web")
                .key("YSBrZXkgb2Ygb3VycyEhIQ==")
        });
        flood(lab, &nodes, &Noise::for_encrypted());
    });
}
