//! Decoders against hostile input: they never panic, never allocate past their limits, and give back
//! what was encoded. `COTTAR_FUZZ_ITERATIONS` makes it longer, `COTTAR_FUZZ_SEED` different.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use cottar::rng::Rng;
use cottar::wire::msgpack::Reader;
use cottar::wire::serf::*;
use cottar::wire::*;

/// Counts what this thread holds, and the most that it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let held = HELD.with(|held| {
        held.set(held.get() + change);
        held.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(held)));
}

// SAFETY: hands everything on to the system's allocator; the counters are plain thread-local cells
// without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were held during `work`, beyond those before it.
fn peak_bytes<R>(work: impl FnOnce() -> R) -> (usize, R) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    ((PEAK.get() - before) as usize, result)
}

/// Runs `case` with a generator of its own for each iteration; a failure names the seed to repeat it.
fn fuzz(default_iterations: u64, mut case: impl FnMut(&mut Rng)) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let scale = number("COTTAR_FUZZ_ITERATIONS");
    let first = number("COTTAR_FUZZ_SEED").unwrap_or(1);
    for seed in first..first + scale.unwrap_or(default_iterations) {
        let named = Named(seed);
        case(&mut Rng::new(seed));
        std::mem::forget(named);
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        eprintln!(
            "failed with COTTAR_FUZZ_SEED={} COTTAR_FUZZ_ITERATIONS=1",
            self.0
        );
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

struct Seed {
    bytes: Vec<u8>,
    key: Option<Vec<u8>>,
    label: Vec<u8>,
}

impl Seed {
    fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::plain(NonceSource::new([0; 32]));
        envelope.label = Label::new(&self.label).unwrap();
        envelope.keyring = self
            .key
            .as_ref()
            .map(|key| Keyring::new(Key::new(key).unwrap()));
        envelope
    }
}

fn seeds(transport: &str) -> Vec<Seed> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("data/gossip-vectors.json")).unwrap();
    file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| vector["transport"] == transport)
        .map(|vector| Seed {
            bytes: unhex(vector["hex"].as_str().unwrap()),
            key: vector["key"].as_str().map(unhex),
            label: vector["label"].as_str().unwrap_or_default().into(),
        })
        .collect()
}

fn random_bytes(rng: &mut Rng, length_max: usize) -> Vec<u8> {
    let length = rng.below(length_max + 1);
    (0..length).map(|_| rng.next_u32() as u8).collect()
}

/// Bytes that matter to decoders: markers with big lengths, type bytes, boundaries.
const SPICE: &[u8] = &[
    0, 1, 2, 4, 6, 7, 8, 9, 10, 12, 13, 0x7f, 0x80, 0x90, 0xa0, 0xc0, 0xc1, 0xc4, 0xc6, 0xc9, 0xcb,
    0xcf, 0xd3, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xf4, 0xff,
];

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 if at < bytes.len() => bytes[at] = SPICE[rng.below(SPICE.len())],
            3 => bytes.insert(at.min(bytes.len()), SPICE[rng.below(SPICE.len())]),
            4 if at < bytes.len() => {
                bytes.remove(at);
            }
            5 => {
                let end = (at + rng.below(40)).min(bytes.len());
                let copy = bytes[at.min(end)..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => bytes.extend(random_bytes(rng, 8)),
        }
    }
}

fn wrapped(rng: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    match rng.below(4) {
        0 => {
            // Valid compression around whatever it is.
            let compressed = lzw::compress(&bytes);
            let mut writer = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![9]);
            writer
                .map(2)
                .key("Algo")
                .uint(0)
                .key("Buf")
                .bytes(&compressed);
            writer.into_bytes()
        }
        1 if bytes.len() < 60_000 => {
            let mut compound = vec![7, 2];
            compound.extend((bytes.len() as u16).to_be_bytes());
            compound.extend((bytes.len() as u16).to_be_bytes());
            compound.extend(&bytes);
            compound.extend(&bytes);
            compound
        }
        _ => bytes,
    }
}

/// What an `expand` of a datagram needs at once beyond its result: LZW tables and growth.
const DECODER_BYTES: usize = 256 << 10;
/// The largest thing that a short input can make: a refused part of a compound.
const PART_BYTES: usize = 400;

#[test]
fn datagrams() {
    let seeds = seeds("udp");
    fuzz(20_000, |rng| {
        let seed = &seeds[rng.below(seeds.len())];
        let mut envelope = seed.envelope();
        let mut bytes = match rng.below(4) {
            0 => random_bytes(rng, 1500),
            _ => seed.bytes.clone(),
        };
        if rng.below(3) > 0 && !seed.bytes.is_empty() {
            mutate(rng, &mut bytes);
        }
        for _ in 0..rng.below(7) {
            bytes = wrapped(rng, bytes);
        }
        bytes.truncate(limits::DATAGRAM_BYTES_MAX);
        envelope.verify_incoming = rng.chance(0.5);
        let (peak, result) = peak_bytes(|| envelope.open_datagram(&bytes));
        let budget = (bytes.len() + limits::DATAGRAM_EXPANDED_BYTES_MAX) / 2 * PART_BYTES
            + limits::NESTING_MAX * (DECODER_BYTES + 2 * limits::DATAGRAM_EXPANDED_BYTES_MAX);
        assert!(peak < budget, "{peak} bytes held");
        let Ok(packet) = result else { return };
        for message in packet.messages.into_iter().flatten() {
            // What decoded is sane, so it survives the way back.
            assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
            if let Message::User(user) = &message {
                let _ = SerfMessage::decode(user);
            }
        }
    });
}

/// Bombs inside bombs: the budget is for the whole datagram.
#[test]
fn a_datagram_expands_once() {
    let compress = |plain: &[u8]| {
        let mut writer = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![9]);
        let compressed = lzw::compress(plain);
        writer
            .map(2)
            .key("Algo")
            .uint(0)
            .key("Buf")
            .bytes(&compressed);
        writer.into_bytes()
    };
    let bomb = compress(&vec![8; 60_000]);
    let mut compound = vec![7, 200];
    for _ in 0..200 {
        compound.extend((bomb.len() as u16).to_be_bytes());
    }
    for _ in 0..200 {
        compound.extend(&bomb);
    }
    let envelope = Envelope::plain(NonceSource::new([0; 32]));
    let (peak, packet) = peak_bytes(|| envelope.open_datagram(&compound).unwrap());
    let expanded = packet.messages.iter().filter(|part| part.is_ok()).count();
    assert_eq!((packet.messages.len(), expanded), (200, 1));
    assert!(peak < 1 << 20, "{peak} bytes held");
}

/// Feeds the bytes in pieces, as they could arrive; true lengths of the pieces are up to `cut`.
fn feed(
    bytes: &[u8],
    envelope: &Envelope,
    side: StreamSide,
    mut cut: impl FnMut() -> usize,
) -> (
    Result<Option<StreamMessage>, DecodeError>,
    Option<&'static str>,
) {
    let mut decoder = StreamDecoder::new(side);
    let mut rest = bytes;
    let mut result = Ok(None);
    while !rest.is_empty() && result == Ok(None) {
        let (piece, after) = rest.split_at(cut().clamp(1, rest.len()));
        rest = after;
        result = decoder.push(piece, envelope);
        assert!(decoder.buffered_bytes() <= bytes.len());
    }
    (result, decoder.error_report())
}

#[test]
fn streams_in_any_pieces() {
    let seeds = seeds("tcp");
    fuzz(8_000, |rng| {
        let seed = &seeds[rng.below(seeds.len())];
        let mut envelope = seed.envelope();
        envelope.verify_incoming = rng.chance(0.8);
        let side = match rng.below(2) {
            0 => StreamSide::Initiator,
            _ => StreamSide::Responder,
        };
        let mut bytes = match rng.below(6) {
            0 => random_bytes(rng, 300),
            _ => seed.bytes.clone(),
        };
        if rng.below(3) > 0 {
            mutate(rng, &mut bytes);
        }
        let whole = feed(&bytes, &envelope, side, || usize::MAX);
        let single = feed(&bytes, &envelope, side, || 1);
        assert_eq!(whole, single);
        let (peak, pieces) = peak_bytes(|| feed(&bytes, &envelope, side, || 1 + rng.below(64)));
        assert_eq!(whole, pieces);
        // All seeds are small, so nothing big may come of them but an expansion.
        assert!(peak < 2 << 20, "{peak} bytes held");
        if let Ok(Some(StreamMessage::PushPull(push_pull))) = whole.0 {
            let _ = SerfPushPull::decode(&push_pull.user_state);
        }
    });
}

/// A header announces everything and nothing follows.
#[test]
fn announcements_allocate_nothing() {
    let envelope = Envelope::plain(NonceSource::new([0; 32]));
    let mut header = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![6]);
    header.map(3).key("Join").bool(true);
    header.key("Nodes").uint(limits::PUSH_PULL_NODES_MAX as u64);
    header
        .key("UserStateLen")
        .uint(limits::USER_STATE_BYTES_MAX as u64);
    let user = [8, 0x81, 0xaa]
        .iter()
        .chain(b"UserMsgLen")
        .chain(&[0xce, 1, 0, 0, 0]);
    let compress = [9, 0x81, 0xa3]
        .iter()
        .chain(b"Buf")
        .chain(&[0xdb, 2, 0, 0, 0]);
    for bytes in [
        header.into_bytes(),
        user.copied().collect(),
        compress.copied().collect(),
        vec![6, 0xdf, 0, 0, 0x10, 0],
        vec![
            0, 0x81, 0xa5, b'S', b'e', b'q', b'N', b'o', 0xdb, 0, 0, 0xff, 0,
        ],
    ] {
        let (peak, result) = peak_bytes(|| feed(&bytes, &envelope, StreamSide::Responder, || 3));
        assert_eq!(result.0, Ok(None), "{bytes:02x?}");
        assert!(peak < 4096, "{peak} bytes held for {bytes:02x?}");
    }
    let mut ring = Envelope::plain(NonceSource::new([0; 32]));
    ring.keyring = Some(Keyring::new(Key::new(&[1; 16]).unwrap()));
    let frame = [10, 1, 0x40, 0, 0, 1];
    let (peak, result) = peak_bytes(|| feed(&frame, &ring, StreamSide::Responder, || 6));
    assert_eq!(result.0, Ok(None));
    assert!(peak < 4096, "{peak} bytes held");
}

/// Each limit of a stream, passed by one.
#[test]
fn limits_of_streams_are_held() {
    let plain = Envelope::plain(NonceSource::new([0; 32]));
    let refused = |head: &[(&str, u64)], kind: u8| {
        let mut writer = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![kind]);
        writer.map(head.len());
        for (key, value) in head {
            writer.key(key).uint(*value);
        }
        feed(&writer.into_bytes(), &plain, StreamSide::Responder, || 9).0
    };
    let nodes = limits::PUSH_PULL_NODES_MAX as u64 + 1;
    let state = limits::USER_STATE_BYTES_MAX as u64 + 1;
    let user = limits::STREAM_USER_MESSAGE_BYTES_MAX as u64 + 1;
    assert_eq!(
        refused(&[("Nodes", nodes)], 6),
        Err(DecodeError::TooLarge("Nodes"))
    );
    assert_eq!(
        refused(&[("UserStateLen", state)], 6),
        Err(DecodeError::TooLarge("UserStateLen"))
    );
    assert_eq!(
        refused(&[("UserMsgLen", user)], 8),
        Err(DecodeError::TooLarge("UserMsgLen"))
    );
    for (kind, field) in [(6, "Nodes"), (6, "UserStateLen"), (8, "UserMsgLen")] {
        let mut writer = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![kind]);
        writer.map(1).key(field).int(-1);
        let result = feed(&writer.into_bytes(), &plain, StreamSide::Responder, || 9).0;
        assert_eq!(result, Err(DecodeError::Invalid(field)));
    }
    // An object that is larger than any honest one is refused when it says so.
    let large = [0, 0x81, 0xa1, b'x', 0xdb, 0, 1, 0, 0];
    assert_eq!(
        feed(&large, &plain, StreamSide::Responder, || 9).0,
        Err(DecodeError::TooLarge("object of a stream"))
    );
    // A stream of small objects without end.
    let mut endless = StreamDecoder::new(StreamSide::Responder);
    let head = [&[6, 0x81, 0xa5][..], b"Nodes", &[0xce, 0, 0x10, 0, 0]].concat();
    assert_eq!(endless.push(&head, &plain), Ok(None));
    let mut node = vec![0x81, 0xa1, b'x', 0xda, 0xf0, 0];
    node.resize(6 + 0xf000, 0);
    let mut pushed = 0;
    let (peak, error) = peak_bytes(|| {
        loop {
            pushed += node.len();
            assert!(pushed <= limits::STREAM_BYTES_MAX + node.len());
            if let Err(error) = endless.push(&node, &plain) {
                return error;
            }
        }
    });
    assert_eq!(error, DecodeError::TooLarge("stream"));
    assert!(peak < 1 << 20, "{peak} bytes held");
    let mut ring = Envelope::plain(NonceSource::new([0; 32]));
    ring.keyring = Some(Keyring::new(Key::new(&[1; 16]).unwrap()));
    let over = (limits::STREAM_FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    let frame = [&[10][..], &over].concat();
    let (result, report) = feed(&frame, &ring, StreamSide::Responder, || 9);
    assert_eq!(result, Err(DecodeError::TooLarge("encrypted frame")));
    assert_eq!(
        report,
        Some("Remote node state is larger than limit (20971520)")
    );
}

/// Allocations and moved bytes would show quadratic work; counting pushes that see the whole buffer
/// would not be portable, so this feeds what a quadratic decoder could not finish.
#[test]
fn a_large_stream_in_single_bytes_is_linear_work() {
    let envelope = {
        let mut envelope = Envelope::plain(NonceSource::new([0; 32]));
        envelope.compression = false;
        envelope
    };
    let mut rng = Rng::new(5);
    let message = StreamMessage::PushPull(PushPull {
        nodes: (0..20_000).map(|_| push_pull_node(&mut rng)).collect(),
        user_state: vec![2; 1 << 20],
        ..PushPull::default()
    });
    let bytes = message.encode();
    assert!(bytes.len() > 3 << 20);
    let (result, _) = feed(&bytes, &envelope, StreamSide::Responder, || 1);
    assert_eq!(result, Ok(Some(message)));
}

#[test]
fn bodies_of_the_serf_layer() {
    let seeds: Vec<Vec<u8>> = seeds("udp")
        .iter()
        .flat_map(|seed| {
            let packet = seed.envelope().open_datagram(&seed.bytes).unwrap();
            packet
                .messages
                .into_iter()
                .filter_map(|message| match message {
                    Ok(Message::User(user)) => Some(user),
                    _ => None,
                })
        })
        .collect();
    assert!(seeds.len() > 20);
    fuzz(20_000, |rng| {
        let mut bytes = match rng.below(4) {
            0 => random_bytes(rng, 200),
            _ => seeds[rng.below(seeds.len())].clone(),
        };
        mutate(rng, &mut bytes);
        let limit = 40 * bytes.len() + 4096;
        let (peak, ()) = peak_bytes(|| {
            if let Ok(message) = SerfMessage::decode(&bytes) {
                assert_eq!(
                    SerfMessage::decode(&message.encode()).as_ref(),
                    Ok(&message)
                );
                if let SerfMessage::Query(query) = message {
                    for filter in query.filters.iter().flatten() {
                        let _ = Filter::decode(filter);
                    }
                }
            }
            let _ = Tags::decode_meta(&bytes);
            let _ = SerfPushPull::decode(&bytes);
            let _ = Filter::decode(&bytes);
            let _ = ConflictMember::decode(&bytes);
            let _ = KeyRequest::decode(&bytes);
            let _ = KeyResponse::decode(&bytes);
            let _ = Reader::new(&bytes).skip();
        });
        assert!(peak < limit, "{peak} bytes held for {}", bytes.len());
    });
}

/// Whatever the length of text, LZW comes back, and whatever the bytes, it stays within bounds.
#[test]
fn lzw_both_ways() {
    fuzz(1_500, |rng| {
        let alphabet = 1 + rng.below(256);
        let length_max = if rng.chance(0.1) { 30_000 } else { 600 };
        let mut plain = random_bytes(rng, length_max);
        for byte in &mut plain {
            *byte = (usize::from(*byte) % alphabet) as u8;
        }
        let mut compressed = lzw::compress(&plain);
        assert_eq!(lzw::expand(&compressed, plain.len()), Ok(plain.clone()));
        assert_eq!(expand_by_the_book(&compressed), Some(plain));
        if rng.chance(0.5) {
            mutate(rng, &mut compressed);
        } else {
            compressed = random_bytes(rng, 300);
        }
        let (peak, expanded) = peak_bytes(|| lzw::expand(&compressed, 1000));
        assert!(peak < DECODER_BYTES, "{peak} bytes held");
        let book = expand_by_the_book(&compressed);
        match expanded {
            Err(DecodeError::TooLarge(_)) => {}
            expanded => assert_eq!(expanded.ok(), book, "{compressed:02x?}"),
        }
    });
}

/// The decoder of gossip spec 2.5, word for word and slow.
fn expand_by_the_book(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let mut table: Vec<Vec<u8>> = Vec::new();
    let (mut next, mut width, mut previous) = (257usize, 9, None::<Vec<u8>>);
    let mut at = 0;
    loop {
        let mut code = 0;
        for bit in 0..width {
            let byte = *compressed.get((at + bit) / 8)?;
            code |= usize::from(byte >> ((at + bit) % 8) & 1) << bit;
        }
        at += width;
        if code == 256 {
            (next, width, previous) = (257, 9, None);
            table.clear();
            continue;
        }
        if code == 257 {
            return Some(output);
        }
        if code > next || code == next && previous.is_none() && code - 258 >= table.len() {
            return None;
        }
        let text = match code {
            0..=255 => vec![code as u8],
            _ if code - 258 < table.len() => table[code - 258].clone(),
            _ => {
                let mut text = previous.clone()?;
                text.push(text[0]);
                text
            }
        };
        output.extend(&text);
        if let Some(mut entry) = previous.take() {
            entry.push(text[0]);
            assert_eq!(table.len(), next - 258);
            table.push(entry);
        }
        previous = Some(text);
        next += 1;
        if next == 1 << width {
            if width < 12 {
                width += 1;
            } else {
                next -= 1;
                previous = None;
            }
        }
    }
}

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

/// `port_min` 1 where port 0 stands for no address.
fn addr(rng: &mut Rng, port_min: u16) -> SocketAddr {
    let port = (rng.next_u32() as u16).max(port_min);
    let ip = match rng.below(2) {
        0 => IpAddr::from(rng.next_u32().to_be_bytes()),
        // Never a mapped one: those that are only sent to are turned into IPv4.
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

/// Numbers of every encoded width.
fn number(rng: &mut Rng) -> u64 {
    rng.next_u64() >> rng.below(64)
}

fn push_pull_node(rng: &mut Rng) -> PushPullNode {
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
        0 => Message::Ping(ping(rng)),
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
