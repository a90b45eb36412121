//! Message bodies of the Serf layer.

use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::{EventDigest, EventSummary, SUMMARY_TIMES_MAX};
use cottar::wire::msgpack::Reader;
use cottar::wire::serf::*;
use cottar::wire::{Message, StreamMessage, StreamSide};

use super::{input, stream};
use crate::supply::{peak_bytes, seeds};

/// A body for every decoder: if a decoder accepts it, encoding the result and decoding it again must give the
/// same.
pub fn check(bytes: &[u8]) {
    // Covers two decoded values and the encoded bytes. The worst is a state whose list of events is all nil: for
    // each byte, twice an entry of 32 bytes, in a list with room for twice as many, and two encoded ones of 18.
    let limit = 200 * bytes.len() + 4096;
    let (peak, ()) = peak_bytes(|| decoded(bytes));
    assert!(peak < limit, "{peak} bytes held for {}", bytes.len());
}

fn decoded(bytes: &[u8]) {
    macro_rules! comes_back {
        ($($kind:ty)*) => {$(
            if let Ok(value) = <$kind>::decode(bytes) {
                assert_eq!(<$kind>::decode(&value.encode()).as_ref(), Ok(&value));
            }
        )*};
    }
    comes_back!(SerfMessage SerfPushPull Filter KeyRequest KeyResponse EventSummary);
    if let Ok(SerfMessage::Query(query)) = SerfMessage::decode(bytes) {
        for filter in query.filters.iter().flatten() {
            let _ = Filter::decode(filter);
        }
    }
    if let Ok(member) = ConflictMember::decode(bytes) {
        let encoded = ConflictMember::encode(member.as_ref());
        assert_eq!(ConflictMember::decode(&encoded), Ok(member));
    }
    if let Ok(summary) = EventSummary::decode(bytes) {
        assert!(summary.marks.len() <= SUMMARY_TIMES_MAX);
    }
    let (tags, _) = Tags::decode_meta(bytes);
    assert_eq!(
        Tags::decode_meta(&tags.encode_meta(4)),
        (tags.clone(), true)
    );
    let _ = EventDigest::decode(bytes);
    let _ = EventDigest::decode_of_ping(bytes);
    let _ = Coordinate::decode_first(bytes);
    let _ = Reader::new(bytes).skip();
}

/// Returns the bodies of recorded messages, and recorded states.
pub fn corpus() -> Vec<Vec<u8>> {
    let mut inputs = vec![input(0, b"")];
    for seed in seeds("udp") {
        let packet = seed.envelope().open_datagram(&seed.bytes).unwrap();
        for message in packet.messages.into_iter().flatten() {
            match message {
                Message::User(user) => {
                    match SerfMessage::decode(&user) {
                        Ok(SerfMessage::Query(query)) => {
                            inputs.extend(query.filters.into_iter().flatten());
                        }
                        Ok(SerfMessage::QueryResponse(answer)) => inputs.extend(answer.payload),
                        Ok(SerfMessage::Relay(relay)) => inputs.push(relay.message),
                        _ => {}
                    }
                    inputs.push(user);
                }
                Message::Alive(alive) => inputs.extend(alive.meta.map(|meta| meta.to_vec())),
                Message::Ack(ack) => inputs.extend(ack.payload),
                Message::Ping(ping) => inputs.push(ping.extension),
                _ => {}
            }
        }
    }
    for seed in seeds("tcp") {
        for side in [StreamSide::Initiator, StreamSide::Responder] {
            let (result, _) = stream::feed(&seed.bytes, &seed.envelope(), side, || usize::MAX);
            if let Ok(Some(StreamMessage::PushPull(state))) = result {
                inputs.push(state.user_state);
            }
        }
    }
    inputs
}
