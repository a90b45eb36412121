//! Gossip streams.

use cottar::wire::serf::SerfPushPull;
use cottar::wire::{DecodeError, Envelope, StreamDecoder, StreamMessage, StreamSide};

use super::{FIXED_BYTES, choice, envelope, input, may_expand};
use crate::supply::{peak_bytes, seeds};

/// The result of a stream, and the answer to the peer.
type Outcome = (
    Result<Option<StreamMessage>, DecodeError>,
    Option<&'static str>,
);

/// Feeds the bytes in pieces, as they could arrive; `cut` returns the length of each piece.
pub fn feed(
    bytes: &[u8],
    envelope: &Envelope,
    side: StreamSide,
    mut cut: impl FnMut() -> usize,
) -> Outcome {
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

/// The input is a byte for the envelope's settings and the side, a byte for the size of pieces, then the
/// bytes of one side.
pub fn check(input: &[u8]) {
    let Some((&[choices, piece], bytes)) = input.split_first_chunk() else {
        return;
    };
    let mut envelope = envelope(choices);
    let [reads, writes] = match choices & choice::INITIATOR {
        0 => [StreamSide::Responder, StreamSide::Initiator],
        _ => [StreamSide::Initiator, StreamSide::Responder],
    };
    let piece = 1 + usize::from(piece);
    let message = fed(bytes, &envelope, reads, || piece);
    if let (Some(message), true) = (message, choices & choice::SEALED != 0) {
        let sealed = envelope.seal_stream(&sealable(&message), writes);
        let again = fed(&sealed, &envelope, reads, || piece);
        assert_eq!(
            again.map(|again| sealable(&again)),
            Some(sealable(&message))
        );
    }
}

/// Decodes a stream at once, byte by byte, and in pieces: the results must be equal.
pub fn fed(
    bytes: &[u8],
    envelope: &Envelope,
    side: StreamSide,
    cut: impl FnMut() -> usize,
) -> Option<StreamMessage> {
    let whole = feed(bytes, envelope, side, || usize::MAX);
    let single = feed(bytes, envelope, side, || 1);
    assert_eq!(whole, single);
    let (peak, pieces) = peak_bytes(|| feed(bytes, envelope, side, cut));
    assert_eq!(whole, pieces);
    // Inputs are small, so only an expansion may produce a large result.
    let budget = match may_expand(envelope, bytes) {
        true => 2 << 20,
        false => FIXED_BYTES + 16 * bytes.len(),
    };
    assert!(peak < budget, "{peak} of {budget} bytes held");
    let message = whole.0.ok().flatten();
    if let Some(StreamMessage::PushPull(push_pull)) = &message {
        if let Ok(state) = SerfPushPull::decode(&push_pull.user_state) {
            assert_eq!(SerfPushPull::decode(&state.encode()), Ok(state));
        }
    }
    message
}

/// Returns the message without nodes that were refused, since these are not encoded again.
fn sealable(message: &StreamMessage) -> StreamMessage {
    let mut message = message.clone();
    if let StreamMessage::PushPull(push_pull) = &mut message {
        push_pull.refused.clear();
    }
    message
}

/// Returns the recordings of both sides.
pub fn corpus() -> Vec<Vec<u8>> {
    let mut inputs = vec![input(0, &[0])];
    for seed in seeds("tcp") {
        for (choices, side) in [
            (0, StreamSide::Responder),
            (choice::INITIATOR, StreamSide::Initiator),
        ] {
            let plain = [&[40], &seed.bytes[..]].concat();
            inputs.push(input(choices, &plain));
            let (result, _) = feed(&seed.bytes, &seed.envelope(), side, || usize::MAX);
            if let Ok(Some(message)) = result {
                let bytes = [&[200], &message.encode()[..]].concat();
                let sealed = choices | choice::SEALED;
                for more in [0, choice::COMPRESSED, choice::LABEL] {
                    inputs.push(input(sealed | more, &bytes));
                }
                let plain_too = choice::KEY | choice::PLAINTEXT_TOO;
                inputs.push(input(sealed | plain_too, &bytes));
            }
        }
    }
    inputs
}
