//! Malformed input at full rate, in datagrams and streams.

use crate::live::Process;
use crate::live::{Agent, Kind, Lab, Member, await_members, until};
use crate::noise::{Noise, Rng};
use crate::proc;
use crate::table::Row;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FLOOD: Duration = Duration::from_secs(20);
/// Duration of a flood that both programs survive.
const PACED: Duration = Duration::from_secs(4);
const PACED_RATE: f64 = 10_000.0;
const PACED_ROUNDS: usize = 3;
const GROWTH_MAX_KB: i64 = 8_000;

/// Whether each program survives with the correct member list, and how much its memory grows.
pub fn garbage() -> Vec<Row> {
    let (ours, ours_good) = endure(Kind::Cottar);
    let (theirs, _) = endure(Kind::Serf);
    let name = "20 s of garbage at full rate";
    vec![Row::verdicts(
        name,
        ours,
        theirs,
        "alive, right list, 8 MB",
        ours_good,
    )]
}

/// Two agents of one kind; one gets 10,000 datagrams per second with unknown type bytes for 4 s. Measures the
/// processor time that this takes, as a share of one processor. (Other garbage would crash the reference,
/// which would say nothing about its cost.) Median of rounds, in turn.
pub fn cost() -> Vec<Row> {
    let mut shares = [Vec::new(), Vec::new()];
    for _ in 0..PACED_ROUNDS {
        for (kind, shares) in [Kind::Cottar, Kind::Serf].into_iter().zip(&mut shares) {
            shares.push(paced(kind));
        }
    }
    let [ours, theirs] = shares
        .each_ref()
        .map(|shares| crate::median(shares.clone()));
    let name = "10,000 unknown datagrams a second, % of a processor";
    vec![Row::less(name, ours, theirs).rounds(&shares[0], &shares[1])]
}

fn paced(kind: Kind) -> f64 {
    let lab = Lab::new("flood", if kind == Kind::Cottar { "CC" } else { "SS" });
    let nodes = lab.start_all(|_, spec| spec.log_level("info"));
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&nodes.iter().collect::<Vec<&Agent>>(), &members, 15.0);
    let victim = &nodes[0];
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut rng = Rng::new(3);
    let datagrams: Vec<Vec<u8>> = (0..1_000)
        .map(|_| {
            let length = 2 + rng.below(200);
            let mut bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
            bytes[0] = 20 + rng.below(200) as u8;
            bytes
        })
        .collect();
    let (before, started) = (proc::processor_time(victim.pid()), Instant::now());
    let count = (PACED_RATE * PACED.as_secs_f64()) as usize;
    for index in 0..count {
        let due = Duration::from_secs_f64(index as f64 / PACED_RATE);
        if let Some(early) = due.checked_sub(started.elapsed()) {
            std::thread::sleep(early.max(Duration::from_millis(1)));
        }
        let _ = socket.send_to(&datagrams[index % datagrams.len()], victim.gossip);
    }
    let seconds = started.elapsed().as_secs_f64();
    let spent = proc::processor_time(victim.pid()).saturating_sub(before);
    // The member list must still be right; otherwise the time was spent on something else.
    let list = victim.members().expect("a member list");
    assert_eq!(
        list.len(),
        members.len(),
        "{kind:?} has learnt members from garbage"
    );
    100.0 * spent.as_secs_f64() / seconds
}

fn endure(kind: Kind) -> (String, bool) {
    let lab = Lab::new("flood", if kind == Kind::Cottar { "CC" } else { "SS" });
    let mut nodes = lab.start_all(|_, spec| spec.log_level("info"));
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&nodes.iter().collect::<Vec<&Agent>>(), &members, 5.0);
    let victim = nodes.remove(0);
    let before = Process::resident_kb(victim.pid()) as i64;
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
    let gained = Process::resident_kb(victim.pid()) as i64 - before;
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
