use super::*;
use crate::os::clock::Clock;
use crate::serf::{Input, Transmit};
use mio::{Events, Poll};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration as Wait, Instant as Deadline};

struct Bench {
    poll: Poll,
    clock: Clock,
    gossip: Gossip,
    seen: Vec<String>,
}

impl Bench {
    fn new(addr: &str) -> Self {
        let poll = Poll::new().unwrap();
        let addr = addr.parse().unwrap();
        let gossip = Gossip::bind(addr, poll.registry(), Tokens { first: 10 }).unwrap();
        Bench {
            poll,
            clock: Clock::new(),
            gossip,
            seen: Vec::new(),
        }
    }

    /// Performs a turn like the loop: output of the last turn is written before the next poll.
    fn turn(&mut self) {
        self.gossip.flush(self.clock.now());
        let mut events = Events::with_capacity(64);
        let wait = if self.gossip.has_more() { 0 } else { 20 };
        self.poll
            .poll(&mut events, Some(Wait::from_millis(wait)))
            .unwrap();
        for event in &events {
            assert!(self.gossip.handle_readiness(event));
        }
        let seen = &mut self.seen;
        self.gossip
            .receive(&self.clock, self.poll.registry(), &mut |input, _| {
                seen.push(match input {
                    Input::Datagram { bytes, .. } => {
                        format!("datagram {}", String::from_utf8_lossy(bytes))
                    }
                    Input::StreamData { bytes, .. } => {
                        format!("data {}", String::from_utf8_lossy(bytes))
                    }
                    Input::StreamAccepted { .. } => "accepted".to_owned(),
                    Input::StreamConnected(_) => "connected".to_owned(),
                    Input::StreamClosed { end, .. } => format!("{end:?}"),
                    other => format!("{other:?}"),
                });
            });
    }

    fn until(&mut self, what: &str) {
        let deadline = Deadline::now() + Wait::from_secs(10);
        while !self.seen.iter().any(|seen| seen.contains(what)) {
            assert!(Deadline::now() < deadline, "no {what} in {:?}", self.seen);
            self.turn();
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let now = self.clock.now();
        self.gossip.transmit(transmit, self.poll.registry(), now);
    }
}

#[test]
fn one_port_serves_datagrams_and_streams() {
    let mut bench = Bench::new("127.0.0.1:0");
    let addr = bench.gossip.local_addr();
    assert_ne!(addr.port(), 0);
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"hello", addr).unwrap();
    bench.until("datagram hello");
    let to = peer.local_addr().unwrap();
    let bytes = b"back".to_vec();
    bench.transmit(Transmit::Datagram { to, bytes });
    let mut buffer = [0; 16];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (&b"back"[..], addr));

    let mut client = std::net::TcpStream::connect(addr).unwrap();
    bench.until("accepted");
    client.write_all(b"ask").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // The end of the request must not cut off the reply, even if the reply takes a while.
    let stream = StreamId::Inbound(0);
    bench.until("data ask");
    bench.until("Eof");
    (0..5).for_each(|_| bench.turn());
    let bytes = vec![b'x'; 300_000];
    bench.transmit(Transmit::Write { stream, bytes });
    bench.transmit(Transmit::Close { stream });
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).map(|_| all.len())
    });
    let deadline = Deadline::now() + Wait::from_secs(10);
    while !reader.is_finished() {
        assert!(Deadline::now() < deadline);
        bench.turn();
    }
    assert_eq!(reader.join().unwrap().unwrap(), 300_000);
    while !bench.gossip.index_of.is_empty() {
        assert!(Deadline::now() < deadline);
        bench.turn();
    }
}

#[test]
fn outbound_streams_connect_or_say_why_not() {
    let mut bench = Bench::new("127.0.0.1:0");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let stream = StreamId::Outbound(1);
    bench.transmit(Transmit::Open { stream, to });
    bench.until("connected");
    let bytes = b"ping".to_vec();
    bench.transmit(Transmit::Write { stream, bytes });
    bench.turn();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut buffer = [0; 4];
    accepted.read_exact(&mut buffer).unwrap();
    accepted.write_all(b"pong").unwrap();
    drop(accepted);
    bench.until("data pong");
    bench.until("Eof");
    // The core may still send something.
    assert_eq!(bench.gossip.index_of.len(), 1);
    bench.transmit(Transmit::Abort { stream });

    drop(listener);
    let stream = StreamId::Outbound(2);
    bench.transmit(Transmit::Open { stream, to });
    bench.until("connect: connection refused");
    assert!(bench.gossip.index_of.is_empty());
}

#[test]
fn an_ipv6_wildcard_hears_both_families() {
    let Ok(poll) = Poll::new() else { return };
    let any = "[::]:0".parse().unwrap();
    // Without IPv6 there is nothing to test.
    if Gossip::bind(any, poll.registry(), Tokens { first: 10 }).is_err() {
        return;
    }
    let mut bench = Bench::new("[::]:0");
    let port = bench.gossip.local_addr().port();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"four", ("127.0.0.1", port)).unwrap();
    bench.until("datagram four");
    let to = peer.local_addr().unwrap();
    let bytes = b"six".to_vec();
    bench.transmit(Transmit::Datagram { to, bytes });
    let mut buffer = [0; 16];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 3);
}

#[test]
fn a_busy_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let poll = Poll::new().unwrap();
    let error = Gossip::bind(addr, poll.registry(), Tokens { first: 0 }).unwrap_err();
    let port = addr.port();
    assert_eq!(
        error,
        format!(
            "Failed to start TCP listener on \"127.0.0.1\" port {port}: \
             listen tcp 127.0.0.1:{port}: bind: address already in use"
        )
    );
}

/// A slot that has become free is used again, so the order of the slots says nothing about age.
#[test]
fn the_oldest_stream_is_read_first() {
    let mut bench = Bench::new("127.0.0.1:0");
    let addr = bench.gossip.local_addr();
    let connect = |bench: &mut Bench| {
        let peer = std::net::TcpStream::connect(addr).unwrap();
        bench.until("accepted");
        bench.seen.clear();
        peer
    };
    let _first = connect(&mut bench);
    let mut older = connect(&mut bench);
    let stream = StreamId::Inbound(0);
    bench.transmit(Transmit::Abort { stream });
    let mut newer = connect(&mut bench);
    let index = |number| bench.gossip.index_of.get(&StreamId::Inbound(number));
    assert_eq!((index(1), index(2)), (Some(&1), Some(&0)));

    newer.write_all(b"newer").unwrap();
    older.write_all(b"older").unwrap();
    let deadline = Deadline::now() + Wait::from_secs(10);
    let has_data = |stream: &Option<Stream>| {
        let socket = &stream.as_ref().unwrap().socket;
        socket.peek(&mut [0; 1]).is_ok_and(|bytes| bytes > 0)
    };
    while !bench.gossip.streams.iter().all(has_data) {
        assert!(Deadline::now() < deadline, "the data do not arrive");
    }
    bench.until("newer");
    assert_eq!(bench.seen, ["data older", "data newer"]);
}
