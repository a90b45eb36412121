//! Encoding of the journal's records.
//!
//! A record is a header of 12 bytes, a body and a checksum of the body. The header has a magic number of two
//! bytes, the kind, a zero byte, the length of the body in four bytes and a checksum of these eight bytes;
//! numbers are little-endian. Each checksum also covers the segment's salt and the record's offset. The salt
//! is known only to the owner of the journal, so a payload chosen by somebody else can never be taken for a
//! record when the scan for the next valid record reaches it.

use std::borrow::Cow;

use super::members;
use crate::serf::{Event, LamportTime, UserEvent};
use crate::wire::crc32_of;

/// Size limit of a record with header and checksums. The largest user event takes 9 KiB.
pub const RECORD_BYTES_MAX: usize = 64 << 10;
/// Size of a record's header and checksums.
pub const FRAME_BYTES: usize = HEADER_BYTES + CHECKSUM_BYTES;
/// Limit for the handlers named in one event's record.
pub const RECORDED_HANDLERS_MAX: usize = 1024;
/// Limit for a handler's stored text, in bytes; enough to recognize it.
pub const TEXT_BYTES_MAX: usize = 256;

/// Returns the part of a handler's text that the journal keeps.
pub fn kept_text(text: &[u8]) -> &[u8] {
    text.get(..TEXT_BYTES_MAX).unwrap_or(text)
}

const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
const MARK: [u8; 2] = [0xc0, 0x77];

/// Identifies a handler in records: a hash of its name, or of its filter and script.
pub type HandlerKey = u64;

/// Identifies a process that ran a handler, even after its pid has been reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Process id, which is also the process group id.
    pub pid: u32,
    /// Start time in the kernel's clock ticks since boot.
    pub start_ticks: u64,
    /// Hash of the kernel's boot id.
    pub boot: u64,
}

/// An event in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number in the journal: increasing, never reused.
    pub number: u64,
    /// When it was accepted, in microseconds since 1970.
    pub taken_micros: u64,
    /// The event; never a query.
    pub event: Event,
    /// Whether it is still in the coalescer and has not been handed over.
    pub is_coalescing: bool,
    /// Keys of the handlers that it is for.
    pub handlers: Vec<HandlerKey>,
}

/// An entry of the journal; entries are in chronological order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A user event was accepted, or member events are held back for a handler.
    Event(Recorded),
    /// The event with this number has left the coalescer.
    HandedOver(u64),
    /// A handler is about to run for an event.
    Begun {
        /// The event's number.
        number: u64,
        /// Key of the handler.
        handler: HandlerKey,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Time of the start, in microseconds since 1970.
        at_micros: u64,
    },
    /// Process of the run that has begun.
    Process {
        /// The event's number.
        number: u64,
        /// Key of the handler.
        handler: HandlerKey,
        /// The process.
        process: ProcessId,
    },
    /// A handler has finished with an event, successfully or not. Others may not have.
    Done {
        /// The event's number.
        number: u64,
        /// Key of the handler.
        handler: HandlerKey,
    },
    /// A run has ended and asked for a retry.
    Postponed {
        /// The event's number.
        number: u64,
        /// Key of the handler.
        handler: HandlerKey,
        /// Number of the attempt that ended, from 1.
        attempt: u32,
    },
    /// All handlers have finished with the events with these numbers.
    Finished {
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// The operator has dropped the events that were pending for a handler.
    Dropped {
        /// Key of the handler.
        handler: HandlerKey,
        /// Highest number of the dropped events.
        last: u64,
    },
    /// Text of a handler's key.
    Handler {
        /// The key.
        key: HandlerKey,
        /// Filter and script as written by the operator, at most `TEXT_BYTES_MAX` bytes.
        text: Vec<u8>,
    },
}

/// Result of decoding the bytes at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A record and its size in bytes. `None`: of a kind that this version does not know.
    Record(usize, Option<Record>),
    /// The record is longer than the available bytes.
    Short,
    /// Not a valid record.
    Damaged,
}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Record::Event(_) => 1,
            Record::HandedOver(_) => 2,
            Record::Begun { .. } => 3,
            Record::Process { .. } => 4,
            Record::Done { .. } => 5,
            Record::Finished { .. } => 6,
            Record::Handler { .. } => 7,
            Record::Dropped { .. } => 8,
            Record::Postponed { .. } => 9,
        }
    }

    /// Appends the record's encoding; `offset` is its position in the segment with this salt.
    pub(super) fn encode(&self, salt: u64, offset: u64, output: &mut Vec<u8>) {
        let start = output.len();
        output.extend_from_slice(&MARK);
        output.extend_from_slice(&[self.kind(), 0]);
        output.extend_from_slice(&[0; 8]);
        self.encode_body(output);
        let body_bytes = output.len() - start - HEADER_BYTES;
        debug_assert!(body_bytes + FRAME_BYTES <= RECORD_BYTES_MAX);
        let length = u32::try_from(body_bytes).unwrap_or(u32::MAX).to_le_bytes();
        let (header, body) = output[start..].split_at_mut(HEADER_BYTES);
        header[4..8].copy_from_slice(&length);
        let check = checksum(salt, offset, &header[..8]);
        header[8..].copy_from_slice(&check);
        let check = checksum(salt, offset, body);
        output.extend_from_slice(&check);
    }

    fn encode_body(&self, output: &mut Vec<u8>) {
        let mut put = |numbers: &[u64]| {
            for number in numbers {
                output.extend_from_slice(&number.to_le_bytes());
            }
        };
        match self {
            Record::Event(recorded) => recorded.encode(output),
            Record::HandedOver(number) => put(&[*number]),
            Record::Begun {
                number,
                handler,
                attempt,
                at_micros,
            } => put(&[*number, *handler, u64::from(*attempt), *at_micros]),
            Record::Process {
                number,
                handler,
                process,
            } => put(&[
                *number,
                *handler,
                u64::from(process.pid),
                process.start_ticks,
                process.boot,
            ]),
            Record::Done { number, handler } => put(&[*number, *handler]),
            Record::Postponed {
                number,
                handler,
                attempt,
            } => put(&[*number, *handler, u64::from(*attempt)]),
            Record::Finished { first, last } => put(&[*first, *last]),
            Record::Dropped { handler, last } => put(&[*handler, *last]),
            Record::Handler { key, text } => {
                put(&[*key]);
                output.extend_from_slice(text);
            }
        }
    }

    /// Decodes a record at the start of `bytes`, which begin at `offset` in their segment.
    pub(super) fn decode(salt: u64, offset: u64, bytes: &[u8]) -> Decoded {
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
            return match bytes.first() {
                Some(byte) if *byte != MARK[0] => Decoded::Damaged,
                _ => Decoded::Short,
            };
        };
        if header[..2] != MARK || header[8..] != checksum(salt, offset, &header[..8]) {
            return Decoded::Damaged;
        }
        let length = header[4..8].iter().rev();
        let length = length.fold(0, |length, &byte| (length << 8) | usize::from(byte));
        // Checked before any allocation of this size. Any 32-bit length may come, also where usize has 32 bits.
        if length > RECORD_BYTES_MAX - FRAME_BYTES {
            return Decoded::Damaged;
        }
        let Some((body, check)) = rest.split_at_checked(length) else {
            return Decoded::Short;
        };
        let Some(check) = check.get(..CHECKSUM_BYTES) else {
            return Decoded::Short;
        };
        if *check != checksum(salt, offset, body) {
            return Decoded::Damaged;
        }
        match decode_body(header[2], &mut Body(body)) {
            Some(record) => Decoded::Record(length + FRAME_BYTES, record),
            None => Decoded::Damaged,
        }
    }
}

impl Recorded {
    const COALESCE: u8 = 1;
    const COALESCING: u8 = 2;
    const MEMBERS: u8 = 4;

    /// Returns the encoded size of the whole record.
    pub(super) fn record_bytes(&self) -> usize {
        let fixed = 3 * 8 + 1 + 2 + 4;
        let (_, _, name, payload) = self.parts();
        FRAME_BYTES + fixed + 8 * self.handlers.len() + name.len() + payload.len()
    }

    /// Returns time, flags, name and payload of a user event, or the substitutes for another event.
    fn parts(&self) -> (LamportTime, u8, &[u8], Cow<'_, [u8]>) {
        match &self.event {
            Event::User(event) => {
                let coalesce = u8::from(event.coalesce) * Self::COALESCE;
                (event.ltime, coalesce, &event.name, (&event.payload).into())
            }
            Event::Member(event) => {
                let (name, members) = (event.kind.as_str(), members::encode(&event.members));
                (
                    LamportTime(0),
                    Self::MEMBERS,
                    name.as_bytes(),
                    members.into(),
                )
            }
            // Queries are not recorded: after a restart it is too late for an answer.
            Event::Query(_) => (LamportTime(0), Self::MEMBERS, b"", Cow::default()),
        }
    }

    fn encode(&self, output: &mut Vec<u8>) {
        let (ltime, flags, name, payload) = self.parts();
        for number in [self.number, self.taken_micros, ltime.0] {
            output.extend_from_slice(&number.to_le_bytes());
        }
        output.push(flags | (u8::from(self.is_coalescing) * Self::COALESCING));
        let handlers = u16::try_from(self.handlers.len()).unwrap_or(u16::MAX);
        output.extend_from_slice(&handlers.to_le_bytes());
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        output.extend_from_slice(&length.to_le_bytes());
        for handler in &self.handlers {
            output.extend_from_slice(&handler.to_le_bytes());
        }
        output.extend_from_slice(name);
        output.extend_from_slice(&payload);
    }

    fn decode(body: &mut Body<'_>) -> Option<Self> {
        let (number, taken_micros, ltime) = (body.number()?, body.number()?, body.number()?);
        let flags = body.take(1)?[0];
        let handlers = body.take(2)?.try_into().ok().map(u16::from_le_bytes)?;
        let name = body.take(4)?.try_into().ok().map(u32::from_le_bytes)?;
        let handlers = (0..handlers).map(|_| body.number());
        let handlers = handlers.collect::<Option<_>>()?;
        let name = body.take(usize::try_from(name).ok()?)?;
        let payload = std::mem::take(&mut body.0);
        let event = match flags & Self::MEMBERS {
            0 => Event::User(UserEvent {
                ltime: LamportTime(ltime),
                name: name.to_vec(),
                payload: payload.to_vec(),
                coalesce: flags & Self::COALESCE != 0,
            }),
            _ => Event::Member(members::decode(name, payload)?),
        };
        Some(Recorded {
            number,
            taken_micros,
            event,
            is_coalescing: flags & Self::COALESCING != 0,
            handlers,
        })
    }
}

/// Unread rest of a record's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// Decodes a body. `None`: damaged. `Some(None)`: undamaged, of a kind that this version does not know.
fn decode_body(kind: u8, body: &mut Body<'_>) -> Option<Option<Record>> {
    let record = match kind {
        1 => Record::Event(Recorded::decode(body)?),
        2 => Record::HandedOver(body.number()?),
        3 => Record::Begun {
            number: body.number()?,
            handler: body.number()?,
            attempt: u32::try_from(body.number()?).ok()?,
            at_micros: body.number()?,
        },
        4 => Record::Process {
            number: body.number()?,
            handler: body.number()?,
            process: ProcessId {
                pid: u32::try_from(body.number()?).ok()?,
                start_ticks: body.number()?,
                boot: body.number()?,
            },
        },
        5 => Record::Done {
            number: body.number()?,
            handler: body.number()?,
        },
        6 => Record::Finished {
            first: body.number()?,
            last: body.number()?,
        },
        7 => Record::Handler {
            key: body.number()?,
            text: std::mem::take(&mut body.0).to_vec(),
        },
        8 => Record::Dropped {
            handler: body.number()?,
            last: body.number()?,
        },
        9 => Record::Postponed {
            number: body.number()?,
            handler: body.number()?,
            attempt: u32::try_from(body.number()?).ok()?,
        },
        _ => return Some(None),
    };
    body.0.is_empty().then_some(Some(record))
}

fn checksum(salt: u64, offset: u64, bytes: &[u8]) -> [u8; 4] {
    crc32_of(&[&salt.to_le_bytes(), &offset.to_le_bytes(), bytes]).to_le_bytes()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
