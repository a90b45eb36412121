//! Reads from the sockets and passes the input to the core, within the budget of a turn.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use log::{debug, trace};
use mio::Registry;
use mio::net::TcpStream;

use super::Gossip;
use super::addr::{canonical, without_zone};
use super::stream::Phase;
use crate::os::clock::Clock;
use crate::os::error::os_error;
use crate::os::sys;
use crate::serf::{Input, StreamEnd, StreamId};
use crate::time::Instant;

/// Number of datagrams between readings of the kernel's drop counter; the receive buffer holds more.
const DATAGRAMS_A_CHECK: u32 = 64;
/// Limit for the datagrams read in one turn of the loop.
const DATAGRAMS_A_TURN: usize = 256;
/// Limit for the bytes read from one stream in one turn of the loop.
const STREAM_BYTES_A_TURN: usize = 256 << 10;
/// Limit for the connections accepted in one turn of the loop.
const ACCEPTS_A_TURN: usize = 32;
/// Limits for concurrent inbound streams, in total and from one address (gossip spec 8.4); as many as 60
/// agents may share a host.
const INBOUND_MAX: usize = 512;
const INBOUND_MAX_PER_ADDRESS: usize = 256;

impl Gossip {
    /// Reads all sockets within the budget of a turn, and passes each input to the core with the time at
    /// which it was read.
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
        // Streams are answered in the order in which they are read: the oldest first.
        let by_age: Vec<usize> = self.index_of.values().copied().collect();
        for index in by_age {
            self.advance_connect(index, clock, core);
            self.receive_stream(index, clock, core);
        }
    }

    /// Reads the kernel's drop counter, if enough datagrams were read since the last time.
    fn count_receive_drops(&mut self) {
        if self.unchecked < DATAGRAMS_A_CHECK {
            return;
        }
        self.unchecked = 0;
        if let Some(drops) = sys::receive_drops(self.udp.as_fd()) {
            let new = u64::from(drops.wrapping_sub(self.receive_drops));
            self.receive_drops = drops;
            self.lost.unread += new;
            self.dropped.unread += new;
        }
    }

    fn receive_datagrams(&mut self, clock: &Clock, core: &mut impl FnMut(Input<'_>, Instant)) {
        self.count_receive_drops();
        if !self.datagrams_ready {
            return;
        }
        for _ in 0..DATAGRAMS_A_TURN {
            match self.udp.recv_from(&mut self.buffer) {
                Ok((len, from)) => {
                    self.traffic.datagrams_in.add(len);
                    self.unchecked = self.unchecked.saturating_add(1);
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    let from = without_zone(canonical(from), self.zone());
                    core(Input::Datagram { from, bytes }, clock.now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.datagrams_ready = false;
                    return;
                }
                // Probably an ICMP error for an earlier datagram: it says nothing about this socket.
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
            let Some((socket, Some(peer))) = self.acceptor.accept(clock.now()) else {
                return;
            };
            let peer = without_zone(peer, self.zone());
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

    /// Checks whether a connection attempt has succeeded or failed.
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
                // Still connecting; another event will follow.
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
                stream.readable.set();
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
        if stream.phase == Phase::Connecting {
            return;
        }
        let id = stream.id;
        let open = stream.phase == Phase::Open;
        let mut budget = STREAM_BYTES_A_TURN;
        while stream.readable.is_ready() && budget > 0 {
            match stream.socket.read(&mut self.buffer) {
                Ok(0) => {
                    stream.readable.exhausted();
                    stream.ended = true;
                    // The stream stays open until the core closes it: a reply may still follow.
                    if open {
                        let end = StreamEnd::Eof;
                        core(Input::StreamClosed { stream: id, end }, clock.now());
                    }
                }
                Ok(len) => {
                    stream.readable.took(len, self.buffer.len());
                    budget = budget.saturating_sub(len);
                    if open {
                        let bytes = self.buffer.get(..len).unwrap_or_default();
                        core(Input::StreamData { stream: id, bytes }, clock.now());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable.exhausted();
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
}
