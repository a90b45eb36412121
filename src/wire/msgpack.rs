//! The MessagePack dialects of the gossip and the RPC port (gossip spec 3.1 and 3.2, agent spec 2.2).
//!
//! Writing differs: the gossip port knows the *raw* family alone (no str8, no bin), the RPC port
//! writes str8 and bin. Reading is one and the same: both accept everything that any reference
//! version emits, and fail, without a panic and without allocating by a header's word, on the rest.

use std::borrow::Cow;

use rmp::Marker;

/// Containers nested deeper than this are refused (gossip spec 8.1).
pub const DEPTH_MAX: usize = 16;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input ends inside the value. On a stream: wait for more.
    Truncated,
    /// The value has another type than its field; names the type that was due.
    WrongType(&'static str),
    /// An integer that does not fit its field: negative or too large.
    OutOfRange,
    /// A container announces more elements than the rest of the input could hold.
    TooMany,
    /// Containers nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Truncated => f.write_str("input ends inside a value"),
            Error::WrongType(due) => write!(f, "not {due}"),
            Error::OutOfRange => f.write_str("integer out of range"),
            Error::TooMany => f.write_str("more elements announced than can follow"),
            Error::TooDeep => f.write_str("nested too deep"),
        }
    }
}

impl core::error::Error for Error {}

type Result<T> = core::result::Result<T, Error>;

/// How a structure is laid out: by name, by position, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Key-value pairs follow, this many.
    Map(usize),
    /// Values in declaration order follow, this many.
    Array(usize),
    /// Nil: every field has its zero value.
    Nil,
}

/// Reads values from a slice, front to back.
///
/// After an error the position is unspecified: give the input up, or start again with more of it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
    /// Whether more input may follow, so that counts cannot be held against what is there.
    open_ended: bool,
}

impl<'a> Reader<'a> {
    /// A reader of a complete input, such as a datagram.
    pub fn new(input: &'a [u8]) -> Self {
        Reader {
            input,
            position: 0,
            open_ended: false,
        }
    }

    /// A reader of what has arrived so far of a stream: a count that exceeds the rest is
    /// [`Error::Truncated`], not [`Error::TooMany`].
    pub fn streaming(input: &'a [u8]) -> Self {
        Reader {
            input,
            position: 0,
            open_ended: true,
        }
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What has not been consumed.
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(count).ok_or(Error::Truncated)?;
        let bytes = self.input.get(self.position..end).ok_or(Error::Truncated)?;
        self.position = end;
        Ok(bytes)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take_u8(&mut self) -> Result<u8> {
        Ok(self.take_array::<1>()?[0])
    }

    fn take_u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take_array()?))
    }

    fn take_u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take_array()?))
    }

    fn marker(&mut self) -> Result<Marker> {
        Ok(Marker::from_u8(self.take_u8()?))
    }

    fn peek(&self) -> Result<Marker> {
        self.input
            .get(self.position)
            .map(|&byte| Marker::from_u8(byte))
            .ok_or(Error::Truncated)
    }

    /// Consumes a nil if one is next; tells whether it did.
    pub fn take_nil(&mut self) -> Result<bool> {
        let nil = self.peek()? == Marker::Null;
        if nil {
            self.position += 1;
        }
        Ok(nil)
    }

    /// Holds an announced count against the bytes that are left, `bytes_each` at least per element.
    fn bounded(&self, count: u32, bytes_each: usize) -> Result<usize> {
        let count = count as usize;
        if count.saturating_mul(bytes_each) > self.rest().len() {
            return Err(if self.open_ended {
                Error::Truncated
            } else {
                Error::TooMany
            });
        }
        Ok(count)
    }

    /// The start of a structure.
    pub fn structure(&mut self) -> Result<Structure> {
        match self.marker()? {
            Marker::Null => Ok(Structure::Nil),
            Marker::FixMap(n) => Ok(Structure::Map(self.bounded(n.into(), 2)?)),
            Marker::Map16 => {
                let n = self.take_u16()?;
                Ok(Structure::Map(self.bounded(n.into(), 2)?))
            }
            Marker::Map32 => {
                let n = self.take_u32()?;
                Ok(Structure::Map(self.bounded(n, 2)?))
            }
            Marker::FixArray(n) => Ok(Structure::Array(self.bounded(n.into(), 1)?)),
            Marker::Array16 => {
                let n = self.take_u16()?;
                Ok(Structure::Array(self.bounded(n.into(), 1)?))
            }
            Marker::Array32 => {
                let n = self.take_u32()?;
                Ok(Structure::Array(self.bounded(n, 1)?))
            }
            _ => Err(Error::WrongType("a map or a list")),
        }
    }

    /// The number of pairs of a map that follows; nil is an empty one.
    pub fn map(&mut self) -> Result<usize> {
        match self.structure()? {
            Structure::Map(n) => Ok(n),
            Structure::Nil => Ok(0),
            Structure::Array(_) => Err(Error::WrongType("a map")),
        }
    }

    /// The number of elements of a list that follows; nil is an empty one.
    pub fn array(&mut self) -> Result<usize> {
        match self.structure()? {
            Structure::Array(n) => Ok(n),
            Structure::Nil => Ok(0),
            Structure::Map(_) => Err(Error::WrongType("a list")),
        }
    }

    /// Text of either family, as bytes; nil is empty. Nobody promises UTF-8 (gossip spec 3.3).
    pub fn text(&mut self) -> Result<&'a [u8]> {
        if self.take_nil()? {
            return Ok(&[]);
        }
        self.raw("text")
    }

    fn raw(&mut self, due: &'static str) -> Result<&'a [u8]> {
        let length = match self.marker()? {
            Marker::FixStr(n) => n as usize,
            Marker::Str8 | Marker::Bin8 => self.take_u8()? as usize,
            Marker::Str16 | Marker::Bin16 => self.take_u16()? as usize,
            Marker::Str32 | Marker::Bin32 => self.take_u32()? as usize,
            _ => return Err(Error::WrongType(due)),
        };
        self.take(length)
    }

    /// Bytes: raw, bin, or a list of small integers; `None` for nil.
    pub fn bytes(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.bytes_borrowed()?.map(Cow::into_owned))
    }

    /// As [`Self::bytes`], without a copy where the bytes lie in one piece.
    pub fn bytes_borrowed(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        if self.take_nil()? {
            return Ok(None);
        }
        if matches!(
            self.peek()?,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32
        ) {
            let count = self.array()?;
            return (0..count)
                .map(|_| self.u8())
                .collect::<Result<Vec<u8>>>()
                .map(|bytes| Some(Cow::Owned(bytes)));
        }
        self.raw("bytes").map(|bytes| Some(Cow::Borrowed(bytes)))
    }

    fn integer(&mut self) -> Result<i128> {
        Ok(match self.marker()? {
            Marker::Null => 0,
            Marker::FixPos(n) => n.into(),
            Marker::FixNeg(n) => n.into(),
            Marker::U8 => self.take_u8()?.into(),
            Marker::U16 => self.take_u16()?.into(),
            Marker::U32 => self.take_u32()?.into(),
            Marker::U64 => u64::from_be_bytes(self.take_array()?).into(),
            Marker::I8 => i8::from_be_bytes(self.take_array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.take_array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.take_array()?).into(),
            Marker::I64 => i64::from_be_bytes(self.take_array()?).into(),
            _ => return Err(Error::WrongType("an integer")),
        })
    }

    /// An unsigned integer of 8 bits; nil is 0.
    pub fn u8(&mut self) -> Result<u8> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// An unsigned integer of 16 bits; nil is 0.
    pub fn u16(&mut self) -> Result<u16> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// An unsigned integer of 32 bits; nil is 0.
    pub fn u32(&mut self) -> Result<u32> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// An unsigned integer of 64 bits; nil is 0.
    pub fn u64(&mut self) -> Result<u64> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// A signed integer of 32 bits; nil is 0.
    pub fn i32(&mut self) -> Result<i32> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// A signed integer of 64 bits; nil is 0.
    pub fn i64(&mut self) -> Result<i64> {
        self.integer()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// A boolean; 0 and 1 count, nil is false.
    pub fn bool(&mut self) -> Result<bool> {
        match self.peek()? {
            Marker::True | Marker::False => Ok(self.marker()? == Marker::True),
            _ => match self.integer() {
                Ok(0) => Ok(false),
                Ok(1) => Ok(true),
                Ok(_) => Err(Error::OutOfRange),
                Err(Error::WrongType(_)) => Err(Error::WrongType("a boolean")),
                Err(error) => Err(error),
            },
        }
    }

    /// A floating-point number; integers count, nil is 0.
    pub fn f64(&mut self) -> Result<f64> {
        match self.peek()? {
            Marker::F64 => {
                self.position += 1;
                Ok(f64::from_be_bytes(self.take_array()?))
            }
            Marker::F32 => {
                self.position += 1;
                Ok(f32::from_be_bytes(self.take_array()?).into())
            }
            _ => match self.integer() {
                Ok(n) => Ok(n as f64),
                Err(Error::WrongType(_)) => Err(Error::WrongType("a number")),
                Err(error) => Err(error),
            },
        }
    }

    /// Steps over one value of any type.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Result<()> {
        let length = match self.marker()? {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => {
                0
            }
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixStr(n) => n as usize,
            Marker::Str8 | Marker::Bin8 => self.take_u8()? as usize,
            Marker::Str16 | Marker::Bin16 => self.take_u16()? as usize,
            Marker::Str32 | Marker::Bin32 => self.take_u32()? as usize,
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => self.take_u8()? as usize + 1,
            Marker::Ext16 => self.take_u16()? as usize + 1,
            Marker::Ext32 => (self.take_u32()? as usize).saturating_add(1),
            container => {
                self.position -= 1;
                debug_assert!(!matches!(container, Marker::Null));
                let count = match self.structure() {
                    Ok(Structure::Map(pairs)) => pairs * 2,
                    Ok(Structure::Array(elements)) => elements,
                    Ok(Structure::Nil) => 0,
                    Err(Error::WrongType(_)) => return Err(Error::WrongType("a value")),
                    Err(error) => return Err(error),
                };
                let depth = depth.checked_sub(1).ok_or(Error::TooDeep)?;
                for _ in 0..count {
                    self.skip_within(depth)?;
                }
                return Ok(());
            }
        };
        self.take(length).map(|_| ())
    }

    /// Reads a structure field by field: `field(index, reader)` is called for each known field that
    /// is present, with its index in `names`, which lists the fields in declaration order.
    ///
    /// Maps and positional arrays are both understood, unknown keys and surplus elements are
    /// stepped over, of a duplicate key the last one wins (the caller is called again), and a nil
    /// body calls nothing.
    pub fn fields<E: From<Error>>(
        &mut self,
        names: &[&str],
        mut field: impl FnMut(usize, &mut Reader<'a>) -> core::result::Result<(), E>,
    ) -> core::result::Result<(), E> {
        match self.structure()? {
            Structure::Nil => {}
            Structure::Map(pairs) => {
                for _ in 0..pairs {
                    // A key that is no text is an unknown key.
                    let key = match self.peek()? {
                        Marker::FixStr(_)
                        | Marker::Str8
                        | Marker::Str16
                        | Marker::Str32
                        | Marker::Bin8
                        | Marker::Bin16
                        | Marker::Bin32 => Some(self.raw("a key")?),
                        _ => {
                            self.skip()?;
                            None
                        }
                    };
                    match names.iter().position(|name| Some(name.as_bytes()) == key) {
                        Some(index) => field(index, self)?,
                        None => self.skip()?,
                    }
                }
            }
            Structure::Array(elements) => {
                for index in 0..elements {
                    if index < names.len() {
                        field(index, self)?
                    } else {
                        self.skip()?
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which families of text and bytes a [`Writer`] may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The gossip port: text and bytes alike in the raw family (fixraw, raw16, raw32).
    Gossip,
    /// The RPC port: text with str8, bytes as bin.
    Rpc,
}

/// Appends values to a buffer.
#[derive(Clone, Debug)]
pub struct Writer {
    output: Vec<u8>,
    dialect: Dialect,
}

impl Writer {
    /// A writer with an empty buffer.
    pub fn new(dialect: Dialect) -> Self {
        Writer {
            output: Vec::new(),
            dialect,
        }
    }

    /// A writer that appends to `output`.
    pub fn appending(dialect: Dialect, output: Vec<u8>) -> Self {
        Writer { output, dialect }
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.output
    }

    /// Bytes as they are, for type bytes in front of a body and bodies encoded before.
    pub fn verbatim(&mut self, bytes: &[u8]) -> &mut Self {
        self.output.extend_from_slice(bytes);
        self
    }

    /// Nil.
    pub fn nil(&mut self) -> &mut Self {
        self.output.push(Marker::Null.to_u8());
        self
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.output
            .push(if value { Marker::True } else { Marker::False }.to_u8());
        self
    }

    /// An unsigned integer in its shortest unsigned form.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        match value {
            0..=0x7f => self.output.push(value as u8),
            0x80..=0xff => self
                .output
                .extend_from_slice(&[Marker::U8.to_u8(), value as u8]),
            0x100..=0xffff => self.marked(Marker::U16, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.marked(Marker::U32, &(value as u32).to_be_bytes()),
            _ => self.marked(Marker::U64, &value.to_be_bytes()),
        }
        self
    }

    /// A signed integer: unsigned forms from 0 up, as codec 0.5.x writes them, else the shortest
    /// signed form.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match value {
            0.. => return self.uint(value as u64),
            -32..=-1 => self.output.push(value as i8 as u8),
            -128..=-33 => self.marked(Marker::I8, &(value as i8).to_be_bytes()),
            -32_768..=-129 => self.marked(Marker::I16, &(value as i16).to_be_bytes()),
            -2_147_483_648..=-32_769 => self.marked(Marker::I32, &(value as i32).to_be_bytes()),
            _ => self.marked(Marker::I64, &value.to_be_bytes()),
        }
        self
    }

    /// A floating-point number, always 64 bits.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.marked(Marker::F64, &value.to_be_bytes());
        self
    }

    /// Text; not checked for UTF-8.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        match text.len() {
            0..=31 => self.output.push(Marker::FixStr(text.len() as u8).to_u8()),
            32..=255 if self.dialect == Dialect::Rpc => {
                self.marked(Marker::Str8, &[text.len() as u8]);
            }
            32..=65_535 => self.marked(Marker::Str16, &(text.len() as u16).to_be_bytes()),
            _ => self.marked(Marker::Str32, &length_u32(text).to_be_bytes()),
        }
        self.verbatim(text)
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if self.dialect == Dialect::Gossip {
            return self.text(bytes);
        }
        match bytes.len() {
            0..=255 => self.marked(Marker::Bin8, &[bytes.len() as u8]),
            256..=65_535 => self.marked(Marker::Bin16, &(bytes.len() as u16).to_be_bytes()),
            _ => self.marked(Marker::Bin32, &length_u32(bytes).to_be_bytes()),
        }
        self.verbatim(bytes)
    }

    /// Bytes, or nil for `None`.
    pub fn bytes_or_nil(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.nil(),
        }
    }

    /// The header of a map of `pairs` pairs.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        match pairs {
            0..=15 => self.output.push(Marker::FixMap(pairs as u8).to_u8()),
            16..=65_535 => self.marked(Marker::Map16, &(pairs as u16).to_be_bytes()),
            _ => self.marked(Marker::Map32, &(pairs as u32).to_be_bytes()),
        }
        self
    }

    /// The header of a list of `elements` elements.
    pub fn array(&mut self, elements: usize) -> &mut Self {
        match elements {
            0..=15 => self.output.push(Marker::FixArray(elements as u8).to_u8()),
            16..=65_535 => self.marked(Marker::Array16, &(elements as u16).to_be_bytes()),
            _ => self.marked(Marker::Array32, &(elements as u32).to_be_bytes()),
        }
        self
    }

    /// A key of a structure; its value must follow.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.text(name)
    }

    fn marked(&mut self, marker: Marker, bytes: &[u8]) {
        self.output.push(marker.to_u8());
        self.output.extend_from_slice(bytes);
    }
}

/// Lengths come from our own buffers, which never reach 4 GiB.
fn length_u32(bytes: &[u8]) -> u32 {
    debug_assert!(u32::try_from(bytes.len()).is_ok());
    bytes.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: Dialect, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new(dialect);
        write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn integers_take_their_shortest_form_and_come_back() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (255, 2),
            (256, 3),
            (65_536, 5),
            (u64::from(u32::MAX) + 1, 9),
        ] {
            let bytes = written(Dialect::Gossip, |w| {
                w.uint(value);
            });
            assert_eq!(bytes.len(), length, "{value}");
            assert_eq!(Reader::new(&bytes).u64(), Ok(value));
        }
        for value in [
            0,
            -1,
            -32,
            -33,
            -128,
            -129,
            -32_769,
            i64::from(i32::MIN) - 1,
            i64::MIN,
            i64::MAX,
        ] {
            let bytes = written(Dialect::Rpc, |w| {
                w.int(value);
            });
            assert_eq!(Reader::new(&bytes).i64(), Ok(value));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_not_wrapped() {
        assert_eq!(Reader::new(&[0xff]).u8(), Err(Error::OutOfRange));
        assert_eq!(Reader::new(&[0xcd, 1, 0]).u8(), Err(Error::OutOfRange));
        assert!(matches!(
            Reader::new(&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0]).u32(),
            Err(Error::WrongType(_))
        ));
        assert_eq!(Reader::new(&[2]).bool(), Err(Error::OutOfRange));
        assert_eq!(Reader::new(&[1]).bool(), Ok(true));
    }

    #[test]
    fn dialects_differ_in_text_and_bytes() {
        let long = [b'x'; 40];
        assert_eq!(
            written(Dialect::Gossip, |w| {
                w.text(long);
            })[..3],
            [0xda, 0, 40]
        );
        assert_eq!(
            written(Dialect::Rpc, |w| {
                w.text(long);
            })[..2],
            [0xd9, 40]
        );
        assert_eq!(
            written(Dialect::Gossip, |w| {
                w.bytes(b"ab");
            }),
            [0xa2, b'a', b'b']
        );
        assert_eq!(
            written(Dialect::Rpc, |w| {
                w.bytes(b"ab");
            }),
            [0xc4, 2, b'a', b'b']
        );
    }

    #[test]
    fn counts_are_held_against_what_is_left() {
        let huge = [0xdf, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(Reader::new(&huge).structure(), Err(Error::TooMany));
        assert_eq!(Reader::streaming(&huge).structure(), Err(Error::Truncated));
        assert_eq!(
            Reader::new(&[0xdb, 0xff, 0xff, 0xff, 0xff]).text(),
            Err(Error::Truncated)
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = [0x91; 4_000];
        assert!(matches!(
            Reader::new(&deep).skip(),
            Err(Error::TooDeep | Error::TooMany)
        ));
    }

    #[test]
    fn fields_by_name_by_position_and_not_at_all() {
        let read = |bytes: &[u8]| {
            let (mut a, mut b) = (0, 0);
            Reader::new(bytes).fields::<Error>(&["A", "B"], |index, reader| {
                *[&mut a, &mut b][index] = reader.u8()?;
                Ok(())
            })?;
            Ok::<_, Error>((a, b))
        };
        assert_eq!(read(&[0x82, 0xa1, b'B', 2, 0xa1, b'A', 1]), Ok((1, 2)));
        assert_eq!(read(&[0x93, 1, 2, 3]), Ok((1, 2)));
        assert_eq!(read(&[0xc0]), Ok((0, 0)));
        assert_eq!(
            read(&[0x82, 0xa1, b'a', 0x91, 7, 0xc4, 1, b'A', 9]),
            Ok((9, 0))
        );
    }
}
