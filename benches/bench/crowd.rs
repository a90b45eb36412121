//! Cost of knowing up to ten thousand members.
//!
//! One thread simulates the members: it uses cottar's wire code, has all of them in its state, and answers
//! the probes to all of them at one address.

use crate::live::{Kind, Lab, free};
use crate::peers::{self, envelope};
use crate::proc;
use crate::results::Curve;
use crate::rpc::Client;
use crate::table::{Measured, Row};
use cottar::wire::coordinate::{Coordinate, DIMENSIONS};
use cottar::wire::{Ack, Message, PushPull, StreamDecoder, StreamMessage, StreamSide};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Numbers of members for the table.
const MEMBERS: usize = 10_000;
/// Number of members for the chart.
const SIZES: [usize; 4] = [100, 1_000, 3_000, MEMBERS];
/// Gossip about so many joins continues for a while.
const SETTLE: Duration = Duration::from_secs(40);
const LISTS: usize = 11;
const BYTES_MAX: f64 = 1024.0;

struct Learnt {
    /// Resident memory before the join, and afterwards.
    alone_mib: f64,
    mib: f64,
    resident: f64,
    private_dirty: f64,
    join_ms: f64,
    list_ms: f64,
    stall_ms: f64,
}

/// An agent of each kind, both at the same time, with default settings, joins a peer that knows this many
/// members with 60 bytes of tags each. Memory is the growth until 40 s after the join, per member; the
/// longest stall is the longest of many `stats` round trips since the join.
pub fn costs() -> Measured {
    let mut curves = ["cottar", "serf"].map(|series| Curve::new("memory", series, []));
    let mut rows = Vec::new();
    for members in SIZES {
        let learnt = std::thread::scope(|scope| {
            [Kind::Cottar, Kind::Serf]
                .map(|kind| scope.spawn(move || learn(kind, members)))
                .map(|thread| thread.join().expect("a measurement"))
        });
        for (curve, learnt) in curves.iter_mut().zip(&learnt) {
            if curve.points.is_empty() {
                curve.points.push([1.0, learnt.alone_mib]);
            }
            curve.points.push([members as f64, learnt.mib]);
        }
        if members == MEMBERS {
            rows = table(&learnt);
        }
    }
    Measured {
        rows,
        curves: curves.into(),
    }
}

fn table([ours, theirs]: &[Learnt; 2]) -> Vec<Row> {
    let memory = |name: &str, ours: f64, theirs: f64| {
        let reached = ours <= BYTES_MAX && ours < theirs;
        Row::numbers(name, ours, theirs, "at most 1 KB, less", reached)
    };
    vec![
        memory(
            "10,000 members: resident bytes each",
            ours.resident,
            theirs.resident,
        ),
        memory(
            "10,000 members: private dirty bytes each",
            ours.private_dirty,
            theirs.private_dirty,
        ),
        Row::less("10,000 members: join, ms", ours.join_ms, theirs.join_ms),
        Row::less(
            "10,000 members: RPC list, median, ms",
            ours.list_ms,
            theirs.list_ms,
        ),
        Row::less(
            "10,000 members: longest stall, ms",
            ours.stall_ms,
            theirs.stall_ms,
        ),
    ]
}

fn learn(kind: Kind, members: usize) -> Learnt {
    let peer = free();
    let sockets = (
        UdpSocket::bind(peer).expect("a socket"),
        TcpListener::bind(peer).expect("a listener"),
    );
    let state = peers::state(members, peer);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| answer_probes(&sockets.0, &over));
        scope.spawn(|| exchange_states(&sockets.1, &state, &over));
        let learnt = watch(kind, peer, members);
        over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(peer);
        learnt
    })
}

fn watch(kind: Kind, peer: SocketAddr, members: usize) -> Learnt {
    let lab = Lab::new("crowd", if kind == Kind::Cottar { "C" } else { "S" });
    let node = lab.start(lab.spec(0).log_level("warn"));
    let mut client = Client::connect(node.rpc).expect("an RPC connection");
    assert_eq!(client.members().expect("a list"), 1);
    std::thread::sleep(Duration::from_secs(2));
    let before = proc::memory(node.pid());
    let mut joining = Client::connect(node.rpc).expect("an RPC connection");
    joining
        .read_timeout(Duration::from_secs(60))
        .expect("a timeout");
    let started = Instant::now();
    joining.send_join(peer).expect("a join");
    let join = std::thread::spawn(move || {
        joining.joined().expect("a join");
        Instant::now()
    });
    client
        .read_timeout(Duration::from_secs(60))
        .expect("a timeout");
    let mut stall = Duration::ZERO;
    while started.elapsed() < SETTLE {
        let asked = Instant::now();
        client.known().expect("figures");
        stall = stall.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.known().expect("figures"), members + 1);
    let joined = join.join().expect("a join");
    let after = proc::memory(node.pid());
    let lists = (0..LISTS).map(|_| {
        let asked = Instant::now();
        assert_eq!(client.members().expect("a list"), members + 1);
        asked.elapsed().as_secs_f64() * 1e3
    });
    let each = |after: f64, before: f64| (after - before) * 1024.0 / members as f64;
    println!("    {kind:?}: {before:?}, then {after:?}");
    Learnt {
        alone_mib: before.resident_kb / 1024.0,
        mib: after.resident_kb / 1024.0,
        resident: each(after.resident_kb, before.resident_kb),
        private_dirty: each(after.private_dirty_kb, before.private_dirty_kb),
        join_ms: (joined - started).as_secs_f64() * 1e3,
        list_ms: crate::median(lists.collect()),
        stall_ms: stall.as_secs_f64() * 1e3,
    }
}

fn answer_probes(socket: &UdpSocket, over: &AtomicBool) {
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let payload = Coordinate {
        adjustment: 0.0,
        error: 1.5,
        height: 1e-5,
        vec: [0.0; DIMENSIONS],
    }
    .encode();
    let (mut envelope, mut buffer) = (envelope(), [0; 65_536]);
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Ok(packet) = envelope.open_datagram(&buffer[..length]) else {
            continue;
        };
        for message in packet.messages.into_iter().flatten() {
            if let Message::Ping(ping) = message {
                let ack = Message::Ack(Ack {
                    seq_no: ping.seq_no,
                    payload: Some(payload.clone()),
                });
                let bytes = envelope.seal_datagram(&[ack.encode()], true);
                let _ = socket.send_to(&bytes, ping.source.unwrap_or(from));
            }
        }
    }
}

fn exchange_states(listener: &TcpListener, state: &PushPull, over: &AtomicBool) {
    let answer = envelope().seal_stream(
        &StreamMessage::PushPull(state.clone()),
        StreamSide::Responder,
    );
    while let Ok((mut stream, _)) = listener.accept() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let (envelope, mut decoder) = (envelope(), StreamDecoder::new(StreamSide::Responder));
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            match decoder.push(&buffer[..length], &envelope) {
                Ok(None) => {}
                Ok(Some(StreamMessage::PushPull(_))) => {
                    let _ = stream.write_all(&answer);
                    break;
                }
                _ => break,
            }
        }
    }
}
