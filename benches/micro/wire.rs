//! Encoding and decoding of messages.

use crate::peers::{self, envelope};
use crate::{Growth, Step, nanos_per_step};
use cottar::wire::serf::{LamportTime, SerfMessage, SerfPushPull, UserEventMessage};
use cottar::wire::{
    Alive, Envelope, Key, Keyring, Message, PushPull, StreamDecoder, StreamMessage, StreamSide,
};
use std::hint::black_box;

/// Messages in a gossip packet.
const PACKET: usize = 8;
/// Events in a datagram.
const EVENTS: u64 = 10;

pub const STEPS: &[Step] = &[
    Step {
        name: "encode a packet of news",
        growth: Growth::Constant,
        measure: encode,
    },
    Step {
        name: "decode a packet of news",
        growth: Growth::Constant,
        measure: decode,
    },
    Step {
        name: "encrypt a packet of news",
        growth: Growth::Constant,
        measure: encrypt,
    },
    Step {
        name: "decrypt a packet of news",
        growth: Growth::Constant,
        measure: decrypt,
    },
    Step {
        name: "decode ten events, not compressed",
        growth: Growth::Constant,
        measure: decode_events,
    },
    Step {
        name: "decode ten events, compressed",
        growth: Growth::Constant,
        measure: expand_events,
    },
    Step {
        name: "encode a push/pull, each member",
        growth: Growth::Constant,
        measure: encode_state,
    },
    Step {
        name: "decode a push/pull, each member",
        growth: Growth::Constant,
        measure: decode_state,
    },
    Step {
        name: "encode the Serf state, each member",
        growth: Growth::Constant,
        measure: encode_user_state,
    },
    Step {
        name: "decode the Serf state, each member",
        growth: Growth::Constant,
        measure: decode_user_state,
    },
];

fn state(members: usize) -> PushPull {
    peers::state(members, "127.0.0.1:7946".parse().unwrap())
}

/// Returns alive messages of members.
pub fn announcements(members: usize, incarnation: u32) -> Vec<Message> {
    let alive = |node: cottar::wire::PushPullNode| {
        Message::Alive(Alive {
            incarnation,
            node: node.name,
            addr: node.addr,
            meta: node.meta,
            versions: node.versions,
        })
    };
    state(members).nodes.into_iter().map(alive).collect()
}

/// Returns the plain envelope, or one with a key; compression is measured separately.
fn sealing(encrypted: bool) -> Envelope {
    let mut envelope = envelope();
    envelope.compression = false;
    envelope.keyring = encrypted.then(|| Keyring::new(Key::new(&[7; 32]).unwrap()));
    envelope
}

fn seal_all(members: usize, envelope: &mut Envelope) -> Vec<Vec<u8>> {
    let encoded: Vec<Vec<u8>> = announcements(members, 1)
        .iter()
        .map(Message::encode)
        .collect();
    encoded
        .chunks(PACKET)
        .filter(|chunk| chunk.len() == PACKET)
        .map(|chunk| envelope.seal_datagram(chunk, true))
        .collect()
}

fn encode(members: usize) -> f64 {
    let (all, mut envelope) = (announcements(members, 1), sealing(false));
    let mut packets = all.chunks_exact(PACKET).cycle();
    nanos_per_step(1, || {
        let messages = packets.next().unwrap().iter().map(Message::encode);
        let messages: Vec<Vec<u8>> = messages.collect();
        black_box(envelope.seal_datagram(&messages, true));
    })
}

fn open(members: usize, encrypted: bool) -> f64 {
    let mut envelope = sealing(encrypted);
    let packets = seal_all(members, &mut envelope);
    let mut packets = packets.iter().cycle();
    nanos_per_step(1, || {
        let packet = envelope.open_datagram(packets.next().unwrap()).unwrap();
        assert_eq!(black_box(packet).messages.len(), PACKET);
    })
}

fn decode(members: usize) -> f64 {
    open(members, false)
}

fn encrypt(members: usize) -> f64 {
    let encoded: Vec<Vec<u8>> = announcements(members, 1)
        .iter()
        .map(Message::encode)
        .collect();
    let (mut envelope, mut packets) = (sealing(true), encoded.chunks_exact(PACKET).cycle());
    nanos_per_step(1, || {
        black_box(envelope.seal_datagram(packets.next().unwrap(), true));
    })
}

fn decrypt(members: usize) -> f64 {
    open(members, true)
}

/// Returns a datagram of ten small events, whatever the number of members.
fn events(is_compressed: bool) -> f64 {
    let mut envelope = envelope();
    envelope.compression = is_compressed;
    let event = |number: u64| {
        let event = SerfMessage::UserEvent(UserEventMessage {
            ltime: LamportTime(1_000 + number),
            name: format!("deploy-{number}").into_bytes(),
            payload: Some(b"payload".to_vec()),
            coalesce: false,
        });
        Message::User(event.encode()).encode()
    };
    let events: Vec<Vec<u8>> = (0..EVENTS).map(event).collect();
    let datagram = envelope.seal_datagram(&events, false);
    assert_eq!(datagram[0] == 9, is_compressed);
    nanos_per_step(1, || {
        let packet = envelope.open_datagram(&datagram).unwrap();
        assert_eq!(black_box(packet).messages.len() as u64, EVENTS);
    })
}

fn decode_events(_: usize) -> f64 {
    events(false)
}

fn expand_events(_: usize) -> f64 {
    events(true)
}

fn encode_state(members: usize) -> f64 {
    let (mut envelope, message) = (envelope(), StreamMessage::PushPull(state(members)));
    nanos_per_step(members, || {
        black_box(envelope.seal_stream(&message, StreamSide::Responder));
    })
}

fn decode_state(members: usize) -> f64 {
    let mut envelope = envelope();
    let message = StreamMessage::PushPull(state(members));
    let bytes = envelope.seal_stream(&message, StreamSide::Responder);
    nanos_per_step(members, || {
        let mut decoder = StreamDecoder::new(StreamSide::Initiator);
        let mut pieces = bytes.chunks(16_384);
        let decoded = pieces.find_map(|piece| decoder.push(piece, &envelope).unwrap());
        assert!(black_box(decoded).is_some());
    })
}

fn encode_user_state(members: usize) -> f64 {
    let state = SerfPushPull::decode(&state(members).user_state).unwrap();
    nanos_per_step(members, || {
        black_box(state.encode());
    })
}

fn decode_user_state(members: usize) -> f64 {
    let bytes = state(members).user_state;
    nanos_per_step(members, || {
        black_box(SerfPushPull::decode(&bytes).unwrap());
    })
}
