//! A stream's outer layers, peeled off as bytes arrive: label, encryption, compression (gossip spec
//! 2.3 and 2.9).

use super::boundary::Boundary;
use super::membership::message_type;
use super::plain::Plain;
use super::stream::{StreamMessage, StreamSide};
use super::{DecodeError, Envelope, cipher, compress, limits};

/// Decodes the one message that a direction of a connection carries, as its bytes arrive.
#[derive(Debug)]
pub struct StreamDecoder {
    side: StreamSide,
    stage: Stage,
    /// Arrived and not done with.
    buffer: Vec<u8>,
    /// Arrived altogether.
    received_bytes: usize,
    report: Option<&'static str>,
}

#[derive(Debug)]
enum Stage {
    /// The label header, or the lack of it.
    Label,
    /// The type byte.
    Type,
    /// The length of an encrypted frame.
    FrameLength,
    /// This many bytes of payload.
    Frame(usize),
    /// The map of a compress message.
    Compressed(Boundary),
    /// A message as it is.
    Plain(Plain),
    /// It is over.
    Spent,
}

/// What the bytes at hand came to.
enum Step {
    Wait,
    /// This many bytes are done with, and this is next.
    Next(usize, Stage),
    Done(StreamMessage),
}

impl StreamDecoder {
    /// A decoder for what the side `side` reads.
    pub fn new(side: StreamSide) -> Self {
        StreamDecoder {
            side,
            stage: match side {
                StreamSide::Initiator => Stage::Type,
                StreamSide::Responder => Stage::Label,
            },
            buffer: Vec::new(),
            received_bytes: 0,
            report: None,
        }
    }

    /// Takes the next bytes. `Ok(None)`: more are needed. After `Ok(Some(_))` or `Err(_)` the
    /// decoder is spent.
    ///
    /// Whatever arrives, it holds no more than the limits of [`super::limits`], and total work is
    /// linear in the bytes received, in whatever pieces they come.
    ///
    /// # Errors
    /// The stream is to be closed; [`Self::error_report`] says whether with an answer.
    pub fn push(
        &mut self,
        bytes: &[u8],
        envelope: &Envelope,
    ) -> Result<Option<StreamMessage>, DecodeError> {
        if matches!(self.stage, Stage::Spent) {
            return Ok(None);
        }
        self.received_bytes = self.received_bytes.saturating_add(bytes.len());
        self.buffer.extend_from_slice(bytes);
        let result = self.advance(envelope);
        if !matches!(result, Ok(None)) {
            self.stage = Stage::Spent;
            self.buffer = Vec::new();
            self.received_bytes = 0;
        }
        result
    }

    /// Bytes held: all that arrived, whether decoded already or not.
    pub fn buffered_bytes(&self) -> usize {
        self.received_bytes
    }

    /// The text of the error message that a responder sends back when the first layer (type byte,
    /// decryption, decompression) failed (gossip spec 2.7.4 and 2.9.4); `None`: close silently.
    pub fn error_report(&self) -> Option<&'static str> {
        self.report.filter(|_| self.side == StreamSide::Responder)
    }

    fn advance(&mut self, envelope: &Envelope) -> Result<Option<StreamMessage>, DecodeError> {
        let mut done = 0;
        let outcome = loop {
            let input = self.buffer.get(done..).unwrap_or_default();
            if let Stage::Plain(plain) = &mut self.stage {
                let (taken, message) = plain.advance(input, false)?;
                done += taken;
                break message;
            }
            match self.step(done, envelope)? {
                Step::Wait => break None,
                Step::Done(message) => break Some(message),
                Step::Next(taken, stage) => {
                    done += taken;
                    self.stage = stage;
                }
            }
        };
        if outcome.is_none() && self.received_bytes > limits::STREAM_BYTES_MAX {
            return Err(DecodeError::TooLarge("stream"));
        }
        // Costs no more than the last piece: what is left began in it, or nothing is drained.
        self.buffer.drain(..done);
        Ok(outcome)
    }

    fn step(&mut self, done: usize, envelope: &Envelope) -> Result<Step, DecodeError> {
        let input = self.buffer.get(done..).unwrap_or_default();
        match &mut self.stage {
            Stage::Label => Ok(match envelope.label.match_header(input)? {
                Some(header_bytes) => Step::Next(header_bytes, Stage::Type),
                None => Step::Wait,
            }),
            Stage::Type => {
                let Some(&kind) = input.first() else {
                    return Ok(Step::Wait);
                };
                self.begin(kind, envelope)
            }
            Stage::FrameLength => {
                let Some(length) = input.first_chunk() else {
                    return Ok(Step::Wait);
                };
                self.begin_frame(u32::from_be_bytes(*length) as usize)
            }
            &mut Stage::Frame(length) => match input.get(..length) {
                Some(payload) => {
                    let plain = open_frame(payload, envelope);
                    self.finish(plain)
                }
                None => Ok(Step::Wait),
            },
            Stage::Compressed(boundary) => match boundary.find(input)? {
                Some(size) => {
                    let body = input.get(..size).unwrap_or_default();
                    let plain = compress::decode(body, limits::STREAM_EXPANDED_BYTES_MAX);
                    self.finish_expanded(plain)
                }
                None => Ok(Step::Wait),
            },
            Stage::Plain(_) | Stage::Spent => Ok(Step::Wait),
        }
    }

    /// The type byte decides about the outer layer.
    fn begin(&mut self, kind: u8, envelope: &Envelope) -> Result<Step, DecodeError> {
        if kind == message_type::ENCRYPT {
            if envelope.keyring.is_none() {
                self.report = Some(ENCRYPTED_REPORT);
                return Err(DecodeError::NoKeyring);
            }
            return Ok(Step::Next(1, Stage::FrameLength));
        }
        if envelope.keyring.is_some() && envelope.verify_incoming {
            self.report = Some(NOT_ENCRYPTED_REPORT);
            return Err(DecodeError::NotEncrypted);
        }
        Ok(Step::Next(
            1,
            match kind {
                message_type::COMPRESS => {
                    Stage::Compressed(Boundary::new(limits::STREAM_BYTES_MAX))
                }
                kind => Stage::Plain(Plain::new(kind)?),
            },
        ))
    }

    fn begin_frame(&mut self, length: usize) -> Result<Step, DecodeError> {
        if length > limits::STREAM_FRAME_BYTES_MAX {
            self.report = Some(FRAME_SIZE_REPORT);
            return Err(DecodeError::TooLarge("encrypted frame"));
        }
        if length < cipher::OVERHEAD_BYTES {
            self.report = Some(DECRYPTION_REPORT);
            return Err(DecodeError::Decryption);
        }
        Ok(Step::Next(FRAME_LENGTH_BYTES, Stage::Frame(length)))
    }

    /// Behind decryption there may be compression, and nothing else.
    fn finish(&mut self, plain: Result<Vec<u8>, DecodeError>) -> Result<Step, DecodeError> {
        let plain = plain.inspect_err(|_| self.report = Some(DECRYPTION_REPORT))?;
        match plain.split_first() {
            Some((&message_type::COMPRESS, body)) => {
                let plain = compress::decode(body, limits::STREAM_EXPANDED_BYTES_MAX);
                self.finish_expanded(plain)
            }
            _ => Plain::decode_complete(&plain).map(Step::Done),
        }
    }

    /// Behind compression there is the message.
    fn finish_expanded(
        &mut self,
        plain: Result<Vec<u8>, DecodeError>,
    ) -> Result<Step, DecodeError> {
        let plain = plain.inspect_err(|_| self.report = Some(COMPRESSION_REPORT))?;
        Plain::decode_complete(&plain).map(Step::Done)
    }
}

const FRAME_LENGTH_BYTES: usize = 4;

const NOT_ENCRYPTED_REPORT: &str = "Encryption is configured but remote state is not encrypted";
const ENCRYPTED_REPORT: &str = "Remote state is encrypted and encryption is not configured";
const FRAME_SIZE_REPORT: &str = "Remote node state is larger than limit (20971520)";
const DECRYPTION_REPORT: &str = "No key of the ring decrypts the remote state";
const COMPRESSION_REPORT: &str = "Remote state does not decompress";

/// Decrypts a frame; its header, with the label behind it, is authenticated too.
fn open_frame(payload: &[u8], envelope: &Envelope) -> Result<Vec<u8>, DecodeError> {
    let ring = envelope.keyring.as_ref().ok_or(DecodeError::NoKeyring)?;
    let header = frame_header(payload.len());
    cipher::open(ring, &frame_aad(header, envelope), payload)
}

/// Type byte and length of an encrypted frame.
fn frame_header(payload_bytes: usize) -> [u8; 1 + FRAME_LENGTH_BYTES] {
    let mut header = [message_type::ENCRYPT; 1 + FRAME_LENGTH_BYTES];
    header[1..].copy_from_slice(&(payload_bytes as u32).to_be_bytes());
    header
}

fn frame_aad(header: [u8; 1 + FRAME_LENGTH_BYTES], envelope: &Envelope) -> Vec<u8> {
    let mut aad = header.to_vec();
    aad.extend_from_slice(envelope.label.as_bytes());
    aad
}

impl Envelope {
    /// The bytes that `side` writes for a message: compressed, encrypted, label in front, as
    /// configured. An error report is encrypted too.
    pub fn seal_stream(&mut self, message: &StreamMessage, side: StreamSide) -> Vec<u8> {
        let mut plain = message.encode();
        if self.compression {
            plain = compress::encode(&plain);
        }
        let mut output = Vec::new();
        if side == StreamSide::Initiator {
            self.label.encode_header(&mut output);
        }
        if self.keyring.is_none() || !self.verify_outgoing {
            output.extend_from_slice(&plain);
            return output;
        }
        let header = frame_header(plain.len().saturating_add(cipher::OVERHEAD_BYTES));
        let aad = frame_aad(header, self);
        output.extend_from_slice(&header);
        let nonce = self.nonces.next_nonce();
        if let Some(ring) = &self.keyring {
            cipher::seal(ring, nonce, &aad, &plain, &mut output);
        }
        output
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Ack, Key, Keyring, Label, NonceSource};
    use super::*;

    fn plain() -> Envelope {
        Envelope::plain(NonceSource::new([1; 32]))
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
            // Whoever opened the connection has nobody to report to.
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
            let label = (Err(DecodeError::Label), None);
            assert_eq!(read(&second, &envelope, StreamSide::Responder), label);
            assert_eq!(read(b"\xf4\x00", &envelope, StreamSide::Responder), label);
            envelope.label = Label::default();
            assert_eq!(read(&first, &envelope, StreamSide::Responder), label);
        }
    }

    #[test]
    fn layers_come_in_one_order_only() {
        let twice = compress::encode(&compress::encode(&ack().encode()));
        let kind = DecodeError::UnexpectedType(message_type::COMPRESS);
        let (result, _) = read(&twice, &plain(), StreamSide::Responder);
        assert_eq!(result, Err(kind));
        let inside = compress::encode(&with_ring().seal_stream(&ack(), StreamSide::Responder));
        let (result, _) = read(&inside, &plain(), StreamSide::Responder);
        let kind = DecodeError::UnexpectedType(message_type::ENCRYPT);
        assert_eq!(result, Err(kind));
        let nothing = compress::encode(b"");
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
}
