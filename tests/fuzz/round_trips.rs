//! Decoding returns what was encoded.

use std::net::{IpAddr, SocketAddr};

use cottar::rng::Rng;
use cottar::wire::serf::*;
use cottar::wire::*;

use crate::checks::stream::feed;
use crate::supply::{fuzz, random_bytes};

fn name(rng: &mut Rng) -> NodeName {
    loop {
        let length = match rng.below(8) {
            0 => 255,
            1 => 32,
            _ => 16,
        };
        if let Ok(name) = NodeName::new(&random_bytes(rng, length)) {
            return name;
        }
    }
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.chance(0.7).then(|| make(rng))
}

/// `port_min` is 1 where port 0 stands for a missing address.
fn addr(rng: &mut Rng, port_min: u16) -> SocketAddr {
    let port = (rng.next_u32() as u16).max(port_min);
    let ip = match rng.below(2) {
        0 => IpAddr::from(rng.next_u32().to_be_bytes()),
        // Never an IPv4-mapped address: the decoder turns these into IPv4.
        _ => IpAddr::from([0x20; 16].map(|byte: u8| byte ^ rng.below(16) as u8)),
    };
    SocketAddr::new(ip, port)
}

fn versions(rng: &mut Rng) -> VersionVector {
    let mut protocol = [0; 3].map(|_: u8| 1 + rng.below(255) as u8);
    let mut delegate = [0; 3].map(|_: u8| rng.below(256) as u8);
    protocol.sort_unstable();
    delegate.sort_unstable();
    VersionVector {
        protocol_min: protocol[0],
        protocol_current: protocol[1],
        protocol_max: protocol[2],
        delegate_min: delegate[0],
        delegate_current: delegate[1],
        delegate_max: delegate[2],
    }
}

/// Returns numbers of every encoded width.
fn number(rng: &mut Rng) -> u64 {
    rng.next_u64() >> rng.below(64)
}

pub fn push_pull_node(rng: &mut Rng) -> PushPullNode {
    PushPullNode {
        name: name(rng),
        addr: addr(rng, 0),
        meta: maybe(rng, |rng| random_bytes(rng, limits::META_BYTES_MAX).into()),
        incarnation: (number(rng) as u32).max(1),
        state: match rng.below(4) {
            0 => RemoteState::Alive,
            1 => RemoteState::Suspect,
            2 => RemoteState::Dead,
            _ => RemoteState::Left,
        },
        versions: versions(rng),
    }
}

fn ping(rng: &mut Rng) -> Ping {
    Ping {
        seq_no: number(rng) as u32,
        node: maybe(rng, name),
        source: maybe(rng, |rng| addr(rng, 1)),
        source_node: maybe(rng, name),
        extension: Vec::new(),
    }
}

fn ack(rng: &mut Rng) -> Ack {
    Ack {
        seq_no: number(rng) as u32,
        payload: maybe(rng, |rng| random_bytes(rng, 300)),
    }
}

fn message(rng: &mut Rng) -> Message {
    match rng.below(8) {
        0 => Message::Ping(Ping {
            extension: random_bytes(rng, limits::PING_EXTENSION_BYTES_MAX),
            ..ping(rng)
        }),
        1 => Message::IndirectPing(IndirectPing {
            seq_no: number(rng) as u32,
            target: addr(rng, 0),
            node: name(rng),
            nack: rng.chance(0.5),
            source: maybe(rng, |rng| addr(rng, 1)),
            source_node: maybe(rng, name),
        }),
        2 => Message::Ack(ack(rng)),
        3 => Message::Nack(Nack {
            seq_no: number(rng) as u32,
        }),
        4 => Message::Suspect(Suspect {
            incarnation: number(rng) as u32,
            node: name(rng),
            from: maybe(rng, name),
        }),
        5 => Message::Dead(Dead {
            incarnation: number(rng) as u32,
            node: name(rng),
            from: maybe(rng, name),
        }),
        6 => Message::Alive(Alive {
            incarnation: (number(rng) as u32).max(1),
            node: name(rng),
            addr: addr(rng, 0),
            meta: maybe(rng, |rng| random_bytes(rng, limits::META_BYTES_MAX).into()),
            versions: versions(rng),
        }),
        _ => Message::User(serf_message(rng).encode()),
    }
}

fn serf_message(rng: &mut Rng) -> SerfMessage {
    let ltime = LamportTime(number(rng));
    let payload = maybe(rng, |rng| random_bytes(rng, 600));
    match rng.below(6) {
        0 => SerfMessage::Leave(LeaveIntent {
            ltime,
            node: name(rng),
            prune: rng.chance(0.5),
        }),
        1 => SerfMessage::Join(JoinIntent {
            ltime,
            node: name(rng),
        }),
        2 => SerfMessage::UserEvent(UserEventMessage {
            ltime,
            name: random_bytes(rng, 40),
            payload,
            coalesce: rng.chance(0.5),
        }),
        3 => SerfMessage::Query(QueryMessage {
            ltime,
            id: number(rng) as u32,
            addr: addr(rng, 0),
            source_node: maybe(rng, name),
            filters: maybe(rng, |rng| {
                (0..rng.below(limits::QUERY_FILTERS_MAX + 1))
                    .map(|_| random_bytes(rng, 10))
                    .collect()
            }),
            flags: number(rng) as u32,
            relay_factor: number(rng) as u8,
            timeout_nanos: number(rng) as i64 * if rng.chance(0.2) { -1 } else { 1 },
            name: random_bytes(rng, 40),
            payload,
        }),
        4 => SerfMessage::QueryResponse(QueryResponseMessage {
            ltime,
            id: number(rng) as u32,
            from: name(rng),
            flags: number(rng) as u32,
            payload,
        }),
        _ => SerfMessage::Relay(RelayMessage {
            destination: addr(rng, 0),
            destination_name: maybe(rng, name),
            message: [&[5][..], &random_bytes(rng, 100)].concat(),
        }),
    }
}

fn serf_push_pull(rng: &mut Rng) -> SerfPushPull {
    SerfPushPull {
        ltime: LamportTime(number(rng)),
        status_ltimes: (0..rng.below(20))
            .map(|_| (name(rng), LamportTime(number(rng))))
            .collect(),
        left_members: (0..rng.below(20)).map(|_| name(rng)).collect(),
        event_ltime: LamportTime(number(rng)),
        events: (0..rng.below(20))
            .map(|_| {
                maybe(rng, |rng| RecentEvents {
                    ltime: LamportTime(number(rng)),
                    events: (0..rng.below(4))
                        .map(|_| {
                            let payload = maybe(rng, |rng| random_bytes(rng, 100));
                            (random_bytes(rng, 40), payload)
                        })
                        .collect(),
                })
            })
            .collect(),
        query_ltime: LamportTime(number(rng)),
    }
}

fn tags(rng: &mut Rng) -> Tags {
    let mut tags = Tags::new();
    for _ in 0..rng.below(20) {
        tags.set(&random_bytes(rng, 10), &random_bytes(rng, 40));
    }
    tags
}

#[test]
fn what_is_encoded_comes_back() {
    fuzz(5_000, |rng| {
        let message = message(rng);
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
        let message = serf_message(rng);
        assert_eq!(
            SerfMessage::decode(&message.encode()).as_ref(),
            Ok(&message)
        );
        let state = serf_push_pull(rng);
        assert_eq!(SerfPushPull::decode(&state.encode()).as_ref(), Ok(&state));
        let tags = tags(rng);
        assert_eq!(
            Tags::decode_meta(&tags.encode_meta(4)),
            (tags.clone(), true)
        );
        for filter in [
            Filter::Nodes((0..20).map(|_| random_bytes(rng, 40)).collect()),
            Filter::Tag {
                tag: random_bytes(rng, 40),
                expression: random_bytes(rng, 40),
            },
        ] {
            assert_eq!(Filter::decode(&filter.encode()).as_ref(), Ok(&filter));
        }
        let member = maybe(rng, |rng| ConflictMember {
            name: name(rng),
            addr: addr(rng, 0),
            tags,
            status: rng.below(5) as u8,
            versions: versions(rng),
        });
        let encoded = ConflictMember::encode(member.as_ref());
        assert_eq!(ConflictMember::decode(&encoded), Ok(member));
        let request = KeyRequest {
            key: maybe(rng, |rng| random_bytes(rng, 40)),
        };
        assert_eq!(KeyRequest::decode(&request.encode()), Ok(request));
        let response = KeyResponse {
            result: rng.chance(0.5),
            message: random_bytes(rng, 40),
            keys: maybe(rng, |rng| {
                (0..rng.below(4)).map(|_| random_bytes(rng, 44)).collect()
            }),
            primary_key: random_bytes(rng, 44),
        };
        assert_eq!(KeyResponse::decode(&response.encode()), Ok(response));
    });
}

fn envelope(rng: &mut Rng) -> Envelope {
    let mut seed = [0; 32];
    seed.fill_with(|| rng.next_u32() as u8);
    let mut envelope = Envelope::plain(NonceSource::new(seed));
    envelope.compression = rng.chance(0.5);
    if rng.chance(0.5) {
        envelope.label = Label::new(&random_bytes(rng, limits::LABEL_BYTES_MAX)).unwrap();
    }
    if rng.chance(0.5) {
        let key_bytes = [16, 24, 32][rng.below(3)];
        envelope.keyring = Some(Keyring::new(Key::new(&seed[..key_bytes]).unwrap()));
    }
    envelope
}

#[test]
fn what_is_sealed_opens() {
    fuzz(2_000, |rng| {
        let mut envelope = envelope(rng);
        let messages: Vec<_> = (0..1 + rng.below(limits::COMPOUND_PARTS_SENT_MAX))
            .map(|_| message(rng))
            .collect();
        let encoded: Vec<_> = messages.iter().map(Message::encode).collect();
        let datagram = envelope.seal_datagram(&encoded, rng.chance(0.5));
        let opened = envelope.open_datagram(&datagram);
        if datagram.len() <= limits::DATAGRAM_EXPANDED_BYTES_MAX {
            let expected: Vec<_> = messages.into_iter().map(Ok).collect();
            assert_eq!(opened.unwrap().messages, expected);
        }
        let message = match rng.below(5) {
            0 => StreamMessage::Ping(ping(rng)),
            1 => StreamMessage::Ack(ack(rng)),
            2 => StreamMessage::User(random_bytes(rng, 3_000)),
            3 => StreamMessage::Error(random_bytes(rng, limits::ERROR_TEXT_BYTES_MAX)),
            _ => StreamMessage::PushPull(PushPull {
                join: rng.chance(0.5),
                nodes: (0..rng.below(40)).map(|_| push_pull_node(rng)).collect(),
                refused: Vec::new(),
                user_state: serf_push_pull(rng).encode(),
            }),
        };
        for (writes, reads) in [
            (StreamSide::Initiator, StreamSide::Responder),
            (StreamSide::Responder, StreamSide::Initiator),
        ] {
            let bytes = envelope.seal_stream(&message, writes);
            let (result, _) = feed(&bytes, &envelope, reads, || 1 + rng.below(2_000));
            assert_eq!(result, Ok(Some(message.clone())));
        }
    });
}
