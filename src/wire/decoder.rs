//! A stream's outer layers, peeled off as bytes arrive: label, encryption, compression (gossip spec
//! 2.3 and 2.9).

use std::borrow::Cow;

use super::lzw::Expander;
use super::membership::message_type;
use super::msgpack::{self, Boundary};
use super::plain::{Plain, Progress};
use super::stream::{StreamMessage, StreamSide};
use super::{DecodeError, Envelope, Label, cipher, compress, limits};

/// Bytes that are expanded, decrypted or decoded in one go. A larger message is worked off in pieces,
/// so that nobody else waits for the end of ten thousand entries. Only decryption is never cut up:
/// nothing of a message may be believed before all of it is authenticated.
const BYTES_AT_ONCE: usize = 256 << 10;

/// Decodes the one message that a direction of a connection carries, as its bytes arrive.
#[derive(Debug)]
pub struct StreamDecoder {
    side: StreamSide,
    /// What the initiator has put in front, once it is read.
    label: Option<Label>,
    stage: Stage,
    /// Arrived, or what was inside of it.
    buffer: Vec<u8>,
    /// So much of the buffer is done with.
    done: usize,
    /// Arrived altogether.
    received_bytes: usize,
    /// Work was cut short: more is to be done with what is there.
    unfinished: bool,
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
    /// What was in it, on its way out.
    Expanding(Box<Expanding>),
    /// A message as it is, arriving.
    Plain(Plain),
    /// A message that was inside other layers: it is all there.
    Inside(Plain),
    /// It is over.
    Spent,
}

struct Expanding {
    compressed: Vec<u8>,
    expander: Expander,
}

impl core::fmt::Debug for Expanding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", self.compressed.len())
    }
}

/// What the bytes at hand came to.
enum Step {
    Wait,
    /// This many bytes are done with, and this is next.
    Next(usize, Stage),
    /// A layer is off: these bytes take the place of all that arrived, and this is next.
    Inner(Vec<u8>, usize, Stage),
}

impl StreamDecoder {
    /// A decoder for what the side `side` reads.
    pub fn new(side: StreamSide) -> Self {
        StreamDecoder {
            side,
            label: None,
            stage: match side {
                StreamSide::Initiator => Stage::Type,
                StreamSide::Responder => Stage::Label,
            },
            buffer: Vec::new(),
            done: 0,
            received_bytes: 0,
            unfinished: false,
            report: None,
        }
    }

    /// Takes the next bytes and does all that can be done with them. `Ok(None)`: more are needed. After
    /// `Ok(Some(_))` or `Err(_)` the decoder is spent.
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
        self.take(bytes);
        loop {
            let message = self.work(envelope)?;
            if message.is_some() || !self.has_work() {
                return Ok(message);
            }
        }
    }

    /// Takes the next bytes, to be worked on later. What follows a message is ignored.
    pub fn take(&mut self, bytes: &[u8]) {
        if !matches!(
            self.stage,
            Stage::Expanding(_) | Stage::Inside(_) | Stage::Spent
        ) {
            self.received_bytes = self.received_bytes.saturating_add(bytes.len());
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Does a bounded piece of work with what was taken. `Ok(None)`: more bytes are needed, or more
    /// calls, as [`Self::has_work`] tells. After `Ok(Some(_))` or `Err(_)` the decoder is spent.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn work(&mut self, envelope: &Envelope) -> Result<Option<StreamMessage>, DecodeError> {
        self.unfinished = false;
        let mut result = self.advance(envelope);
        if result == Ok(None) && self.received_bytes > limits::STREAM_BYTES_MAX {
            result = Err(DecodeError::TooLarge("stream"));
        }
        if !matches!(result, Ok(None)) {
            self.stage = Stage::Spent;
            self.buffer = Vec::new();
            self.done = 0;
            self.received_bytes = 0;
        }
        result
    }

    /// Whether there is more to be done with what was taken.
    pub fn has_work(&self) -> bool {
        self.unfinished
    }

    /// The initiator's label, once it is read: what is answered is sealed with it.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref()
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
        let mut left = BYTES_AT_ONCE;
        while left > 0 {
            let input = self.buffer.get(self.done..).unwrap_or_default();
            let complete = matches!(self.stage, Stage::Inside(_));
            if let Stage::Plain(plain) | Stage::Inside(plain) = &mut self.stage {
                let (taken, progress) = plain.advance(input, complete, left)?;
                self.done += taken;
                match progress {
                    Progress::Done(message) => return Ok(Some(message)),
                    Progress::Wait if complete => return Err(msgpack::Error::Truncated.into()),
                    Progress::Wait => {
                        self.forget_done();
                        return Ok(None);
                    }
                    Progress::More => break,
                }
            }
            let cost = match self.step(left, envelope)? {
                Step::Wait if matches!(self.stage, Stage::Expanding(_)) => left,
                Step::Wait => {
                    self.forget_done();
                    return Ok(None);
                }
                Step::Next(taken, stage) => {
                    self.done += taken;
                    self.stage = stage;
                    0
                }
                Step::Inner(bytes, done, stage) => {
                    let cost = bytes.len();
                    self.buffer = bytes;
                    self.done = done;
                    self.stage = stage;
                    cost
                }
            };
            left = left.saturating_sub(cost);
        }
        self.forget_done();
        self.unfinished = true;
        Ok(None)
    }

    /// Gives back what is done with, once moving the rest costs no more than what was done.
    fn forget_done(&mut self) {
        let rest = self.buffer.len().saturating_sub(self.done);
        if rest <= self.done {
            self.buffer.drain(..self.buffer.len() - rest);
            self.done = 0;
        }
    }

    fn step(&mut self, at_once: usize, envelope: &Envelope) -> Result<Step, DecodeError> {
        let input = self.buffer.get(self.done..).unwrap_or_default();
        match &mut self.stage {
            Stage::Label => Ok(match envelope.accept_label(input)? {
                Some(label) => {
                    self.label = Some(label.clone());
                    Step::Next(label.header_bytes(), Stage::Type)
                }
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
                    let label = self.label.as_ref().unwrap_or(&envelope.label);
                    let plain = open_frame(payload, label, envelope);
                    self.finish(plain)
                }
                None => Ok(Step::Wait),
            },
            Stage::Compressed(boundary) => match boundary.find(input, limits::STREAM_BYTES_MAX)? {
                Some(size) => {
                    let body = input.get(..size).unwrap_or_default();
                    let compressed = compress::unwrap(body).map(Cow::into_owned);
                    self.begin_expansion(compressed)
                }
                None => Ok(Step::Wait),
            },
            Stage::Expanding(expanding) => {
                let Expanding {
                    compressed,
                    expander,
                } = &mut **expanding;
                match expander.advance(compressed, at_once) {
                    Ok(false) => Ok(Step::Wait),
                    Ok(true) => inside(expander.take_expanded()),
                    Err(error) => {
                        self.report = Some(COMPRESSION_REPORT);
                        Err(error)
                    }
                }
            }
            Stage::Plain(_) | Stage::Inside(_) | Stage::Spent => Ok(Step::Wait),
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
                message_type::COMPRESS => Stage::Compressed(Boundary::default()),
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
                let compressed = compress::unwrap(body).map(Cow::into_owned);
                self.begin_expansion(compressed)
            }
            _ => inside(plain),
        }
    }

    fn begin_expansion(
        &mut self,
        compressed: Result<Vec<u8>, DecodeError>,
    ) -> Result<Step, DecodeError> {
        let compressed = compressed.inspect_err(|_| self.report = Some(COMPRESSION_REPORT))?;
        let expander = Expander::new(limits::STREAM_EXPANDED_BYTES_MAX);
        let expanding = Box::new(Expanding {
            compressed,
            expander,
        });
        Ok(Step::Inner(Vec::new(), 0, Stage::Expanding(expanding)))
    }
}

/// Behind the other layers there is the message.
fn inside(plain: Vec<u8>) -> Result<Step, DecodeError> {
    let kind = *plain.first().ok_or(DecodeError::Empty)?;
    Ok(Step::Inner(plain, 1, Stage::Inside(Plain::new(kind)?)))
}

const FRAME_LENGTH_BYTES: usize = 4;

const NOT_ENCRYPTED_REPORT: &str = "Encryption is configured but remote state is not encrypted";
const ENCRYPTED_REPORT: &str = "Remote state is encrypted and encryption is not configured";
const FRAME_SIZE_REPORT: &str = "Remote node state is larger than limit (20971520)";
const DECRYPTION_REPORT: &str = "No key of the ring decrypts the remote state";
const COMPRESSION_REPORT: &str = "Remote state does not decompress";

/// Decrypts a frame; its header, with the label behind it, is authenticated too.
fn open_frame(payload: &[u8], label: &Label, envelope: &Envelope) -> Result<Vec<u8>, DecodeError> {
    let ring = envelope.keyring.as_ref().ok_or(DecodeError::NoKeyring)?;
    let header = frame_header(payload.len());
    cipher::open(ring, &frame_aad(header, label), payload)
}

/// Type byte and length of an encrypted frame.
fn frame_header(payload_bytes: usize) -> [u8; 1 + FRAME_LENGTH_BYTES] {
    let mut header = [message_type::ENCRYPT; 1 + FRAME_LENGTH_BYTES];
    header[1..].copy_from_slice(&(payload_bytes as u32).to_be_bytes());
    header
}

fn frame_aad(header: [u8; 1 + FRAME_LENGTH_BYTES], label: &Label) -> Vec<u8> {
    let mut aad = header.to_vec();
    aad.extend_from_slice(label.as_bytes());
    aad
}

impl Envelope {
    /// The bytes that `side` writes for a message: compressed, encrypted, label in front, as
    /// configured. An error report is encrypted too.
    pub fn seal_stream(&mut self, message: &StreamMessage, side: StreamSide) -> Vec<u8> {
        self.seal_stream_as(message, side, None)
    }

    /// The same; an answer to an initiator with this label.
    pub fn seal_stream_as(
        &mut self,
        message: &StreamMessage,
        side: StreamSide,
        label: Option<&Label>,
    ) -> Vec<u8> {
        let mut plain = message.encode();
        if self.compression {
            plain = compress::encode(&plain);
        }
        self.seal_layer(plain, side, label)
    }

    /// The outer layers around a message that is compressed, if it is to be. `label`: the initiator's, if it
    /// is another.
    pub(super) fn seal_layer(
        &mut self,
        plain: Vec<u8>,
        side: StreamSide,
        label: Option<&Label>,
    ) -> Vec<u8> {
        let is_encrypted = self.keyring.is_some() && self.verify_outgoing;
        if side == StreamSide::Responder && !is_encrypted {
            return plain;
        }
        let mut output = Vec::new();
        if side == StreamSide::Initiator {
            self.label.encode_header(&mut output);
        }
        if !is_encrypted {
            output.extend_from_slice(&plain);
            return output;
        }
        let header = frame_header(plain.len().saturating_add(cipher::OVERHEAD_BYTES));
        let aad = frame_aad(header, label.unwrap_or(&self.label));
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
    use super::super::{
        Ack, Key, Keyring, Label, NodeName, NonceSource, PushPull, PushPullNode, RemoteState,
        VersionVector,
    };
    use super::*;
    use crate::rng::Rng;

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
            // In the other direction there is nothing that says so.
            let request = answerer.seal_stream(&ack(), StreamSide::Initiator);
            let other = Err(DecodeError::OtherLabel(label(b"old")));
            assert_eq!(read(&request, &asker, StreamSide::Responder), (other, None));
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

    /// A state of so many entries.
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
}
