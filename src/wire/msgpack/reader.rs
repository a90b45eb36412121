//! Reading values.

use std::borrow::Cow;

use rmp::Marker;

use super::{DEPTH_MAX, Error, Result};

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
