//! Hostile input to each decoder.

use cottar::rng::Rng;
use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::{EventDigest, EventSummary, SUMMARY_TIMES_MAX};
use cottar::wire::msgpack::{Boundary, DEPTH_MAX, Reader};
use cottar::wire::*;

use crate::checks::stream::feed;
use crate::checks::{self, bodies, datagram, stream};
use crate::round_trips::push_pull_node;
use crate::supply::{fuzz, mutate, peak_bytes, random_bytes, seeds, wrapped};

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
        envelope.verify_incoming = rng.chance(0.5);
        datagram::opened(&envelope, &bytes);
    });
}

/// Nested decompression bombs: the budget is for the whole datagram.
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
        stream::fed(&bytes, &envelope, side, || 1 + rng.below(64));
    });
}

/// A header announces the maximum, and nothing follows.
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

/// Exceeds each limit of a stream by one.
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
    // An object that is larger than any honest one is refused at its header.
    let large = [0, 0x81, 0xa1, b'x', 0xdb, 0, 1, 0, 0];
    assert_eq!(
        feed(&large, &plain, StreamSide::Responder, || 9).0,
        Err(DecodeError::TooLarge("object of a stream"))
    );
    // A stream of small objects that does not end.
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

/// Quadratic work would show as running time: the stream is so long that a quadratic decoder could not
/// finish. (Counting work in the decoder would not be portable.)
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
        bodies::check(&bytes);
    });
}

/// `Boundary` finds the end of an object however the bytes arrive and within any size limit, without
/// allocating. The end is where `Reader::skip` stops.
#[test]
fn ends_of_objects() {
    let (mut found, mut refused) = (0, 0);
    fuzz(20_000, |rng| {
        let mut bytes = match rng.below(3) {
            0 => random_bytes(rng, 60),
            // Nested containers, sometimes deeper than allowed.
            1 => (0..rng.below(2 * DEPTH_MAX))
                .map(|_| 0x81 + 0x10 * rng.below(2) as u8)
                .collect(),
            _ => (0..60).map(|_| rng.below(0xa8) as u8).collect(),
        };
        mutate(rng, &mut bytes);
        let bytes_max = rng.below(bytes.len() + 2);
        let mut find = |boundary: &mut Boundary, piece_max: usize| {
            let mut arrived = 0;
            loop {
                let result = boundary.find(&bytes[..arrived], bytes_max);
                if result != Ok(None) || arrived == bytes.len() {
                    return result;
                }
                arrived = (arrived + 1 + rng.below(piece_max)).min(bytes.len());
            }
        };
        let (peak, result) = peak_bytes(|| {
            let single = find(&mut Boundary::default(), 1);
            assert_eq!(find(&mut Boundary::default(), 9), single);
            single
        });
        assert_eq!(peak, 0);
        let mut reader = Reader::new(&bytes);
        let skipped = reader.skip().map(|()| bytes.len() - reader.rest().len());
        match (result, skipped) {
            (Ok(Some(size)), skipped) => {
                assert_eq!(skipped, Ok(size), "{bytes:02x?}");
                assert!(size <= bytes_max);
                found += 1;
            }
            // The object is incomplete, or its count may exceed the bytes that are still to come.
            (Ok(None), Err(msgpack::Error::Truncated | msgpack::Error::TooMany)) => {}
            (Err(DecodeError::TooLarge(_)), Ok(size)) => assert!(size > bytes_max),
            (Err(DecodeError::TooLarge(_)), Err(_)) => refused += 1,
            (Err(DecodeError::MsgPack(error)), Err(skipped)) => {
                assert!(skipped == error || skipped == msgpack::Error::TooMany);
                refused += 1;
            }
            (result, skipped) => panic!("{result:?} {skipped:?} {bytes:02x?}"),
        }
    });
    // A short run may see only one of the two.
    assert!(found + refused > 0);
}

/// The data after the coordinate of an ack, and the body of a ping.
#[test]
fn digests_and_summaries() {
    fuzz(20_000, |rng| {
        let digest = EventDigest {
            upto: rng.next_u32(),
            digest: std::array::from_fn(|_| rng.next_u32() as u8),
        };
        let mut bytes = Vec::new();
        digest.encode(&mut bytes);
        assert_eq!(EventDigest::decode(&bytes), Some(digest));
        let summary = EventSummary {
            is_answer: rng.chance(0.5),
            salt: rng.next_u32() as u8,
            first: rng.next_u32(),
            marks: random_bytes(rng, SUMMARY_TIMES_MAX),
        };
        assert_eq!(EventSummary::decode(&summary.encode()), Ok(summary.clone()));
        let mut bytes = match rng.below(3) {
            0 => random_bytes(rng, 600),
            1 => bytes,
            _ => summary.encode(),
        };
        mutate(rng, &mut bytes);
        let (peak, ()) = peak_bytes(|| {
            let _ = EventDigest::decode(&bytes);
            if let Ok(summary) = EventSummary::decode(&bytes) {
                assert!(summary.marks.len() <= SUMMARY_TIMES_MAX);
            }
            let _ = Coordinate::decode_first(&bytes);
        });
        assert!(peak < 4096, "{peak} bytes held for {}", bytes.len());
    });
}

/// LZW restores a text of any length, and stays within its limit for any bytes.
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
        assert_eq!(checks::lzw::by_the_book(&compressed), Some(plain));
        if rng.chance(0.5) {
            mutate(rng, &mut compressed);
        } else {
            compressed = random_bytes(rng, 300);
        }
        checks::lzw::expanded(&compressed);
    });
}
