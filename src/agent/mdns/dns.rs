//! Encodes and decodes the few kinds of DNS messages that discovery uses (agent spec 4.13).
//!
//! Decoding is lenient: unknown parts are skipped, and a truncated message counts as far as it goes. It
//! cannot loop, because a compression pointer must lead backwards, and its memory is bounded by the size of
//! the message.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::name::Escaped;

/// Longest label in bytes (RFC 1035, 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest name in bytes, including length bytes (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Limit for the questions and records read from one message; further ones are ignored.
const ENTRIES_MAX: usize = 256;
/// Highest offset that a compression pointer can encode.
const POINTER_MAX: usize = 0x3fff;

/// Type and class numbers (RFC 1035, 3.2).
pub mod number {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const ANY: u16 = 255;
    pub const CLASS_IN: u16 = 1;
}

/// Bit in a question's class that allows a unicast answer (RFC 6762, 5.4).
const UNICAST_BIT: u16 = 0x8000;
/// Header flags of an answer: response, authoritative.
pub const FLAGS_ANSWER: u16 = 0x8400;
/// Header flag of a response.
const FLAG_RESPONSE: u16 = 0x8000;
/// Header bits of opcode and response code; zero in all mDNS messages.
const FLAGS_OPCODE_RCODE: u16 = 0x780f;

/// A domain name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<Vec<u8>>);

impl Name {
    /// Creates a name from labels; empty ones are dropped, and long ones are cut.
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let labels = labels.into_iter().filter(|label| !label.is_empty());
        Name(
            labels
                .map(|label| label.get(..LABEL_BYTES_MAX).unwrap_or(label).to_vec())
                .collect(),
        )
    }

    /// Creates a name from a text with dots.
    pub fn dotted(text: &[u8]) -> Self {
        Name::new(text.split(|&byte| byte == b'.'))
    }

    /// Returns the name with another label in front.
    #[must_use]
    pub fn child(&self, label: &[u8]) -> Self {
        let labels = self.0.iter().map(Vec::as_slice);
        Name::new(std::iter::once(label).chain(labels))
    }

    /// Returns whether this name is a proper subdomain of `other`. Case matters, as in the reference, so
    /// clusters whose names differ only in case stay separate.
    pub fn is_below(&self, other: &Name) -> bool {
        self.0.len() > other.0.len() && self.0.ends_with(&other.0)
    }

    /// Returns the first label; empty if there is none.
    pub fn first(&self) -> &[u8] {
        self.0.first().map_or(&[], Vec::as_slice)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in &self.0 {
            write!(f, "{}.", Escaped(label))?;
        }
        Ok(())
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name it asks about.
    pub name: Name,
    /// Type of the wanted records.
    pub kind: u16,
    /// Class, without the unicast bit.
    pub class: u16,
    /// Whether a unicast answer is allowed.
    pub unicast: bool,
}

/// Contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Data {
    Ptr(Name),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: Name,
    },
    Address(IpAddr),
    /// First string of a TXT record; others are skipped.
    Txt(Vec<u8>),
}

/// A record of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name that owns the record.
    pub name: Name,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Contents.
    pub data: Data,
}

/// A DNS message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: u16,
    /// Flags of its header.
    pub flags: u16,
    /// Questions.
    pub questions: Vec<Question>,
    /// Supported records of all sections.
    pub records: Vec<Record>,
}

impl Message {
    /// Returns whether it is a response.
    pub const fn is_answer(&self) -> bool {
        self.flags & FLAG_RESPONSE != 0
    }

    /// Returns whether opcode and response code are zero, as in all mDNS messages.
    pub const fn is_plain(&self) -> bool {
        self.flags & FLAGS_OPCODE_RCODE == 0
    }

    /// Decodes a message; `None` if it is shorter than a header.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let mut message = Message {
            id: reader.u16()?,
            flags: reader.u16()?,
            ..Message::default()
        };
        let questions = usize::from(reader.u16()?);
        let mut records = 0;
        for _ in 0..3 {
            records += usize::from(reader.u16()?);
        }
        for _ in 0..questions.min(ENTRIES_MAX) {
            match reader.question() {
                Some(question) => message.questions.push(question),
                None => return Some(message),
            }
        }
        if questions > ENTRIES_MAX {
            return Some(message);
        }
        for _ in 0..records.min(ENTRIES_MAX) {
            match reader.record() {
                Some(record) => message.records.extend(record),
                None => return Some(message),
            }
        }
        Some(message)
    }

    /// Encodes a message with all records in the answer section.
    ///
    /// As in the reference, owner names and targets of PTR records are compressed; the target of an SRV
    /// record is not, but compression pointers may refer to it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        for word in [
            self.id,
            self.flags,
            count(self.questions.len()),
            count(self.records.len()),
            0,
            0,
        ] {
            writer.u16(word);
        }
        for question in &self.questions {
            writer.name(&question.name, true);
            writer.u16(question.kind);
            let unicast = if question.unicast { UNICAST_BIT } else { 0 };
            writer.u16(question.class | unicast);
        }
        for record in &self.records {
            writer.record(record);
        }
        writer.bytes
    }
}

impl Data {
    /// Returns the number of the record's type.
    pub const fn kind(&self) -> u16 {
        match self {
            Data::Ptr(_) => number::PTR,
            Data::Srv { .. } => number::SRV,
            Data::Address(IpAddr::V4(_)) => number::A,
            Data::Address(IpAddr::V6(_)) => number::AAAA,
            Data::Txt(_) => number::TXT,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a name and continues behind it, even if compression pointers lead elsewhere.
    fn name(&mut self) -> Option<Name> {
        let (mut labels, mut len) = (Vec::new(), 1);
        let mut limit = self.at;
        let mut back = None;
        loop {
            let head = *self.bytes.get(self.at)?;
            self.at += 1;
            match head {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(head))?;
                    len += 1 + label.len();
                    if len > NAME_BYTES_MAX {
                        return None;
                    }
                    labels.push(label.to_vec());
                }
                192.. => {
                    let low = self.array::<1>()?;
                    let to = usize::from(head & 0x3f) << 8 | usize::from(low[0]);
                    // A pointer must lead to before everything read so far, so each jump leaves less to read.
                    if to >= limit {
                        return None;
                    }
                    limit = to;
                    back.get_or_insert(self.at);
                    self.at = to;
                }
                _ => return None,
            }
        }
        self.at = back.unwrap_or(self.at);
        Some(Name(labels))
    }

    fn question(&mut self) -> Option<Question> {
        let name = self.name()?;
        let kind = self.u16()?;
        let class = self.u16()?;
        Some(Question {
            name,
            kind,
            class: class & !UNICAST_BIT,
            unicast: class & UNICAST_BIT != 0,
        })
    }

    /// Reads a record; the inner `None` means an unsupported one.
    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let kind = self.u16()?;
        // The top bit asks to flush cached records, of which there are none.
        let class = self.u16()? & !UNICAST_BIT;
        let ttl = self.u32()?;
        let len = usize::from(self.u16()?);
        let end = self.at.checked_add(len)?;
        // Names in the contents may point backwards, but reading must not go beyond their end.
        let mut inner = Reader {
            bytes: self.bytes.get(..end)?,
            at: self.at,
        };
        self.at = end;
        if class != number::CLASS_IN {
            return Some(None);
        }
        let data = inner.data(kind);
        Some(data.map(|data| Record { name, ttl, data }))
    }

    fn data(&mut self, kind: u16) -> Option<Data> {
        Some(match kind {
            number::PTR => Data::Ptr(self.name()?),
            number::SRV => Data::Srv {
                priority: self.u16()?,
                weight: self.u16()?,
                port: self.u16()?,
                target: self.name()?,
            },
            number::A => Data::Address(Ipv4Addr::from(self.array::<4>()?).into()),
            number::AAAA => Data::Address(Ipv6Addr::from(self.array::<16>()?).into()),
            number::TXT => {
                let len = self.array::<1>()?;
                Data::Txt(self.take(usize::from(len[0]))?.to_vec())
            }
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Offsets of name suffixes already written.
    known: Vec<(Vec<Vec<u8>>, u16)>,
}

impl Writer {
    fn u16(&mut self, word: u16) {
        self.bytes.extend(word.to_be_bytes());
    }

    /// Writes a name. Labels beyond the length limit of DNS are dropped.
    fn name(&mut self, name: &Name, compress: bool) {
        let mut len = 1;
        let fits = |label: &&Vec<u8>| {
            len += 1 + label.len();
            len <= NAME_BYTES_MAX
        };
        let count = name.0.iter().take_while(fits).count();
        let mut rest = name.0.get(..count).unwrap_or_default();
        while let Some((label, tail)) = rest.split_first() {
            let found = self.known.iter().find(|(known, _)| known == rest);
            if let Some((_, at)) = found.filter(|_| compress) {
                let pointer = 0xc000 | at;
                return self.u16(pointer);
            }
            if let (None, Ok(at)) = (found, u16::try_from(self.bytes.len())) {
                if usize::from(at) <= POINTER_MAX {
                    self.known.push((rest.to_vec(), at));
                }
            }
            self.string(label);
            rest = tail;
        }
        self.bytes.push(0);
    }

    /// Writes a length byte and a string, cut to 255 bytes.
    fn string(&mut self, text: &[u8]) {
        let text = text.get(..usize::from(u8::MAX)).unwrap_or(text);
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text);
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.name, true);
        self.u16(record.data.kind());
        self.u16(number::CLASS_IN);
        self.bytes.extend(record.ttl.to_be_bytes());
        let start = self.bytes.len();
        self.u16(0);
        match &record.data {
            Data::Ptr(name) => self.name(name, true),
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                for word in [*priority, *weight, *port] {
                    self.u16(word);
                }
                self.name(target, false);
            }
            Data::Address(IpAddr::V4(ip)) => self.bytes.extend(ip.octets()),
            Data::Address(IpAddr::V6(ip)) => self.bytes.extend(ip.octets()),
            Data::Txt(text) => self.string(text),
        }
        // All contents above are far shorter than 64 KiB.
        let len = u16::try_from(self.bytes.len() - start - 2).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
