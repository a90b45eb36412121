//! Gossip datagrams.

use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::{EventDigest, EventSummary};
use cottar::wire::serf::SerfMessage;
use cottar::wire::{Envelope, Message, limits};

use super::{DECODER_BYTES, FIXED_BYTES, PART_BYTES, choice, envelope, input, may_expand};
use crate::supply::{peak_bytes, seeds};

/// The input is a byte with the envelope's settings, then a datagram.
pub fn check(input: &[u8]) {
    let Some((&choices, bytes)) = input.split_first() else {
        return;
    };
    let mut envelope = envelope(choices);
    if choices & choice::SEALED == 0 || bytes.is_empty() {
        return opened(&envelope, bytes);
    }
    let sealed = envelope.seal_datagram(&[bytes], choices & choice::CHECKSUM != 0);
    opened(&envelope, &sealed);
}

/// Opens a datagram.
pub fn opened(envelope: &Envelope, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(limits::DATAGRAM_BYTES_MAX)];
    let (peak, result) = peak_bytes(|| envelope.open_datagram(bytes));
    let expanded_max = match may_expand(envelope, bytes) {
        true => limits::DATAGRAM_EXPANDED_BYTES_MAX,
        false => 0,
    };
    let parts = match &result {
        Ok(packet) => packet.messages.len(),
        Err(_) => (bytes.len() + expanded_max) / 2,
    };
    let mut budget = FIXED_BYTES + 2 * bytes.len() + parts * PART_BYTES;
    if expanded_max > 0 {
        budget += limits::NESTING_MAX * (DECODER_BYTES + 2 * expanded_max);
    }
    assert!(peak < budget, "{peak} of {budget} bytes held");
    let Ok(packet) = result else { return };
    for message in packet.messages.into_iter().flatten() {
        // A decoded message must survive encoding and decoding.
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
        match &message {
            Message::User(user) => {
                let _ = SerfMessage::decode(user);
            }
            Message::Ping(ping) => {
                let _ = EventDigest::decode_of_ping(&ping.extension);
            }
            Message::Ack(ack) => payload(ack.payload.as_deref().unwrap_or_default()),
            _ => {}
        }
    }
}

/// Returns payloads that may follow an ack's sequence number.
fn payload(payload: &[u8]) {
    let rest = match Coordinate::decode_first(payload) {
        Ok((_, rest)) => rest,
        Err(_) => payload,
    };
    let _ = EventDigest::decode(rest);
    if let Ok(summary) = EventSummary::decode(rest) {
        assert_eq!(EventSummary::decode(&summary.encode()), Ok(summary));
    }
}

/// Returns the recordings; those with another key or label are opened first.
pub fn corpus() -> Vec<Vec<u8>> {
    let mut inputs = vec![input(0, b"")];
    for seed in seeds("udp") {
        if seed.key.is_none() && seed.label.is_empty() {
            inputs.push(input(0, &seed.bytes));
        }
        let packet = seed.envelope().open_datagram(&seed.bytes).unwrap();
        for message in packet.messages.into_iter().flatten() {
            let bytes = message.encode();
            inputs.push(input(0, &bytes));
            inputs.push(input(choice::SEALED | choice::KEY, &bytes));
            let all = choice::SEALED | choice::LABEL | choice::COMPRESSED | choice::CHECKSUM;
            inputs.push(input(all, &bytes));
        }
    }
    inputs
}
