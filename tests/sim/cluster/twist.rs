//! Nodes whose datagrams are changed on their way, so that they behave as another program would.

use cottar::rng::Rng;
use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::{EventDigest, EventSummary};
use cottar::wire::{Ack, Envelope, Message, NonceSource, Ping};

/// Another behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Compares nothing: as the reference, which neither sends nor looks at what follows a body.
    Silent,
    /// Lies about what it remembers, something else each time.
    Liar,
}

/// A plain envelope: nodes with a ring cannot be twisted.
fn envelope() -> Envelope {
    Envelope::plain(NonceSource::new([7; 32]))
}

/// Changes each message of a datagram; `None`: nothing is left of it.
fn change(bytes: &[u8], mut each: impl FnMut(Message) -> Option<Message>) -> Option<Vec<u8>> {
    let packet = envelope().open_datagram(bytes).unwrap();
    let messages = packet.messages.into_iter().map(Result::unwrap);
    let changed: Vec<_> = messages.filter_map(&mut each).collect();
    let encoded: Vec<_> = changed.iter().map(Message::encode).collect();
    (!encoded.is_empty()).then(|| envelope().seal_datagram(&encoded, false))
}

impl Twist {
    /// What leaves such a node.
    pub fn outgoing(self, bytes: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
        change(bytes, |message| match (self, message) {
            (Twist::Silent, Message::Ping(ping)) => {
                let probes = EventDigest::decode_of_ping(&ping.extension).is_some();
                let bare = Ping {
                    extension: Vec::new(),
                    ..ping.clone()
                };
                (probes || ping.extension.is_empty()).then_some(Message::Ping(bare))
            }
            (Twist::Silent, Message::Ack(ack)) => Some(Message::Ack(Ack {
                payload: ack.payload.map(|payload| {
                    let place = Coordinate::decode_first(&payload);
                    place.map_or(payload.clone(), |(place, _)| place.encode())
                }),
                ..ack
            })),
            (Twist::Liar, Message::Ping(ping)) => Some(Message::Ping(Ping {
                extension: lying_summary(rng),
                ..ping
            })),
            (Twist::Liar, Message::Ack(ack)) => Some(Message::Ack(Ack {
                payload: ack.payload.map(|payload| lying_payload(&payload, rng)),
                ..ack
            })),
            (_, message) => Some(message),
        })
    }

    /// What reaches such a node.
    pub fn incoming(self, bytes: &[u8]) -> Option<Vec<u8>> {
        change(bytes, |message| match message {
            Message::Ping(ping) if self == Twist::Silent => Some(Message::Ping(Ping {
                extension: Vec::new(),
                ..ping
            })),
            message => Some(message),
        })
    }
}

fn lying_summary(rng: &mut Rng) -> Vec<u8> {
    let times = 1 + rng.below(384);
    EventSummary {
        is_answer: rng.chance(0.3),
        salt: rng.next_u32() as u8,
        first: rng.below(2_000) as u32,
        marks: (0..times).map(|_| rng.next_u32() as u8).collect(),
    }
    .encode()
}

fn lying_payload(payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut lie = match Coordinate::decode_first(payload) {
        Ok((place, _)) => place.encode(),
        Err(_) => Vec::new(),
    };
    let upto = match rng.below(3) {
        0 => rng.next_u32(),
        _ => rng.below(2_000) as u32,
    };
    let digest = rng.next_u64().to_be_bytes();
    EventDigest {
        upto,
        digest: [
            digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6],
        ],
    }
    .encode(&mut lie);
    lie
}
