//! Captured messages in both directions: every vector decodes to its stated content, and encoding it again
//! gives the same bytes if the sender was a reference with the older codec (gossip spec 3.1, 9 and 10).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod checks;
#[path = "../data/hex.rs"]
mod hex;
mod shown;
mod vector;

use std::net::SocketAddr;

use checks::{check_leaf, check_push_pull, check_user};
use cottar::wire::{
    DecodeError, Envelope, Key, Keyring, Label, Message, NonceSource, StreamDecoder, StreamMessage,
    StreamSide, lzw,
};
use hex::unhex;
use serde_json::json;
use vector::{Vector, file, for_each, hex, leaves, text};

#[test]
fn datagrams_decode_as_stated_and_come_back() {
    let mut came_back = 0;
    let all = for_each("udp", |vector| {
        let name = vector.name;
        let mut envelope = vector.envelope();
        let packet = envelope.open_datagram(&vector.bytes).expect(name);
        let expected = leaves(vector.message());
        assert_eq!(packet.messages.len(), expected.len(), "{name}");
        let messages: Vec<_> = packet
            .messages
            .into_iter()
            .map(|message| message.expect(name))
            .collect();
        for (message, expected) in messages.iter().zip(expected) {
            check_leaf(name, message, expected, vector.comes_back());
        }
        let encoded: Vec<_> = messages.iter().map(Message::encode).collect();
        let checksum = vector.message()["type"] == 12;
        let sealed = envelope.seal_datagram(&encoded, checksum);
        // Sealing the messages again must preserve their meaning.
        let again = envelope.open_datagram(&sealed).expect(name).messages;
        assert_eq!(again, messages.into_iter().map(Ok).collect::<Vec<_>>());
        if vector.comes_back() {
            envelope.keyring = None;
            envelope.label = Label::default();
            let sealed = envelope.seal_datagram(&encoded, checksum);
            assert_eq!(hex(&sealed), hex(&vector.plaintext()), "{name}");
            came_back += 1;
        }
    });
    assert_eq!((all, came_back), (48, 43));
}

fn decode_stream(vector: &Vector<'_>, envelope: &Envelope) -> StreamMessage {
    // The opener of a stream sends the label first; the other side sends none.
    let side = match vector.bytes[0] {
        0xf4 => StreamSide::Responder,
        _ if vector.label().is_empty() => StreamSide::Responder,
        _ => StreamSide::Initiator,
    };
    StreamDecoder::new(side)
        .push(&vector.bytes, envelope)
        .expect(vector.name)
        .expect(vector.name)
}

#[test]
fn streams_decode_as_stated_and_come_back() {
    let mut came_back = 0;
    let all = for_each("tcp", |vector| {
        let name = vector.name;
        let mut envelope = vector.envelope();
        let message = decode_stream(vector, &envelope);
        let expected = vector.message();
        let (kind, leaf) = match &message {
            StreamMessage::Ping(ping) => (0, Some(Message::Ping(ping.clone()))),
            StreamMessage::Ack(ack) => (2, Some(Message::Ack(ack.clone()))),
            StreamMessage::PushPull(push_pull) => {
                check_push_pull(vector, push_pull);
                (6, None)
            }
            StreamMessage::User(user) => {
                assert_eq!(expected["header"]["UserMsgLen"], user.len(), "{name}");
                check_user(name, user, expected, vector.comes_back());
                (8, None)
            }
            StreamMessage::Error(error) => {
                assert_eq!(expected["body"], json!({ "Error": text(error) }), "{name}");
                (13, None)
            }
        };
        assert_eq!(expected["type"], kind, "{name}");
        if let Some(leaf) = leaf {
            check_leaf(name, &leaf, expected, vector.comes_back());
        }
        let side = match vector.bytes[0] {
            0xf4 => StreamSide::Initiator,
            _ => StreamSide::Responder,
        };
        if vector.comes_back() {
            // With encryption, the bytes before the nonce are compared, and the plaintext.
            let sealed = envelope.seal_stream(&message, side);
            let outer = vector.bytes.len() - vector.plaintext().len();
            if vector.json["decoded"]["encryptionVersion"] != 0 {
                assert_eq!(sealed.len(), vector.bytes.len(), "{name}");
                let fixed = outer.saturating_sub(12 + 16);
                assert_eq!(hex(&sealed[..fixed]), hex(&vector.bytes[..fixed]), "{name}");
            }
            envelope.keyring = None;
            let sealed = envelope.seal_stream(&message, StreamSide::Responder);
            assert_eq!(hex(&sealed), hex(&vector.plaintext()), "{name}");
            came_back += 1;
        }
    });
    assert_eq!((all, came_back), (22, 17));
}

/// Seals and opens a message with each key length, with a second key in the ring.
#[test]
fn what_is_sealed_opens_with_any_key_of_the_ring() {
    for key_bytes in [16, 24, 32] {
        let old = Key::new(&vec![1; key_bytes]).unwrap();
        let new = Key::new(&vec![2; key_bytes]).unwrap();
        let with_ring = |ring: Keyring| {
            let mut envelope = Envelope::plain(NonceSource::new([3; 32]));
            envelope.label = Label::new(b"blue").unwrap();
            envelope.keyring = Some(ring);
            envelope
        };
        let mut sender = with_ring(Keyring::new(old.clone()));
        let mut ring = Keyring::new(new.clone());
        let stranger = with_ring(ring.clone());
        ring.install(old);
        let receiver = with_ring(ring);
        let message = Message::Nack(cottar::wire::Nack { seq_no: 7 });
        let datagram = sender.seal_datagram(&[message.encode()], true);
        assert_eq!(
            receiver.open_datagram(&datagram).unwrap().messages,
            [Ok(message)]
        );
        assert_eq!(
            stranger.open_datagram(&datagram).unwrap_err(),
            DecodeError::Decryption
        );
        let message = StreamMessage::User(vec![9; 100]);
        let stream = sender.seal_stream(&message, StreamSide::Initiator);
        let mut decoder = StreamDecoder::new(StreamSide::Responder);
        assert_eq!(decoder.push(&stream, &receiver), Ok(Some(message)));
    }
}

#[test]
fn unusual_messages_are_tolerated_as_stated() {
    let file = file();
    let cases = file["tolerance"].as_array().unwrap();
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let decoded = Message::decode(&unhex(case["hex"].as_str().unwrap()));
        let acked = case["result"]["0.10.2"] == "ok";
        if !acked {
            // The reference answers these with sequence number 0, which no prober expects.
            assert!(decoded.is_err(), "{name}: {decoded:?}");
            continue;
        }
        let Ok(Message::Ping(ping)) = decoded else {
            panic!("{name}: {decoded:?}");
        };
        assert_eq!(case["seqNo"], ping.seq_no, "{name}");
        let node = ping.node.as_ref().map(|node| node.as_bytes());
        let expected = Some(&b"alpha"[..]).filter(|_| !name.starts_with("nil string"));
        assert_eq!(node, expected, "{name}");
        let source = name
            .starts_with("SourceAddr")
            .then(|| "127.0.0.1:27950".parse::<SocketAddr>().unwrap());
        assert_eq!(ping.source, source, "{name}");
    }
    assert_eq!(cases.len(), 33);
}

#[test]
fn lzw_matches_the_references_both_ways() {
    let file = file();
    let cases = file["algorithms"]["lzw"].as_array().unwrap();
    for case in cases {
        let plain = unhex(case["plain"].as_str().unwrap());
        let compressed = unhex(case["compressed"].as_str().unwrap());
        assert_eq!(hex(&lzw::compress(&plain)), hex(&compressed));
        assert_eq!(lzw::expand(&compressed, plain.len()), Ok(plain.clone()));
        if !plain.is_empty() {
            assert_eq!(
                lzw::expand(&compressed, plain.len() - 1),
                Err(DecodeError::TooLarge("expanded message"))
            );
        }
        // Without the end code.
        let cut = &compressed[..compressed.len() - 2];
        assert_eq!(lzw::expand(cut, 1 << 20), Err(DecodeError::Compression));
    }
    assert_eq!(cases.len(), 5);
}
