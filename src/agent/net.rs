//! The gossip port: datagrams and streams between the kernel and the core.
//!
//! Readiness is edge-triggered: whatever was not read to its end is remembered here and read on in the
//! next turn. Reading has a budget for each turn, so that no peer can keep the loop to itself.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use log::{debug, trace};
use mio::event::Event as Readiness;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use super::acceptor::Acceptor;
use super::clock::Clock;
use super::sys;
use super::words::os_error;
use crate::serf::{Input, StreamEnd, StreamId, Transmit};
use crate::time::{Duration, Instant};
use crate::wire::limits::DATAGRAM_BYTES_MAX;

/// Wished size of the UDP receive buffer, halved until the kernel grants it (gossip spec 2.1).
const RECEIVE_BUFFER_BYTES: i32 = 2 << 20;
/// Datagrams read in one turn.
const DATAGRAMS_A_TURN: usize = 256;
/// Bytes read from one stream in one turn.
const STREAM_BYTES_A_TURN: usize = 256 << 10;
/// Connections accepted in one turn.
const ACCEPTS_A_TURN: usize = 32;
/// Inbound streams at a time, and of one address (gossip spec 8.4); 60 agents may well share a machine.
const INBOUND_MAX: usize = 512;
const INBOUND_MAX_PER_ADDRESS: usize = 256;
/// Descriptors that inbound streams leave to handlers, look-ups and our own streams, if there are so
/// many.
const SPARED_DESCRIPTORS: u64 = 12;
/// Streams at a time, both ways: as many tokens are kept for them.
const STREAMS_MAX: usize = 1024;
/// How long a closed stream may take to flush what was written.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How long a flushed stream waits for the other side's end, so that no reset overtakes our bytes.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
/// Time between reports of what was dropped.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Attempts to find a port that is free for UDP and TCP alike.
const PORT_ATTEMPTS: usize = 32;

/// Where the tokens of the gossip sockets start, and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// The first one.
    pub first: usize,
}

impl Tokens {
    /// How many there are.
    pub const COUNT: usize = STREAMS_MAX + 2;

    const fn datagrams(self) -> Token {
        Token(self.first)
    }
    const fn listener(self) -> Token {
        Token(self.first + 1)
    }
    const fn stream(self, index: usize) -> Token {
        Token(self.first + 2 + index)
    }
}

/// The sockets of the gossip port.
#[derive(Debug)]
pub struct Gossip {
    udp: UdpSocket,
    acceptor: Acceptor,
    local: SocketAddr,
    tokens: Tokens,
    buffer: Box<[u8]>,
    datagrams_ready: bool,
    streams: Vec<Option<Stream>>,
    index_of: BTreeMap<StreamId, usize>,
    inbound_count: u64,
    /// Ends that the core is told in the next turn.
    failed: VecDeque<(StreamId, StreamEnd)>,
    dropped: Dropped,
    traffic: Traffic,
}

/// Something that has a size, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flow {
    pub count: u64,
    pub bytes: u64,
}

impl Flow {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// What has passed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    pub datagrams_in: Flow,
    pub datagrams_out: Flow,
    /// To streams.
    pub writes: Flow,
    /// Streams opened by this node, and by others.
    pub connects: u64,
    pub accepts: u64,
}

/// What was lost since the last report.
#[derive(Debug, Default)]
struct Dropped {
    /// Datagrams that the kernel did not take at once.
    datagrams: u64,
    /// Connections refused because there were too many.
    streams: u64,
    /// No report before this time.
    quiet_until: Instant,
}

impl Dropped {
    /// Tells the operator, but not for each one.
    fn report(&mut self, now: Instant) {
        if (self.datagrams == 0 && self.streams == 0) || now < self.quiet_until {
            return;
        }
        let (datagrams, streams) = (self.datagrams, self.streams);
        log::warn!(
            target: "memberlist",
            "Overload: {datagrams} packets not sent, {streams} connections refused"
        );
        *self = Dropped {
            quiet_until: now + REPORT_INTERVAL,
            ..Dropped::default()
        };
    }
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    socket: TcpStream,
    peer: SocketAddr,
    phase: Phase,
    out: VecDeque<u8>,
    /// The kernel has something for us, as far as we know.
    readable: bool,
    /// The kernel took no more; a writable event will tell.
    blocked: bool,
    /// The other side has sent its last byte.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// The core is done with it; what was written is still on its way, until then at the latest.
    Flushing(Instant),
    /// All is written and our side is shut; waits for the other's end, until then at the latest.
    Lingering(Instant),
}

impl Gossip {
    /// Binds UDP and TCP to one port; with port 0 to any that is free for both.
    ///
    /// # Errors
    /// The reference's words.
    pub fn bind(addr: SocketAddr, registry: &Registry, tokens: Tokens) -> Result<Self, String> {
        let (mut listener, mut udp) = bind_both(addr)?;
        let local = listener.local_addr().map_err(|error| os_error(&error))?;
        grow_receive_buffer(&udp);
        let both = Interest::READABLE;
        registry
            .register(&mut udp, tokens.datagrams(), both)
            .and_then(|()| registry.register(&mut listener, tokens.listener(), both))
            .map_err(|error| os_error(&error))?;
        Ok(Gossip {
            udp,
            acceptor: Acceptor::new(listener, SPARED_DESCRIPTORS),
            local,
            tokens,
            buffer: vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice(),
            datagrams_ready: true,
            streams: Vec::new(),
            index_of: BTreeMap::new(),
            inbound_count: 0,
            failed: VecDeque::new(),
            dropped: Dropped::default(),
            traffic: Traffic::default(),
        })
    }

    /// What has passed since the start.
    #[cfg_attr(not(feature = "telemetry"), allow(dead_code))]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Where the sockets are bound.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// One of the sockets may be ready; tells whether the token was one of ours.
    pub fn handle_readiness(&mut self, event: &Readiness) -> bool {
        let token = event.token();
        if token == self.tokens.datagrams() {
            self.datagrams_ready = true;
        } else if token == self.tokens.listener() {
            self.acceptor.set_ready();
        } else {
            let Some(index) = token.0.checked_sub(self.tokens.first + 2) else {
                return false;
            };
            if index >= STREAMS_MAX {
                return false;
            }
            if let Some(Some(stream)) = self.streams.get_mut(index) {
                stream.readable |=
                    event.is_readable() || event.is_read_closed() || event.is_error();
                if event.is_writable() || event.is_write_closed() || event.is_error() {
                    stream.blocked = false;
                }
            }
        }
        true
    }

    /// Whether something is known to be ready that no event will announce.
    pub fn has_more(&self) -> bool {
        self.datagrams_ready
            || self.acceptor.has_more()
            || !self.failed.is_empty()
            || self.streams.iter().flatten().any(|stream| {
                (stream.readable && stream.phase != Phase::Connecting)
                    || (stream.phase == Phase::Connecting && !stream.blocked)
            })
    }

    /// When [`Self::receive`] or [`Self::flush`] has something to do without an event.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ends = self.streams.iter().flatten();
        let ends = ends.filter_map(|stream| match stream.phase {
            Phase::Flushing(end) | Phase::Lingering(end) => Some(end),
            Phase::Connecting | Phase::Open => None,
        });
        ends.chain(self.acceptor.poll_timeout()).min()
    }

    /// Reads what is there, within the budget of a turn, and hands it to the core, each piece with the
    /// time at which it was read.
    pub fn receive(
        &mut self,
        clock: &Clock,
        registry: &Registry,
        core: &mut impl FnMut(Input<'_>, Instant),
    ) {
        while let Some((stream, end)) = self.failed.pop_front() {
            core(Input::StreamClosed { stream, end }, clock.now());
        }
        self.receive_datagrams(clock, core);
        self.accept(clock, registry, core);
        for index in 0..self.streams.len() {
            self.advance_connect(index, clock, core);
            self.receive_stream(index, clock, core);
        }
    }

    fn receive_datagrams(&mut self, clock: &Clock, core: &mut impl FnMut(Input<'_>, Instant)) {
        if !self.datagrams_ready {
            return;
        }
        for _ in 0..DATAGRAMS_A_TURN {
            match self.udp.recv_from(&mut self.buffer) {
                Ok((len, from)) => {
                    self.traffic.datagrams_in.add(len);
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    let from = canonical(from);
                    core(Input::Datagram { from, bytes }, clock.now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.datagrams_ready = false;
                    return;
                }
                // An ICMP answer to something sent before, most likely: says nothing about this socket.
                Err(error) => trace!(target: "memberlist", "UDP: {}", os_error(&error)),
            }
        }
    }

    fn accept(
        &mut self,
        clock: &Clock,
        registry: &Registry,
        core: &mut impl FnMut(Input<'_>, Instant),
    ) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some((socket, peer)) = self.acceptor.accept(clock.now()) else {
                return;
            };
            let peer = canonical(peer);
            if self.has_room_for(peer) {
                self.add_inbound(socket, peer, clock, registry, core);
            } else {
                self.dropped.streams += 1;
                debug!(target: "memberlist", "Too many streams, refusing {peer}");
            }
        }
    }

    fn has_room_for(&self, peer: SocketAddr) -> bool {
        let inbound = || {
            let streams = self.streams.iter().flatten();
            streams.filter(|stream| matches!(stream.id, StreamId::Inbound(_)))
        };
        let of_peer = inbound().filter(|stream| stream.peer.ip() == peer.ip());
        inbound().count() < INBOUND_MAX && of_peer.count() < INBOUND_MAX_PER_ADDRESS
    }

    fn add_inbound(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        clock: &Clock,
        registry: &Registry,
        core: &mut impl FnMut(Input<'_>, Instant),
    ) {
        let id = StreamId::Inbound(self.inbound_count);
        self.inbound_count += 1;
        self.traffic.accepts += 1;
        match self.add(id, socket, peer, Phase::Open, registry) {
            Ok(()) => core(Input::StreamAccepted { stream: id, peer }, clock.now()),
            Err(error) => debug!(target: "memberlist", "stream from {peer}: {}", os_error(&error)),
        }
    }

    fn add(
        &mut self,
        id: StreamId,
        mut socket: TcpStream,
        peer: SocketAddr,
        phase: Phase,
        registry: &Registry,
    ) -> io::Result<()> {
        let free = self.streams.iter().position(Option::is_none);
        let index = free.unwrap_or(self.streams.len());
        if index >= STREAMS_MAX {
            return Err(io::Error::other("too many streams"));
        }
        let _ = socket.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, self.tokens.stream(index), interest)?;
        let stream = Stream {
            id,
            socket,
            peer,
            phase,
            out: VecDeque::new(),
            readable: phase == Phase::Open,
            blocked: phase == Phase::Connecting,
            ended: false,
        };
        match self.streams.get_mut(index) {
            Some(slot) => *slot = Some(stream),
            None => self.streams.push(Some(stream)),
        }
        self.index_of.insert(id, index);
        Ok(())
    }

    fn stream(&mut self, index: usize) -> Option<&mut Stream> {
        self.streams.get_mut(index)?.as_mut()
    }

    fn remove(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index).and_then(Option::take) {
            self.index_of.remove(&stream.id);
            // Dropping the socket closes it, which also takes it out of the poll.
        }
        while matches!(self.streams.last(), Some(None)) {
            self.streams.pop();
        }
    }

    /// A connection that was under way may be there, or have failed.
    fn advance_connect(
        &mut self,
        index: usize,
        clock: &Clock,
        core: &mut impl FnMut(Input<'_>, Instant),
    ) {
        let Some(stream) = self.stream(index) else {
            return;
        };
        if stream.phase != Phase::Connecting || stream.blocked {
            return;
        }
        let id = stream.id;
        let failure = match stream.socket.take_error() {
            Ok(Some(error)) | Err(error) => Some(error),
            Ok(None) => match stream.socket.peer_addr() {
                Ok(_) => None,
                // Not there yet; another event will come.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    stream.blocked = true;
                    return;
                }
                Err(error) => Some(error),
            },
        };
        match failure {
            None => {
                stream.phase = Phase::Open;
                stream.readable = true;
                core(Input::StreamConnected(id), clock.now());
            }
            Some(error) => {
                let end = StreamEnd::Failed(format!("connect: {}", os_error(&error)));
                self.remove(index);
                core(Input::StreamClosed { stream: id, end }, clock.now());
            }
        }
    }

    fn receive_stream(
        &mut self,
        index: usize,
        clock: &Clock,
        core: &mut impl FnMut(Input<'_>, Instant),
    ) {
        let Some(stream) = self.streams.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if !stream.readable || stream.phase == Phase::Connecting {
            return;
        }
        let id = stream.id;
        let open = stream.phase == Phase::Open;
        let mut budget = STREAM_BYTES_A_TURN;
        while budget > 0 {
            match stream.socket.read(&mut self.buffer) {
                Ok(0) => {
                    stream.readable = false;
                    stream.ended = true;
                    // The stream itself stays until the outputs are drained: an answer to the last
                    // bytes may be among them.
                    if open {
                        let end = StreamEnd::Eof;
                        core(Input::StreamClosed { stream: id, end }, clock.now());
                    }
                    return;
                }
                Ok(len) => {
                    budget = budget.saturating_sub(len);
                    if open {
                        let bytes = self.buffer.get(..len).unwrap_or_default();
                        core(Input::StreamData { stream: id, bytes }, clock.now());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.remove(index);
                    if open {
                        let end = StreamEnd::Failed(format!("read: {}", os_error(&error)));
                        core(Input::StreamClosed { stream: id, end }, clock.now());
                    }
                    return;
                }
            }
        }
    }

    /// Does what the core asks for.
    pub fn transmit(&mut self, transmit: Transmit, registry: &Registry, now: Instant) {
        match transmit {
            Transmit::Datagram { to, bytes } => self.send_datagram(to, &bytes),
            Transmit::Open { stream, to } => self.open(stream, to, registry),
            Transmit::Write { stream, bytes } => {
                self.traffic.writes.add(bytes.len());
                if let Some(open) = self.by_id(stream) {
                    open.out.extend(bytes);
                }
            }
            Transmit::Close { stream } => {
                let Some(&index) = self.index_of.get(&stream) else {
                    return;
                };
                match self.stream(index) {
                    Some(open) if open.phase == Phase::Open => {
                        open.phase = Phase::Flushing(now + FLUSH_LIMIT);
                    }
                    _ => self.remove(index),
                }
            }
            Transmit::Abort { stream } => {
                if let Some(&index) = self.index_of.get(&stream) {
                    self.remove(index);
                }
                self.failed.retain(|(failed, _)| *failed != stream);
            }
        }
    }

    fn by_id(&mut self, id: StreamId) -> Option<&mut Stream> {
        let index = *self.index_of.get(&id)?;
        self.stream(index)
    }

    fn send_datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        let to = match to {
            // A socket for both families takes IPv4 addresses in their IPv6 form only.
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                let ip = v4.ip().to_ipv6_mapped();
                SocketAddr::V6(SocketAddrV6::new(ip, v4.port(), 0, 0))
            }
            to => to,
        };
        // The second attempt is for an error that an earlier datagram left behind.
        for _ in 0..2 {
            match self.udp.send_to(bytes, to) {
                Ok(_) => return self.traffic.datagrams_out.add(bytes.len()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.dropped.datagrams += 1;
                    return;
                }
                Err(error) => {
                    self.dropped.datagrams += 1;
                    debug!(target: "memberlist", "Failed to send UDP to {to}: {}", os_error(&error));
                    return;
                }
            }
        }
    }

    fn open(&mut self, id: StreamId, to: SocketAddr, registry: &Registry) {
        self.traffic.connects += 1;
        let source = Some(self.local.ip()).filter(|ip| !ip.is_unspecified());
        let opened = sys::connect_from(source, to).and_then(|socket| {
            let socket = TcpStream::from_std(socket);
            self.add(id, socket, to, Phase::Connecting, registry)
        });
        if let Err(error) = opened {
            let end = StreamEnd::Failed(format!("connect: {}", os_error(&error)));
            self.failed.push_back((id, end));
        }
    }

    /// Writes what the kernel takes, and lets go of streams that are through or too late.
    pub fn flush(&mut self, now: Instant) {
        self.dropped.report(now);
        for index in 0..self.streams.len() {
            if self.is_over(index, now) {
                self.remove(index);
            }
        }
    }

    /// Takes a stream as far as it goes; whether that was its end.
    fn is_over(&mut self, index: usize, now: Instant) -> bool {
        let Some(stream) = self.stream(index) else {
            return false;
        };
        if stream.phase == Phase::Connecting {
            return false;
        }
        if let Err(error) = stream.write_out() {
            let id = stream.id;
            if stream.phase == Phase::Open && !stream.ended {
                let end = StreamEnd::Failed(format!("write: {}", os_error(&error)));
                self.failed.push_back((id, end));
            }
            return true;
        }
        let flushed = stream.out.is_empty();
        if let (Phase::Flushing(_), true) = (stream.phase, flushed) {
            if stream.ended || stream.socket.shutdown(Shutdown::Write).is_err() {
                return true;
            }
            stream.phase = Phase::Lingering(now + LINGER_LIMIT);
            // What is in the kernel's buffer may have been announced long ago.
            stream.readable = true;
        }
        match stream.phase {
            Phase::Open => stream.ended && flushed,
            Phase::Lingering(end) => stream.ended || end <= now,
            Phase::Flushing(end) => end <= now,
            Phase::Connecting => false,
        }
    }
}

impl Stream {
    fn write_out(&mut self) -> io::Result<()> {
        while !self.blocked && !self.out.is_empty() {
            let (front, _) = self.out.as_slices();
            match self.socket.write(front) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.out.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// An IPv4 address that came in its IPv6 form, as what it is.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(v4) => SocketAddr::new(v4.into(), v6.port()),
            IpAddr::V6(_) => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

fn bind_both(addr: SocketAddr) -> Result<(TcpListener, UdpSocket), String> {
    let attempts = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
    let mut last = String::new();
    for _ in 0..attempts {
        let failed = |word: &str, net: &str, port: u16, error: io::Error| {
            let at = SocketAddr::new(addr.ip(), port);
            let (ip, why) = (addr.ip(), os_error(&error));
            format!(
                "Failed to start {word} listener on \"{ip}\" port {port}: listen {net} {at}: bind: {why}"
            )
        };
        let listener =
            TcpListener::bind(addr).map_err(|error| failed("TCP", "tcp", addr.port(), error))?;
        let port = listener
            .local_addr()
            .map_err(|error| os_error(&error))?
            .port();
        match UdpSocket::bind(SocketAddr::new(addr.ip(), port)) {
            Ok(udp) => return Ok((listener, udp)),
            Err(error) => last = failed("UDP", "udp", port, error),
        }
    }
    Err(last)
}

/// The kernel grants less than was asked for without a word; only an error is worth a smaller wish.
fn grow_receive_buffer(udp: &UdpSocket) {
    let mut bytes = RECEIVE_BUFFER_BYTES;
    while bytes >= 64 << 10 && sys::set_receive_buffer(udp.as_fd(), bytes).is_err() {
        bytes /= 2;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
