use super::super::{
    Ack, Key, Keyring, Label, NodeName, NonceSource, PushPull, PushPullNode, RemoteState,
    VersionVector, lzw,
};
use super::*;
use crate::rng::Rng;

fn plain() -> Envelope {
    Envelope::plain(NonceSource::new([1; 32]))
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    compress::wrap(&lzw::compress(plain))
}

fn with_ring() -> Envelope {
    let mut envelope = plain();
    envelope.keyring = Some(Keyring::new(Key::new(&[5; 32]).unwrap()));
    envelope
}

fn ack() -> StreamMessage {
    StreamMessage::Ack(Ack {
        seq_no: 5,
        payload: None,
    })
}

type Outcome = (
    Result<Option<StreamMessage>, DecodeError>,
    Option<&'static str>,
);

fn read(bytes: &[u8], envelope: &Envelope, side: StreamSide) -> Outcome {
    let mut decoder = StreamDecoder::new(side);
    let result = decoder.push(bytes, envelope);
    (result, decoder.error_report())
}

#[test]
fn the_first_layer_is_reported_on_and_nothing_else() {
    let (plain_bytes, sealed) = (
        plain().seal_stream(&ack(), StreamSide::Responder),
        with_ring().seal_stream(&ack(), StreamSide::Responder),
    );
    let mut tampered = sealed.clone();
    *tampered.last_mut().unwrap() ^= 1;
    for (bytes, envelope, error, report) in [
        (
            &plain_bytes,
            with_ring(),
            DecodeError::NotEncrypted,
            Some(NOT_ENCRYPTED_REPORT),
        ),
        (
            &sealed,
            plain(),
            DecodeError::NoKeyring,
            Some(ENCRYPTED_REPORT),
        ),
        (
            &tampered,
            with_ring(),
            DecodeError::Decryption,
            Some(DECRYPTION_REPORT),
        ),
        (
            &b"\x09\x81\xa4Algo\x01".to_vec(),
            plain(),
            DecodeError::Compression,
            Some(COMPRESSION_REPORT),
        ),
        (&vec![3], plain(), DecodeError::UnexpectedType(3), None),
        (&vec![12], plain(), DecodeError::UnexpectedType(12), None),
        (
            &b"\x06\x81\xa5Nodes\xff".to_vec(),
            plain(),
            DecodeError::Invalid("Nodes"),
            None,
        ),
    ] {
        let responder = read(bytes, &envelope, StreamSide::Responder);
        assert_eq!(responder, (Err(error.clone()), report));
        // An initiator never sends an error report.
        let initiator = read(bytes, &envelope, StreamSide::Initiator);
        assert_eq!(initiator, (Err(error), None));
    }
    let mut lenient = with_ring();
    lenient.verify_incoming = false;
    let read = read(&plain_bytes, &lenient, StreamSide::Responder);
    assert_eq!(read, (Ok(Some(ack())), None));
}

#[test]
fn only_the_initiator_sends_the_label() {
    for mut envelope in [plain(), with_ring()] {
        envelope.label = Label::new(b"blue").unwrap();
        let first = envelope.seal_stream(&ack(), StreamSide::Initiator);
        let second = envelope.seal_stream(&ack(), StreamSide::Responder);
        assert_eq!(first[..6], *b"\xf4\x04blue");
        assert_eq!(first.len(), second.len() + 6);
        let whole = (Ok(Some(ack())), None);
        assert_eq!(read(&first, &envelope, StreamSide::Responder), whole);
        assert_eq!(read(&second, &envelope, StreamSide::Initiator), whole);
        let other = |label: &[u8]| {
            let label = Label::new(label).unwrap();
            (Err(DecodeError::OtherLabel(label)), None)
        };
        let malformed = (Err(DecodeError::Label), None);
        assert_eq!(read(&second, &envelope, StreamSide::Responder), other(b""));
        assert_eq!(
            read(b"\xf4\x00", &envelope, StreamSide::Responder),
            malformed
        );
        envelope.label = Label::default();
        assert_eq!(
            read(&first, &envelope, StreamSide::Responder),
            other(b"blue")
        );
    }
}

#[test]
fn an_answer_has_the_label_of_its_request() {
    let label = |text: &[u8]| Label::new(text).unwrap();
    for ours in [plain, with_ring] {
        let (mut asker, mut answerer) = (ours(), ours());
        asker.label = label(b"new");
        answerer.label = label(b"old");
        answerer.labels_accepted = vec![label(b""), label(b"new")];
        let request = asker.seal_stream(&ack(), StreamSide::Initiator);
        let mut decoder = StreamDecoder::new(StreamSide::Responder);
        let got = decoder.push(&request, &answerer);
        assert_eq!(got, Ok(Some(ack())));
        assert_eq!(decoder.label(), Some(&asker.label));
        let side = StreamSide::Responder;
        let answer = answerer.seal_stream_as(&ack(), side, decoder.label());
        let whole = (Ok(Some(ack())), None);
        assert_eq!(read(&answer, &asker, StreamSide::Initiator), whole);
        // A request in the other direction has its sender's own label, which is not accepted here.
        let request = answerer.seal_stream(&ack(), StreamSide::Initiator);
        let other = Err(DecodeError::OtherLabel(label(b"old")));
        assert_eq!(read(&request, &asker, StreamSide::Responder), (other, None));
    }
}

#[test]
fn layers_come_in_one_order_only() {
    let twice = compressed(&compressed(&ack().encode()));
    let kind = DecodeError::UnexpectedType(message_type::COMPRESS);
    let (result, _) = read(&twice, &plain(), StreamSide::Responder);
    assert_eq!(result, Err(kind));
    let inside = compressed(&with_ring().seal_stream(&ack(), StreamSide::Responder));
    let (result, _) = read(&inside, &plain(), StreamSide::Responder);
    let kind = DecodeError::UnexpectedType(message_type::ENCRYPT);
    assert_eq!(result, Err(kind));
    let nothing = compressed(b"");
    let (result, _) = read(&nothing, &plain(), StreamSide::Responder);
    assert_eq!(result, Err(DecodeError::Empty));
}

#[test]
fn a_spent_decoder_holds_and_says_nothing() {
    let mut decoder = StreamDecoder::new(StreamSide::Responder);
    let bytes = ack().encode();
    assert_eq!(decoder.push(&bytes[..5], &plain()), Ok(None));
    assert_eq!(decoder.buffered_bytes(), 5);
    assert_eq!(decoder.push(&bytes[5..], &plain()), Ok(Some(ack())));
    assert_eq!(decoder.buffered_bytes(), 0);
    assert_eq!(decoder.push(&bytes, &plain()), Ok(None));
    assert_eq!(decoder.buffered_bytes(), 0);
}

/// Makes a state of `entries` entries.
fn state(entries: u32) -> PushPull {
    let node = |index: u32| PushPullNode {
        name: NodeName::new(format!("node-{index}").as_bytes()).unwrap(),
        addr: "127.0.0.1:7946".parse().unwrap(),
        meta: Some(vec![index as u8; (index % 90) as usize].into()),
        incarnation: index + 1,
        state: RemoteState::Alive,
        versions: VersionVector::serf(5),
    };
    PushPull {
        join: true,
        nodes: (0..entries).map(node).collect(),
        refused: Vec::new(),
        user_state: (0..entries).map(|index| index as u8).collect(),
    }
}

#[test]
fn a_large_message_comes_to_the_same_in_many_turns() {
    let mut rng = Rng::new(7);
    for entries in [0, 1, 700, 6_000] {
        let message = StreamMessage::PushPull(state(entries));
        for round in 0..8 {
            let mut envelope = if round & 1 == 0 { plain() } else { with_ring() };
            envelope.compression = round & 2 == 0;
            let (side, reader) = match round & 4 {
                0 => (StreamSide::Initiator, StreamSide::Responder),
                _ => (StreamSide::Responder, StreamSide::Initiator),
            };
            let bytes = envelope.seal_stream(&message, side);
            let (mut decoder, mut turns, mut decoded) = (StreamDecoder::new(reader), 0, None);
            let mut rest = &bytes[..];
            while decoded.is_none() {
                // Bytes may arrive while there is still work to do.
                if !rest.is_empty() && (!decoder.has_work() || rng.chance(0.3)) {
                    let (piece, after) = rest.split_at(rng.below(rest.len()) + 1);
                    decoder.take(piece);
                    rest = after;
                }
                decoded = decoder.work(&envelope).unwrap();
                turns += 1;
                assert!(decoder.has_work() || !rest.is_empty() || decoded.is_some());
            }
            assert_eq!(decoded.as_ref(), Some(&message), "{entries} {round}");
            let bytes = message.encode().len();
            assert!(
                turns >= bytes / (2 * BYTES_AT_ONCE),
                "{turns} turns for {bytes} bytes"
            );
        }
    }
}

#[test]
fn a_message_is_sealed_the_same_in_many_turns() {
    for round in 0..8 {
        for entries in [0, 1, 511, 512, 513, 3_000] {
            let mut twins = [plain(), plain()].map(|mut envelope| {
                envelope.compression = round & 1 == 0;
                if round & 2 == 0 {
                    envelope.keyring = Some(Keyring::new(Key::new(&[5; 32]).unwrap()));
                }
                envelope.label = Label::new(b"blue").unwrap();
                envelope
            });
            let side = match round & 4 {
                0 => StreamSide::Initiator,
                _ => StreamSide::Responder,
            };
            let whole = StreamMessage::PushPull(state(entries));
            let whole = twins[0].seal_stream(&whole, side);
            let mut sealer = twins[1].begin_push_pull(state(entries), side, None);
            let short = sealer.is_short();
            let mut turns = 1;
            let sealed = loop {
                match sealer.work(&mut twins[1]) {
                    Some(sealed) => break sealed,
                    None => turns += 1,
                }
            };
            assert_eq!(sealed, whole, "{round} {entries}");
            assert_eq!(short, turns == 1, "{entries}");
            assert_eq!(short, entries <= 512);
        }
    }
}
