//! Transports datagrams and streams between nodes.

use std::net::SocketAddr;

use cottar::serf::{StreamEnd, StreamId, Transmit};
use cottar::time::{Duration, Instant};

use super::{Happening, Incoming, NodeId, Sim};
use crate::history::What;
use crate::network::{End, KERNEL_TIMEOUT, Piece, RETRANSMISSION};

impl Sim {
    pub(super) fn transmit(&mut self, id: NodeId, transmit: Transmit) {
        self.print(id, &transmit);
        match transmit {
            Transmit::Datagram { to, bytes } => self.send_datagram(id, to, bytes),
            Transmit::Open { stream, to } => {
                let twisted = self.twisted.get_mut(&id);
                let to = twisted.map_or(to, |twisted| twisted.opens(to));
                self.open(id, stream, to);
            }
            Transmit::Write { stream, bytes } => {
                let bytes = self.written(id, stream, bytes);
                let Some((connection, side)) = self.stream(id, stream) else {
                    return;
                };
                let end = &self.network.connections[&connection].ends[side];
                assert!(
                    end.connected,
                    "{stream:?} is written to before it is connected"
                );
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let most = self.network.weather.piece_bytes_max.min(rest.len());
                    let (piece, after) = rest.split_at(1 + self.rng.below(most));
                    self.send_piece(connection, side, Piece::Data(piece.to_vec()));
                    rest = after;
                }
            }
            Transmit::Close { stream } => self.close(id, stream, false),
            Transmit::Abort { stream } => self.close(id, stream, true),
        }
    }

    /// What a node writes to a stream, as the simulated program would.
    fn written(&mut self, id: NodeId, stream: StreamId, bytes: Vec<u8>) -> Vec<u8> {
        let Some(twisted) = self.twisted.get_mut(&id) else {
            return bytes;
        };
        let (bytes, time) = twisted.writes(stream, bytes, &mut self.rng);
        if let Some(ltime) = time {
            self.record(id, What::Invented { ltime });
        }
        bytes
    }

    /// Adds the bytes that a node sends to the hash and the counters of the run.
    pub(super) fn print(&mut self, id: NodeId, transmit: &Transmit) {
        let (kind, number, bytes): (u64, u64, &[u8]) = match transmit {
            Transmit::Datagram { to, bytes } => {
                self.traffic.datagrams += 1;
                self.nodes[id].datagrams += 1;
                self.traffic.datagram_bytes += bytes.len() as u64;
                let host = self.by_addr.get(to).map_or(u64::MAX, |&host| host as u64);
                (1, host, bytes)
            }
            Transmit::Open { stream, .. } => {
                self.traffic.streams += 1;
                (2, stream_number(*stream), &[])
            }
            Transmit::Write { stream, bytes } => {
                self.traffic.stream_bytes += bytes.len() as u64;
                (3, stream_number(*stream), bytes)
            }
            Transmit::Close { stream } => (4, stream_number(*stream), &[]),
            Transmit::Abort { stream } => (5, stream_number(*stream), &[]),
        };
        let mut hash = self.fingerprint;
        let mut add =
            |word: u64| hash = (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        for word in [
            self.now.as_nanos(),
            id as u64,
            kind,
            number,
            bytes.len() as u64,
        ] {
            add(word);
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            add(u64::from_le_bytes(word));
        }
        self.fingerprint = hash;
    }

    pub(super) fn send_datagram(&mut self, id: NodeId, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= 65_507, "a datagram of {} bytes", bytes.len());
        let Some(&host) = self.by_addr.get(&to) else {
            return;
        };
        let bytes = match self.twisted.get_mut(&id) {
            Some(twisted) => twisted.outgoing(bytes, &mut self.rng),
            None => Some(bytes),
        };
        self.arm_tick(id);
        if let Some(bytes) = bytes {
            self.carry(id, host, bytes);
        }
    }

    /// Sends a datagram.
    pub(super) fn carry(&mut self, id: NodeId, host: NodeId, bytes: Vec<u8>) {
        let from = self.nodes[id].spec.config.addr;
        let delays = self.network.datagram_delays(&mut self.rng, id, host);
        if let [Some(first), second] = delays {
            if let Some(second) = second {
                let bytes = bytes.clone();
                let copy = Happening::Datagram {
                    to: host,
                    from,
                    bytes,
                };
                self.schedule(self.now + second, 0, copy);
            }
            let only = Happening::Datagram {
                to: host,
                from,
                bytes,
            };
            self.schedule(self.now + first, 0, only);
        }
    }

    pub(super) fn open(&mut self, id: NodeId, stream: StreamId, to: SocketAddr) {
        let now = self.now;
        let node = &self.nodes[id];
        assert!(
            matches!(stream, StreamId::Outbound(_)) && !node.streams.contains_key(&stream),
            "{stream:?} is no fresh outbound id"
        );
        let target = self.by_addr.get(&to).copied();
        let end = |node, life, stream, open| End {
            node,
            life,
            stream,
            open,
            connected: false,
            since: now,
        };
        let from = end(Some(id), node.life, Some(stream), true);
        let there = end(target, 0, None, false);
        let connection = self.network.connect(from, there);
        self.nodes[id].streams.insert(stream, (connection, 0));
        self.send_piece(connection, 0, Piece::Syn);
    }

    /// The connection of a stream, unless it is over already.
    pub(super) fn stream(&self, id: NodeId, stream: StreamId) -> Option<(u64, usize)> {
        let found = self.nodes[id].streams.get(&stream);
        let &(connection, side) = found.unwrap_or_else(|| panic!("{stream:?} never existed"));
        let open = self.network.connections.get(&connection)?.ends[side].open;
        open.then_some((connection, side))
    }

    pub(super) fn close(&mut self, id: NodeId, stream: StreamId, at_once: bool) {
        let Some((connection, side)) = self.stream(id, stream) else {
            return;
        };
        let found = self
            .network
            .connections
            .get_mut(&connection)
            .expect("it is open");
        found.ends[side].open = false;
        let opened = found.ends[side].since;
        let connected = found.ends[side].connected;
        if at_once {
            found.lanes[side].pieces.clear();
        }
        if !connected || at_once {
            self.send_piece(connection, side, Piece::Reset);
        } else {
            self.send_piece(connection, side, Piece::Eof);
        }
        self.record_age(id, opened);
    }

    pub(super) fn record_age(&mut self, id: NodeId, opened: Instant) {
        let age = self.now.since(opened);
        let node = &self.nodes[id];
        let awake = !node.paused && opened >= node.resumed_at;
        if awake && age > Duration::from_secs(1) {
            self.record(id, What::StreamAge { age });
        }
    }

    pub(super) fn send_piece(&mut self, connection: u64, side: usize, piece: Piece) {
        let delay = self.network.piece_delay(&mut self.rng);
        let now = self.now;
        let found = self
            .network
            .connections
            .get_mut(&connection)
            .expect("it exists");
        let lane = &mut found.lanes[side];
        let due = lane.last_due.max(now + delay);
        lane.last_due = due;
        lane.pieces.push_back((due, piece));
        if !std::mem::replace(&mut lane.scheduled, true) {
            self.schedule(due, 0, Happening::Lane { connection, side });
        }
    }

    /// Delivers the first piece of a lane if it is due.
    pub(super) fn advance_lane(&mut self, connection: u64, side: usize) {
        let now = self.now;
        let Some(found) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let (from, to) = (found.ends[side].node, found.ends[1 - side].node);
        let lane = &mut found.lanes[side];
        lane.scheduled = false;
        let Some(&(due, _)) = lane.pieces.front() else {
            self.network.forget_if_over(connection);
            return;
        };
        let reachable = match (from, to) {
            (Some(from), Some(to)) => self.nodes[to].host_up && !self.network.is_cut(from, to),
            _ => false,
        };
        let lane = &mut self
            .network
            .connections
            .get_mut(&connection)
            .expect("as above")
            .lanes[side];
        if due > now {
            lane.scheduled = true;
            self.schedule(due, 0, Happening::Lane { connection, side });
        } else if reachable {
            lane.stuck_since = None;
            let (_, piece) = lane.pieces.pop_front().expect("as above");
            self.deliver(connection, side, piece);
            self.continue_lane(connection, side);
        } else if now.since(*lane.stuck_since.get_or_insert(now)) < KERNEL_TIMEOUT {
            lane.scheduled = true;
            let again = now + RETRANSMISSION;
            self.schedule(again, 0, Happening::Lane { connection, side });
        } else {
            lane.pieces.clear();
            self.end_stream(
                connection,
                side,
                StreamEnd::Failed("connection timed out".into()),
            );
            self.network.forget_if_over(connection);
        }
    }

    pub(super) fn continue_lane(&mut self, connection: u64, side: usize) {
        let now = self.now;
        if let Some(found) = self.network.connections.get_mut(&connection) {
            let lane = &mut found.lanes[side];
            if let (Some(&(due, _)), false) = (lane.pieces.front(), lane.scheduled) {
                lane.scheduled = true;
                self.schedule(due.max(now), 0, Happening::Lane { connection, side });
            }
        }
        self.network.forget_if_over(connection);
    }

    /// Delivers a piece that `side` sent to the other side's kernel.
    pub(super) fn deliver(&mut self, connection: u64, side: usize, piece: Piece) {
        let there = 1 - side;
        let weather = &self.network.weather;
        let breaks = weather.stream_break > 0.0 && self.rng.chance(weather.stream_break);
        if piece == Piece::Syn {
            self.accept(connection);
            return;
        }
        let end = self.network.connections[&connection].ends[there].clone();
        let Some(id) = end.node else {
            return;
        };
        let alive = self.is_up(id) && self.nodes[id].life == end.life;
        if !end.open || !alive {
            let gone = !alive && matches!(piece, Piece::Data(_) | Piece::SynAck);
            if gone && self.network.connections[&connection].ends[side].open {
                self.send_piece(connection, there, Piece::Reset);
            }
            return;
        }
        let stream = end.stream.expect("an open end has a name");
        let broken = || StreamEnd::Failed("read: connection reset by peer".into());
        match piece {
            Piece::Syn => {}
            Piece::SynAck => {
                let found = self
                    .network
                    .connections
                    .get_mut(&connection)
                    .expect("it exists");
                found.ends[there].connected = true;
                self.feed(id, Incoming::Connected(stream));
            }
            Piece::Refused => {
                let end = StreamEnd::Failed("connect: connection refused".into());
                self.end_stream(connection, there, end);
            }
            Piece::Data(_) if breaks => {
                self.end_stream(connection, there, broken());
                self.end_stream(connection, side, broken());
            }
            Piece::Data(bytes) => self.feed(id, Incoming::Data { stream, bytes }),
            Piece::Eof => self.end_stream(connection, there, StreamEnd::Eof),
            Piece::Reset => self.end_stream(connection, there, broken()),
        }
    }

    /// Handles a connection attempt at the host; its kernel accepts even for a paused process.
    pub(super) fn accept(&mut self, connection: u64) {
        let found = &self.network.connections[&connection];
        let (Some(from), Some(to)) = (found.ends[0].node, found.ends[1].node) else {
            return;
        };
        let refusal = self.network.weather.refusal;
        let refused = refusal > 0.0 && self.rng.chance(refusal);
        if !self.is_up(to) || refused {
            self.send_piece(connection, 1, Piece::Refused);
            return;
        }
        let peer_ip = self.nodes[from].spec.config.addr.ip();
        let peer = SocketAddr::new(peer_ip, 30_000 + (connection % 30_000) as u16);
        let node = &mut self.nodes[to];
        let stream = StreamId::Inbound(node.next_inbound);
        node.next_inbound += 1;
        node.streams.insert(stream, (connection, 1));
        node.called = true;
        let life = node.life;
        let end = End {
            node: Some(to),
            life,
            stream: Some(stream),
            open: true,
            connected: true,
            since: self.now,
        };
        self.network
            .connections
            .get_mut(&connection)
            .expect("it exists")
            .ends[1] = end;
        self.send_piece(connection, 1, Piece::SynAck);
        self.feed(to, Incoming::Accepted { stream, peer });
    }

    /// Reports the end of its stream to one side, unless that has closed it.
    pub(super) fn end_stream(&mut self, connection: u64, side: usize, why: StreamEnd) {
        let Some(found) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let end = &mut found.ends[side];
        let opened = end.since;
        if let (true, Some(id), Some(stream)) = (end.open, end.node, end.stream) {
            end.open = false;
            if self.is_up(id)
                && self.nodes[id].life == self.network.connections[&connection].ends[side].life
            {
                self.record_age(id, opened);
                self.feed(id, Incoming::Closed { stream, end: why });
            }
        }
    }
}

fn stream_number(stream: StreamId) -> u64 {
    match stream {
        StreamId::Inbound(number) => number << 1,
        StreamId::Outbound(number) => number << 1 | 1,
    }
}
