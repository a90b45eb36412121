//! Incremental decoder that removes a stream's outer layers as bytes arrive: label, encryption, compression
//! (gossip spec 2.3 and 2.9).

use std::borrow::Cow;

use super::lzw::Expander;
use super::membership::message_type;
use super::msgpack::{self, Boundary};
use super::plain::{Plain, Progress};
use super::stream::{StreamMessage, StreamSide};
use super::{DecodeError, Envelope, Label, cipher, compress, limits};

/// Bytes to expand, decrypt or decode per call. Larger messages are processed in pieces, so that ten thousand
/// entries do not block the event loop. Only decryption is never split: no part of a message may be used
/// before all of it is authenticated.
const BYTES_AT_ONCE: usize = 256 << 10;

/// Incremental decoder of the single message that each direction of a connection carries.
#[derive(Debug)]
pub struct StreamDecoder {
    side: StreamSide,
    /// The initiator's label, once it is read.
    label: Option<Label>,
    stage: Stage,
    /// Received bytes, or the contents of the layer that was removed last.
    buffer: Vec<u8>,
    /// Number of leading bytes of the buffer that are consumed.
    done: usize,
    /// Total bytes received.
    received_bytes: usize,
    /// The last call reached its work limit; call again without new bytes.
    unfinished: bool,
    report: Option<&'static str>,
}

#[derive(Debug)]
enum Stage {
    /// Expects a label header or its absence.
    Label,
    /// Expects the type byte.
    Type,
    /// Expects the length of an encrypted frame.
    FrameLength,
    /// Expects the payload of an encrypted frame, this many bytes.
    Frame(usize),
    /// Expects the map of a compress message.
    Compressed(Boundary),
    /// Decompresses the contents of a compress message.
    Expanding(Box<Expanding>),
    /// Decodes a message without outer layers as it arrives.
    Plain(Plain),
    /// Decodes a message that was inside other layers and is complete.
    Inside(Plain),
    /// A message or an error was returned.
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

/// Outcome of one decoding step.
enum Step {
    Wait,
    /// Consume this many bytes and continue with this stage.
    Next(usize, Stage),
    /// A layer was removed. Replace the buffer with these bytes, skip this many of them, and continue with
    /// this stage.
    Inner(Vec<u8>, usize, Stage),
}

impl StreamDecoder {
    /// Creates a decoder for the bytes that `side` reads.
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

    /// Adds `bytes` and decodes as far as possible. `Ok(None)`: more bytes are needed. After `Ok(Some(_))` or
    /// `Err(_)` the decoder is spent.
    ///
    /// Memory is bounded by [`super::limits`], and total work is linear in the bytes received, however they
    /// are split.
    ///
    /// # Errors
    /// Fails if the stream is invalid and must be closed; [`Self::error_report`] returns the error message to
    /// send first, if any.
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

    /// Adds bytes for later [`Self::work`] calls. Bytes that follow the message are ignored.
    pub fn take(&mut self, bytes: &[u8]) {
        if !matches!(
            self.stage,
            Stage::Expanding(_) | Stage::Inside(_) | Stage::Spent
        ) {
            self.received_bytes = self.received_bytes.saturating_add(bytes.len());
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Does a bounded amount of work on the bytes added. `Ok(None)`: call again if [`Self::has_work`],
    /// otherwise more bytes are needed. After `Ok(Some(_))` or `Err(_)` the decoder is spent.
    ///
    /// # Errors
    /// Fails as [`Self::push`] does.
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

    /// Whether [`Self::work`] can continue without more bytes.
    pub fn has_work(&self) -> bool {
        self.unfinished
    }

    /// Returns the initiator's label, once it is read. Responses are sealed with it.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// Returns the total bytes received so far, decoded or not; 0 once the decoder is spent.
    pub fn buffered_bytes(&self) -> usize {
        self.received_bytes
    }

    /// Returns the text of the error message that a responder sends before it closes the stream: set if the
    /// first layer (type byte, decryption, decompression) failed (gossip spec 2.7.4 and 2.9.4). `None`: close
    /// silently.
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

    /// Drops consumed bytes once at least half of the buffer is consumed, so that the total cost of moving
    /// the rest stays linear.
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

    /// Chooses the outer layer by the type byte.
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

    /// Continues with decrypted bytes: a compress message or the message itself.
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

/// Continues with the innermost message.
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

/// Decrypts a frame; the additional authenticated data is the frame header and the label.
fn open_frame(payload: &[u8], label: &Label, envelope: &Envelope) -> Result<Vec<u8>, DecodeError> {
    let ring = envelope.keyring.as_ref().ok_or(DecodeError::NoKeyring)?;
    let header = frame_header(payload.len());
    cipher::open(ring, &frame_aad(header, label), payload)
}

/// Encodes the header of an encrypted frame: type byte and length.
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
    /// Encodes a message as `side` writes it: compressed, encrypted and with a label header, as configured.
    /// Error reports are encrypted, too.
    pub fn seal_stream(&mut self, message: &StreamMessage, side: StreamSide) -> Vec<u8> {
        self.seal_stream_as(message, side, None)
    }

    /// As [`Self::seal_stream`], with the initiator's label if this is a response to it.
    pub fn seal_stream_as(
        &mut self,
        message: &StreamMessage,
        side: StreamSide,
        label: Option<&Label>,
    ) -> Vec<u8> {
        let mut plain = message.encode();
        if self.compression {
            plain = compress::encode(&plain, &mut self.scratch);
        }
        self.seal_layer(plain, side, label)
    }

    /// Adds the outer layers (label header, encryption) to an encoded message that is already compressed if
    /// compression is on. `label`: the initiator's label, if it differs from ours.
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
mod tests;
