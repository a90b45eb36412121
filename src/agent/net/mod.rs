//! The gossip port: moves datagrams and stream data between the kernel and the core.
//!
//! Readiness is edge-triggered, so sockets that were not read to the end are remembered and read in the next
//! turn. Reading has a budget per turn, so that no peer can occupy the loop.

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

/// File descriptors that inbound streams must leave for handlers, lookups and outbound streams, if possible.
const SPARED_DESCRIPTORS: u64 = 12;
/// Limit for concurrent streams in both directions; it also is the number of tokens reserved for them.
const STREAMS_MAX: usize = 1024;

/// Range of tokens for the gossip sockets.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// First token.
    pub first: usize,
}

impl Tokens {
    /// Number of tokens.
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

/// Datagrams lost at this node since the start, as far as the kernel reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Not accepted by the kernel for sending.
    pub unsent: u64,
    /// Received, but dropped because the receive buffer was full.
    pub unread: u64,
}

/// Sockets of the gossip port.
#[derive(Debug)]
pub struct Gossip {
    udp: UdpSocket,
    acceptor: Acceptor,
    local: SocketAddr,
    /// Whether the sockets are IPv6 ones, which take IPv4 addresses only in mapped form.
    maps_ipv4: bool,
    tokens: Tokens,
    buffer: Box<[u8]>,
    datagrams_ready: bool,
    streams: Vec<Option<Stream>>,
    index_of: OrderedMap<StreamId, usize>,
    inbound_count: u64,
    /// Failed streams that the core will be informed of in the next turn.
    failed: VecDeque<(StreamId, StreamEnd)>,
    dropped: Dropped,
    /// Datagrams read since the kernel's drop counter was last read, and its value then.
    unchecked: u32,
    receive_drops: u32,
    lost: Lost,
    traffic: Traffic,
}

impl Gossip {
    /// Binds UDP and TCP to one port; port 0 means any port that is free for both. A wildcard of either
    /// family means both families.
    ///
    /// # Errors
    /// If a socket cannot be opened; the text is the reference's.
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

    /// Returns the traffic since the start.
    #[cfg_attr(not(feature = "telemetry"), allow(dead_code))]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Returns the losses since the start.
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Returns the bound address. A wildcard is in the family in which it was requested.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the zone, if the sockets are bound to a link-local address: all peers are in it. Addresses are
    /// passed to and from the core without the zone, as other nodes know them.
    pub fn zone(&self) -> u32 {
        zone_of(self.local)
    }

    /// Returns whether IPv6 peers can reach this port.
    pub const fn speaks_ipv6(&self) -> bool {
        self.maps_ipv4
    }

    /// Handles readiness of a socket. Returns whether the token belongs to this port.
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

    /// Returns whether a socket is still ready although no event will announce it.
    pub fn has_more(&self) -> bool {
        self.datagrams_ready
            || self.acceptor.has_more()
            || !self.failed.is_empty()
            || self.streams.iter().flatten().any(|stream| {
                (stream.readable.is_ready() && stream.phase != Phase::Connecting)
                    || (stream.phase == Phase::Connecting && !stream.blocked)
            })
    }

    /// Returns when [`Self::receive`] or [`Self::flush`] must be called even without an event.
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
            // Dropping the socket closes it and removes it from the poll.
        }
        while matches!(self.streams.last(), Some(None)) {
            self.streams.pop();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
