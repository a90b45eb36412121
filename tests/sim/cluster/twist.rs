//! Nodes that simulate another program: their bytes are changed in transit.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use cottar::rng::Rng;
use cottar::serf::{Counters, LamportTime};
use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::EventDigest;
use cottar::wire::serf::{RESPONSE_FLAG_PENDING, SerfMessage, query_flag};
use cottar::wire::{
    Ack, Envelope, Key, Keyring, Message, NonceSource, Ping, StreamMessage, StreamSide,
};

use super::Spec;
use super::forger::Forger;
use super::liar::Lies;
use super::spread::Spread;

/// The simulated program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The reference: neither sends nor reads additions after a body, does not repair missed events or
    /// repeat queries and answers, ignores cottar's lines in its snapshot, and sends user events and
    /// queries only at ticks, to random members. Its core still delays events for order and until its first
    /// exchange; other nodes do not notice that, and checkers do not rely on it.
    Reference,
    /// A liar: sends false digests and summaries, different each time, and invented messages
    /// ([`super::Inventions`]).
    Liar,
    /// A liar that forges states, membership messages and intents, too ([`super::Slander`]).
    Forger,
}

impl Twist {
    /// Whether the node is hostile.
    pub fn lies(self) -> bool {
        matches!(self, Twist::Liar | Twist::Forger)
    }
}

/// An address without a host: everything that is sent to it is lost.
const NOWHERE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 255, 0, 1)),
    1,
);

/// An address without a host, one of several.
pub(super) fn nowhere(rng: &mut Rng) -> SocketAddr {
    let ip = std::net::Ipv4Addr::new(10, 255, 0, 1 + rng.below(20) as u8);
    SocketAddr::new(std::net::IpAddr::V4(ip), 7946)
}

/// The state of a node that simulates another program.
pub struct Twisted {
    pub twist: Twist,
    envelope: Envelope,
    pub(super) spread: Spread,
    pub(super) lies: Lies,
    pub(super) forger: Forger,
    /// Queries that it knows.
    queries: BTreeSet<(LamportTime, u32)>,
    /// The number of repair exchanges that its core has started in this life, and how many of them have not
    /// opened their stream yet.
    exchanges: (u64, u64),
}

impl Twisted {
    pub(super) fn new(twist: Twist, spec: &Spec) -> Self {
        let mut envelope = Envelope::plain(NonceSource::new([7; 32]));
        let key = spec.key.as_ref().map(|key| Key::new(key).unwrap());
        envelope.keyring = key.map(Keyring::new);
        envelope.compression = spec.compression;
        Twisted {
            twist,
            envelope,
            spread: Spread::default(),
            lies: Lies::default(),
            forger: Forger::default(),
            queries: BTreeSet::new(),
            exchanges: (0, 0),
        }
    }

    /// Resets the state at the end of a life.
    pub(super) fn forget(&mut self) {
        self.spread = Spread::default();
        self.lies.forget();
        self.queries.clear();
        self.exchanges = (0, 0);
    }

    /// The lines of its snapshot that the simulated program reads.
    pub(super) fn reads(&self, file: &[u8]) -> Vec<u8> {
        if self.twist != Twist::Reference {
            return file.to_vec();
        }
        let lines = file.split_inclusive(|&byte| byte == b'\n');
        lines
            .filter(|line| line[0] != b'#')
            .flatten()
            .copied()
            .collect()
    }

    /// Updates the number of exchanges from its core's counters.
    pub(super) fn note_exchanges(&mut self, counters: &Counters) {
        let started = counters.repair_exchanges();
        let (before, pending) = self.exchanges;
        self.exchanges = (started, pending + started - before);
    }

    /// The destination of a stream that its core opens; repair exchanges go to an address without a host.
    pub(super) fn opens(&mut self, to: SocketAddr) -> SocketAddr {
        if self.twist != Twist::Reference || self.exchanges.1 == 0 {
            return to;
        }
        self.exchanges.1 -= 1;
        NOWHERE
    }

    pub(super) fn seal(&mut self, messages: &[Vec<u8>]) -> Vec<u8> {
        self.envelope.seal_datagram(messages, false)
    }

    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub(super) fn seal_stream(&mut self, message: &StreamMessage, side: StreamSide) -> Vec<u8> {
        self.envelope.seal_stream(message, side)
    }

    pub(super) fn packet_budget_bytes(&self) -> usize {
        self.envelope.packet_budget_bytes()
    }

    /// Changes each message of a datagram; returns `None` if no message remains. Messages that do not decode
    /// stay unchanged.
    fn change(
        &mut self,
        bytes: Vec<u8>,
        mut each: impl FnMut(&mut Self, Message) -> Option<Message>,
    ) -> Option<Vec<u8>> {
        let packet = self.envelope.open_datagram(&bytes).ok();
        let messages: Option<Vec<Message>> =
            packet.and_then(|packet| packet.messages.into_iter().map(Result::ok).collect());
        let Some(messages) = messages else {
            return Some(bytes);
        };
        let changed = messages
            .into_iter()
            .filter_map(|message| each(self, message));
        let encoded: Vec<Vec<u8>> = changed.map(|message| message.encode()).collect();
        (!encoded.is_empty()).then(|| self.seal(&encoded))
    }

    /// Changes an outgoing datagram.
    pub(super) fn outgoing(&mut self, bytes: Vec<u8>, rng: &mut Rng) -> Option<Vec<u8>> {
        match self.twist {
            Twist::Reference => self.change(bytes, Twisted::says),
            Twist::Liar | Twist::Forger => self.change(bytes, |twisted, message| {
                Some(twisted.lies.lie(message, rng))
            }),
        }
    }

    /// Changes an incoming datagram.
    pub(super) fn incoming(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self.twist {
            Twist::Reference => self.change(bytes, Twisted::hears),
            Twist::Liar | Twist::Forger => self.change(bytes, |twisted, message| {
                twisted.lies.hear(&message);
                Some(message)
            }),
        }
    }

    /// A message of the core as the reference would send it.
    fn says(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Ping(ping) => {
                let of_probe = EventDigest::decode_of_ping(&ping.extension).is_some();
                (of_probe || ping.extension.is_empty()).then(|| bare_ping(ping))
            }
            Message::Ack(ack) => Some(bare_ack(ack)),
            Message::User(bytes) => match SerfMessage::decode(&bytes) {
                Ok(SerfMessage::UserEvent(_)) => {
                    self.spread.add(bytes);
                    None
                }
                Ok(SerfMessage::Query(query)) => {
                    self.queries.insert((query.ltime, query.id));
                    if query.flags & query_flag::NO_BROADCAST == 0 {
                        self.spread.add(bytes);
                    }
                    None
                }
                _ => Some(bare_response(bytes)),
            },
            message => Some(message),
        }
    }

    /// A message as the reference would take it.
    fn hears(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Ping(ping) => Some(bare_ping(ping)),
            Message::Ack(ack) => Some(bare_ack(ack)),
            Message::User(bytes) => {
                if let Ok(SerfMessage::Query(query)) = SerfMessage::decode(&bytes) {
                    let is_new = self.queries.insert((query.ltime, query.id));
                    let is_repeated = query.flags & query_flag::NO_BROADCAST != 0;
                    return (is_new || !is_repeated).then_some(Message::User(bytes));
                }
                Some(bare_response(bytes))
            }
            message => Some(message),
        }
    }
}

fn bare_ping(ping: Ping) -> Message {
    Message::Ping(Ping {
        extension: Vec::new(),
        ..ping
    })
}

fn bare_ack(ack: Ack) -> Message {
    let payload = ack.payload.map(|payload| {
        let place = Coordinate::decode_first(&payload);
        place.map_or_else(|_| payload.clone(), |(place, _)| place.encode())
    });
    Message::Ack(Ack { payload, ..ack })
}

/// A response without the flags that only this program knows.
fn bare_response(bytes: Vec<u8>) -> Message {
    if let Ok(SerfMessage::QueryResponse(mut response)) = SerfMessage::decode(&bytes) {
        response.flags &= !RESPONSE_FLAG_PENDING;
        return Message::User(SerfMessage::QueryResponse(response).encode());
    }
    Message::User(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::host_addr;
    use cottar::wire::coordinate::DIMENSIONS;
    use cottar::wire::serf::{
        QueryMessage, QueryResponseMessage, RESPONSE_FLAG_ACK, UserEventMessage,
    };

    fn reference(key: Option<Vec<u8>>) -> Twisted {
        let mut spec = Spec::lan("a", host_addr(0));
        spec.key = key;
        Twisted::new(Twist::Reference, &spec)
    }

    fn query(id: u32, flags: u32) -> Message {
        let query = QueryMessage {
            ltime: LamportTime(3),
            id,
            addr: host_addr(0),
            source_node: None,
            filters: None,
            flags,
            relay_factor: 0,
            timeout_nanos: 1,
            name: b"load".to_vec(),
            payload: None,
        };
        Message::User(SerfMessage::Query(query).encode())
    }

    /// The messages that remain after the change.
    fn left(
        twisted: &mut Twisted,
        messages: &[Message],
        pass: impl Fn(&mut Twisted, Vec<u8>) -> Option<Vec<u8>>,
    ) -> Vec<Message> {
        let encoded: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
        let sealed = twisted.seal(&encoded);
        let Some(bytes) = pass(twisted, sealed) else {
            return Vec::new();
        };
        let packet = twisted.envelope.open_datagram(&bytes).unwrap();
        packet.messages.into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn the_reference_has_no_additions() {
        let digest = EventDigest {
            upto: 7,
            digest: [1; 7],
        };
        let ping = |extension| {
            Message::Ping(Ping {
                seq_no: 1,
                node: None,
                source: None,
                source_node: None,
                extension,
            })
        };
        let place = Coordinate {
            adjustment: 0.0,
            error: 1.5,
            height: 1e-5,
            vec: [0.0; DIMENSIONS],
        };
        let place = place.encode();
        let mut tailed = place.clone();
        digest.encode(&mut tailed);
        let ack = |payload| {
            Message::Ack(Ack {
                seq_no: 1,
                payload: Some(payload),
            })
        };
        let response = |flags| {
            let response = QueryResponseMessage {
                ltime: LamportTime(3),
                id: 1,
                from: crate::cluster::node_name("a"),
                flags,
                payload: None,
            };
            Message::User(SerfMessage::QueryResponse(response).encode())
        };
        for key in [None, Some(vec![1; 16])] {
            let mut peer = reference(key);
            let given = [
                ping(digest.encode_for_ping()),
                ack(tailed.clone()),
                response(RESPONSE_FLAG_ACK | RESPONSE_FLAG_PENDING),
            ];
            let bare = [
                ping(Vec::new()),
                ack(place.clone()),
                response(RESPONSE_FLAG_ACK),
            ];
            let out = |peer: &mut Twisted, bytes| peer.outgoing(bytes, &mut Rng::new(1));
            assert_eq!(left(&mut peer, &given, out), bare);
            assert_eq!(left(&mut peer, &given, Twisted::incoming), bare);
            // A ping that is nothing but a summary, and a repeated query, are not sent.
            let repeated = query(1, query_flag::NO_BROADCAST);
            assert_eq!(
                left(&mut peer, &[ping(vec![0xc1, 0x10]), repeated], out),
                []
            );
            assert!(peer.spread.is_empty());
        }
    }

    #[test]
    fn the_reference_spreads_at_ticks_and_knows_a_query_once() {
        let mut peer = reference(None);
        let event = UserEventMessage {
            ltime: LamportTime(1),
            name: b"deploy".to_vec(),
            payload: None,
            coalesce: false,
        };
        let event = Message::User(SerfMessage::UserEvent(event).encode());
        let out = |peer: &mut Twisted, bytes| peer.outgoing(bytes, &mut Rng::new(1));
        for _ in 0..2 {
            assert_eq!(left(&mut peer, &[query(1, 0), event.clone()], out), []);
        }
        // Newest first, each as often as the limit says.
        let encoded = [event.encode(), query(1, 0).encode()];
        assert_eq!(peer.spread.packet(1_400, 2), encoded);
        assert_eq!(peer.spread.packet(1_400, 2), encoded);
        assert!(peer.spread.is_empty());
        let again = [
            query(1, query_flag::NO_BROADCAST),
            query(2, query_flag::NO_BROADCAST),
        ];
        assert_eq!(left(&mut peer, &again, Twisted::incoming), again[1..]);
    }
}
