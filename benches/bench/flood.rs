//! Garbage at full rate, datagrams and streams.

use crate::harness::process::Process;
use crate::harness::{Kind, Lab, Member, Node, await_members, until};
use crate::noise::{Noise, Rng};
use crate::table::Row;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FLOOD: Duration = Duration::from_secs(20);
const GROWTH_MAX_KB: i64 = 8_000;

/// Whether each survives, with the right list, and what it gains in memory.
pub fn garbage(name: &'static str) -> Row {
    let (ours, ours_good) = endure(Kind::Cottar);
    let (theirs, _) = endure(Kind::Serf);
    Row::verdicts(name, ours, theirs, "alive, right list, 8 MB", ours_good)
}

fn endure(kind: Kind) -> (String, bool) {
    let lab = Lab::new("flood", if kind == Kind::Cottar { "CC" } else { "SS" });
    let mut nodes = lab.start_all(|_, spec| spec.log_level("info"));
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&nodes.iter().collect::<Vec<&Node>>(), &members, 5.0);
    let mut victim = nodes.remove(0);
    let before = Process::resident_kb(victim.id()) as i64;
    let started = Instant::now();
    let (target, noise, ended) = (
        victim.gossip,
        Noise::for_plaintext(),
        AtomicBool::new(false),
    );
    let died = std::thread::scope(|scope| {
        scope.spawn(|| datagrams(target, &noise, &ended));
        scope.spawn(|| streams(target, &noise, &ended));
        let mut died = None;
        while started.elapsed() < FLOOD && died.is_none() {
            std::thread::sleep(Duration::from_millis(20));
            died = victim.is_over().then(|| started.elapsed());
        }
        ended.store(true, Ordering::Relaxed);
        died
    });
    if let Some(after) = died {
        return (format!("died after {:.1} s", after.as_secs_f64()), false);
    }
    let mut members = members;
    members.sort();
    let list = until(15.0, || {
        let seen = victim.members()?;
        if seen == members {
            Ok(())
        } else {
            Err(format!("{} members", seen.len()))
        }
    });
    let gained = Process::resident_kb(victim.id()) as i64 - before;
    let verdict = list
        .clone()
        .map_or_else(|why| why, |()| "right list".into());
    (
        format!("alive, {verdict}, {gained:+} KiB"),
        list.is_ok() && gained <= GROWTH_MAX_KB,
    )
}

fn datagrams(target: SocketAddr, noise: &Noise, ended: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut rng = Rng::new(1);
    while !ended.load(Ordering::Relaxed) {
        let _ = socket.send_to(&noise.datagram(&mut rng), target);
    }
}

fn streams(target: SocketAddr, noise: &Noise, ended: &AtomicBool) {
    let mut rng = Rng::new(2);
    while !ended.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.write_all(&noise.stream(&mut rng));
        }
    }
}
