use super::super::{Key, Nack, lzw};
use super::*;

fn plain() -> Envelope {
    Envelope::plain(NonceSource::new([1; 32]))
}

fn nack(seq_no: u32) -> Message {
    Message::Nack(Nack { seq_no })
}

fn open(bytes: &[u8]) -> Vec<Result<Message, DecodeError>> {
    plain().open_datagram(bytes).unwrap().messages
}

#[test]
fn labels_must_be_equal() {
    let mut blue = plain();
    blue.label = Label::new(b"blue").unwrap();
    let datagram = blue.seal_datagram(&[nack(1).encode()], false);
    assert_eq!(datagram[..6], *b"\xf4\x04blue");
    assert_eq!(blue.open_datagram(&datagram).unwrap().messages.len(), 1);
    let mut red = plain();
    red.label = Label::new(b"red").unwrap();
    let other = |label: &[u8]| DecodeError::OtherLabel(Label::new(label).unwrap());
    for (envelope, bytes, why) in [
        (&red, &datagram[..], other(b"blue")),
        (&plain(), &datagram, other(b"blue")),
        (&plain(), b"\xf4\x00\x0b", DecodeError::Label),
    ] {
        let refused = envelope.open_datagram(bytes).unwrap_err();
        assert_eq!(refused, why, "{bytes:02x?}");
    }
    for (bytes, why) in [
        (&datagram[6..], other(b"")),
        (&datagram[..5], DecodeError::Label),
        (&datagram[..1], DecodeError::Label),
        (b"\xf4\x00blue", DecodeError::Label),
        (b"", DecodeError::Empty),
    ] {
        let refused = blue.open_datagram(bytes).unwrap_err();
        assert_eq!(refused, why, "{bytes:02x?}");
    }
    assert!(Label::new(&[0; 256]).is_err());
}

#[test]
fn further_labels_are_accepted_with_and_without_a_ring() {
    for ring in [None, Some(Keyring::new(Key::new(&[5; 16]).unwrap()))] {
        let with = |label: &[u8], accepted: &[&[u8]]| {
            let mut envelope = plain();
            envelope.keyring.clone_from(&ring);
            envelope.label = Label::new(label).unwrap();
            let accepted = accepted.iter().map(|label| Label::new(label).unwrap());
            envelope.labels_accepted = accepted.collect();
            envelope
        };
        let changing = with(b"new", &[b"", b"old"]);
        for label in [&b"new"[..], b"", b"old"] {
            let datagram = with(label, &[]).seal_datagram(&[nack(1).encode()], false);
            let opened = changing.open_datagram(&datagram).unwrap().messages;
            assert_eq!(opened, [Ok(nack(1))], "{label:?}");
        }
        let datagram = with(b"third", &[]).seal_datagram(&[nack(1).encode()], false);
        let refused = changing.open_datagram(&datagram).unwrap_err();
        let third = Label::new(b"third").unwrap();
        assert_eq!(refused, DecodeError::OtherLabel(third));
    }
}

#[test]
fn labels_are_shown_escaped_and_cut() {
    let shown = |bytes: &[u8]| Label::new(bytes).unwrap().to_string();
    assert_eq!(shown(b"blue"), "'blue'");
    assert_eq!(shown(b"\x1b[2J\n\xff"), "'\\u{1b}[2J\\n\\xff'");
    assert_eq!(shown(&[b'a'; 64]), format!("'{}'", "a".repeat(64)));
    assert_eq!(shown(&[b'a'; 255]), format!("'{}...'", "a".repeat(64)));
}

#[test]
fn a_truncated_compound_gives_what_came_before() {
    let datagram = plain().seal_datagram(&[nack(1).encode(), nack(2).encode()], false);
    let whole = open(&datagram);
    assert_eq!(whole, [Ok(nack(1)), Ok(nack(2))]);
    assert_eq!(open(&[&datagram[..], b"junk"].concat()), whole);
    let cut = open(&datagram[..datagram.len() - 1]);
    assert_eq!(cut, [Ok(nack(1)), Err(DecodeError::TruncatedCompound)]);
    for header in [1, 2, 3, 5] {
        let cut = open(&datagram[..header]);
        assert_eq!(cut, [Err(DecodeError::TruncatedCompound)], "{header}");
    }
}

#[test]
fn empty_things_are_refused_one_by_one() {
    assert_eq!(plain().open_datagram(b"").unwrap_err(), DecodeError::Empty);
    let empty_part = open(b"\x07\x02\x00\x00\x00\x01\x08");
    assert_eq!(
        empty_part,
        [Err(DecodeError::Empty), Err(DecodeError::Empty)]
    );
    assert_eq!(open(&encode_checksum(b"")), [Err(DecodeError::Empty)]);
}

#[test]
fn checksums_count_outside_only() {
    let mut datagram = plain().seal_datagram(&[nack(1).encode()], true);
    assert_eq!(open(&datagram), [Ok(nack(1))]);
    let parts = [datagram.clone(), nack(2).encode()];
    let inside = plain().seal_datagram(&parts, false);
    let kind = Err(DecodeError::UnexpectedType(message_type::CHECKSUM));
    assert_eq!(open(&inside), [kind, Ok(nack(2))]);
    *datagram.last_mut().unwrap() ^= 1;
    let refused = plain().open_datagram(&datagram).unwrap_err();
    assert_eq!(refused, DecodeError::Checksum);
}

#[test]
fn stream_messages_do_not_travel_in_datagrams() {
    for kind in [6, 10, 12, 13, 14, 243, 255] {
        assert_eq!(
            open(&[kind, 0x80]),
            [Err(DecodeError::UnexpectedType(kind))]
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let mut datagram = nack(1).encode();
    for depth in 1..=limits::NESTING_MAX {
        datagram = encode_compound(&[datagram]);
        assert_eq!(open(&datagram), [Ok(nack(1))], "{depth}");
    }
    for deeper in [
        encode_compound(&[&datagram]),
        compress::wrap(&lzw::compress(&datagram)),
    ] {
        let refused = plain().open_datagram(&deeper).unwrap_err();
        assert_eq!(refused, DecodeError::TooDeep);
    }
}

#[test]
fn compression_is_used_where_it_helps() {
    let long = Message::User(vec![3; 400]);
    let datagram = plain().seal_datagram(&[long.encode()], false);
    assert_eq!(datagram[0], message_type::COMPRESS);
    assert_eq!(open(&datagram), [Ok(long.clone())]);
    let short = plain().seal_datagram(&[nack(1).encode()], false);
    assert_eq!(short, nack(1).encode());
    let mut off = plain();
    off.compression = false;
    assert_eq!(off.seal_datagram(&[long.encode()], false), long.encode());
    // Unknown algorithm 1, and a missing end code.
    for bad in [
        &b"\x09\x82\xa4Algo\x01\xa3Buf\xa3\x00\x03\x02"[..],
        b"\x09\x82\xa4Algo\x00\xa3Buf\xa1\x00",
    ] {
        assert_eq!(open(bad), [Err(DecodeError::Compression)]);
    }
}

#[test]
fn plaintext_is_refused_with_a_ring_until_told_otherwise() {
    let mut ring = plain();
    ring.keyring = Some(Keyring::new(Key::new(&[5; 16]).unwrap()));
    let bare = nack(1).encode();
    assert_eq!(
        ring.open_datagram(&bare).unwrap_err(),
        DecodeError::Decryption
    );
    ring.verify_incoming = false;
    assert_eq!(ring.open_datagram(&bare).unwrap().messages, [Ok(nack(1))]);
    assert_ne!(ring.seal_datagram(&[&bare], false), bare);
    ring.verify_outgoing = false;
    assert_eq!(ring.seal_datagram(&[&bare], false), bare);
}

#[test]
fn the_budget_is_that_of_the_reference() {
    let mut envelope = plain();
    assert_eq!(envelope.packet_budget_bytes(), 1398);
    envelope.keyring = Some(Keyring::new(Key::new(&[5; 16]).unwrap()));
    assert_eq!(envelope.packet_budget_bytes(), 1369);
    envelope.label = Label::new(b"blue").unwrap();
    assert_eq!(envelope.packet_budget_bytes(), 1363);
}
