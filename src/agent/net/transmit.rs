//! Performs the core's requests on the sockets, as far as the kernel accepts them.

use std::io;
use std::net::{Shutdown, SocketAddr, SocketAddrV6};

use log::debug;
use mio::Registry;
use mio::net::TcpStream;

use super::Gossip;
use super::addr::in_zone;
use super::stream::Phase;
use crate::os::error::os_error;
use crate::os::sys;
use crate::serf::{StreamEnd, StreamId, Transmit};
use crate::time::{Duration, Instant};

/// Timeout for writing the remaining output of a closed stream.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How long a stream with all output written waits for the peer to close, so that a reset does not discard
/// our data.
const LINGER_LIMIT: Duration = Duration::from_secs(2);

impl Gossip {
    /// Performs a request of the core.
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

    fn send_datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        let to = match in_zone(to, self.zone()) {
            SocketAddr::V4(v4) if self.maps_ipv4 => {
                let ip = v4.ip().to_ipv6_mapped();
                SocketAddr::V6(SocketAddrV6::new(ip, v4.port(), 0, 0))
            }
            to => to,
        };
        // The second attempt is for an error caused by an earlier datagram.
        for _ in 0..2 {
            match self.udp.send_to(bytes, to) {
                Ok(_) => return self.traffic.datagrams_out.add(bytes.len()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.note_unsent();
                }
                Err(error) => {
                    self.note_unsent();
                    debug!(target: "memberlist", "Failed to send UDP to {to}: {}", os_error(&error));
                    return;
                }
            }
        }
    }

    fn note_unsent(&mut self) {
        self.dropped.datagrams += 1;
        self.lost.unsent += 1;
    }

    fn open(&mut self, id: StreamId, to: SocketAddr, registry: &Registry) {
        self.traffic.connects += 1;
        let mut source = self.local;
        source.set_port(0);
        let source = Some(source).filter(|source| !source.ip().is_unspecified());
        let opened = sys::connect_from(source, in_zone(to, self.zone())).and_then(|socket| {
            let socket = TcpStream::from_std(socket);
            self.add(id, socket, to, Phase::Connecting, registry)
        });
        if let Err(error) = opened {
            let end = StreamEnd::Failed(format!("connect: {}", os_error(&error)));
            self.failed.push_back((id, end));
        }
    }

    /// Writes as much output as the kernel accepts, and removes streams that are complete or have timed out.
    pub fn flush(&mut self, now: Instant) {
        self.dropped.report(now);
        for index in 0..self.streams.len() {
            if self.is_over(index, now) {
                self.remove(index);
            }
        }
    }

    /// Advances a stream as far as possible; returns whether it is complete.
    fn is_over(&mut self, index: usize, now: Instant) -> bool {
        let Some(stream) = self.stream(index) else {
            return false;
        };
        if stream.phase == Phase::Connecting {
            return false;
        }
        if let Err(error) = stream.write_out() {
            let id = stream.id;
            if stream.phase == Phase::Open {
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
            // Data in the kernel's buffer may have been announced long ago.
            stream.readable.set();
        }
        match stream.phase {
            Phase::Lingering(end) => stream.ended || end <= now,
            Phase::Flushing(end) => end <= now,
            Phase::Connecting | Phase::Open => false,
        }
    }
}
