//! The gossip port: datagrams and streams between the kernel and the core.
//!
//! Readiness is edge-triggered: whatever was not read to its end is remembered here and read on in the
//! next turn. Reading has a budget for each turn, so that no peer can keep the loop to itself.

pub mod acceptor;
pub mod addr;
mod bind;
pub mod lookup;
pub mod readable;
mod receive;
mod stream;
pub mod targets;
mod traffic;
mod transmit;

pub use bind::listen;
pub use traffic::Traffic;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::event::Event as Readiness;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use crate::ordered::OrderedMap;
use crate::os::error::os_error;
use crate::serf::{StreamEnd, StreamId};
use crate::time::Instant;
use crate::wire::limits::DATAGRAM_BYTES_MAX;
use acceptor::{Acceptor, Listener};
use addr::zone_of;
use bind::{bind_both, grow_receive_buffer};
use readable::Readable;
use stream::{Phase, Stream};
use traffic::Dropped;

/// Descriptors that inbound streams leave to handlers, look-ups and our own streams, if there are so
/// many.
const SPARED_DESCRIPTORS: u64 = 12;
/// Streams at a time, both ways: as many tokens are kept for them.
const STREAMS_MAX: usize = 1024;

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

/// Datagrams lost at this node since the start, as far as the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Not taken by the kernel at once.
    pub unsent: u64,
    /// They came faster than they were read.
    pub unread: u64,
}

/// The sockets of the gossip port.
#[derive(Debug)]
pub struct Gossip {
    udp: UdpSocket,
    acceptor: Acceptor,
    local: SocketAddr,
    /// The sockets are IPv6 ones, which take IPv4 addresses in their IPv6 form only.
    maps_ipv4: bool,
    tokens: Tokens,
    buffer: Box<[u8]>,
    datagrams_ready: bool,
    streams: Vec<Option<Stream>>,
    index_of: OrderedMap<StreamId, usize>,
    inbound_count: u64,
    /// Ends that the core is told in the next turn.
    failed: VecDeque<(StreamId, StreamEnd)>,
    dropped: Dropped,
    /// Datagrams read since the kernel was asked, and its number then.
    unchecked: u32,
    receive_drops: u32,
    lost: Lost,
    traffic: Traffic,
}

impl Gossip {
    /// Binds UDP and TCP to one port; with port 0 to any that is free for both. A wildcard of either family
    /// stands for both.
    ///
    /// # Errors
    /// The reference's words.
    pub fn bind(addr: SocketAddr, registry: &Registry, tokens: Tokens) -> Result<Self, String> {
        let (local, mut listener, mut udp) = bind_both(addr)?;
        let bound = udp.local_addr().map_err(|error| os_error(&error))?;
        grow_receive_buffer(&udp);
        let both = Interest::READABLE;
        registry
            .register(&mut udp, tokens.datagrams(), both)
            .and_then(|()| registry.register(&mut listener, tokens.listener(), both))
            .map_err(|error| os_error(&error))?;
        Ok(Gossip {
            udp,
            acceptor: Acceptor::new(Listener::Tcp(listener), SPARED_DESCRIPTORS),
            local,
            maps_ipv4: bound.is_ipv6(),
            tokens,
            buffer: vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice(),
            datagrams_ready: true,
            streams: Vec::new(),
            index_of: OrderedMap::new(),
            inbound_count: 0,
            failed: VecDeque::new(),
            dropped: Dropped::default(),
            unchecked: 0,
            receive_drops: 0,
            lost: Lost::default(),
            traffic: Traffic::default(),
        })
    }

    /// What has passed since the start.
    #[cfg_attr(not(feature = "telemetry"), allow(dead_code))]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What was lost since the start.
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Where the sockets are bound. A wildcard is in the family in which it was asked for.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The network that the sockets are bound to, if that is by a link-local address: all peers are there.
    /// Their addresses come and go without it, as they are known to others.
    pub fn zone(&self) -> u32 {
        zone_of(self.local)
    }

    /// Whether IPv6 peers reach this port.
    pub const fn speaks_ipv6(&self) -> bool {
        self.maps_ipv4
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
                stream.readable.note(event);
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
                (stream.readable.is_ready() && stream.phase != Phase::Connecting)
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
            readable: Readable::new(phase == Phase::Open),
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

    fn by_id(&mut self, id: StreamId) -> Option<&mut Stream> {
        let index = *self.index_of.get(&id)?;
        self.stream(index)
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
