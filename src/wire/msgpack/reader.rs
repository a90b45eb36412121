//! Reads MessagePack values.

use std::borrow::Cow;

use super::head::Head;
use super::{DEPTH_MAX, Error, Result};

/// Layout of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// This many key-value pairs follow.
    Map(usize),
    /// This many values follow, in declaration order.
    Array(usize),
    /// Nil: every field has its zero value.
    Nil,
}

/// Reader of the values in a slice, front to back.
///
/// After an error the position is unspecified: discard the reader.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader of a complete input.
    pub fn new(input: &'a [u8]) -> Self {
        Reader { rest: input }
    }

    /// Returns the unread bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn head(&mut self) -> Result<Head> {
        Head::take(&mut self.rest)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).map_err(|_| Error::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Consumes a nil if one is next; returns whether it did.
    pub fn take_nil(&mut self) -> Result<bool> {
        let mut after = self.rest;
        let nil = Head::take(&mut after)? == Head::Nil;
        if nil {
            self.rest = after;
        }
        Ok(nil)
    }

    /// Checks a container's announced number of values against the remaining bytes: each value takes at least
    /// one.
    fn bounded(&self, values: u64) -> Result<usize> {
        match usize::try_from(values) {
            Ok(values) if values <= self.rest.len() => Ok(values),
            _ => Err(Error::TooMany),
        }
    }

    /// Reads the head of a structure.
    pub fn structure(&mut self) -> Result<Structure> {
        match self.head()? {
            Head::Nil => Ok(Structure::Nil),
            Head::Map(pairs) => Ok(Structure::Map(self.bounded(2 * pairs)? / 2)),
            Head::Array(values) => Ok(Structure::Array(self.bounded(values)?)),
            _ => Err(Error::WrongType("a map or a list")),
        }
    }

    /// Reads the head of a map and returns its number of pairs; 0 for nil.
    pub fn map(&mut self) -> Result<usize> {
        match self.structure()? {
            Structure::Map(n) => Ok(n),
            Structure::Nil => Ok(0),
            Structure::Array(_) => Err(Error::WrongType("a map")),
        }
    }

    /// Reads the head of a list and returns its number of elements; 0 for nil.
    pub fn array(&mut self) -> Result<usize> {
        match self.structure()? {
            Structure::Array(n) => Ok(n),
            Structure::Nil => Ok(0),
            Structure::Map(_) => Err(Error::WrongType("a list")),
        }
    }

    /// Reads a list, each element with `element`; empty for nil. Does not reserve memory by the announced
    /// count, which cannot be trusted.
    pub fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.array()?;
        (0..count).map(|_| element(self)).collect()
    }

    /// Reads text of either family as bytes; empty for nil. UTF-8 is not guaranteed (gossip spec 3.3).
    pub fn text(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            Head::Nil => Ok(&[]),
            Head::Raw(bytes) => self.take(bytes),
            _ => Err(Error::WrongType("text")),
        }
    }

    /// Reads bytes: raw, bin, or a list of small integers; `None` for nil.
    pub fn bytes(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.bytes_borrowed()?.map(Cow::into_owned))
    }

    /// As [`Self::bytes`], but borrows raw and bin values.
    pub fn bytes_borrowed(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        match self.head()? {
            Head::Nil => Ok(None),
            Head::Raw(bytes) => self.take(bytes).map(|bytes| Some(Cow::Borrowed(bytes))),
            Head::Array(values) => (0..self.bounded(values)?)
                .map(|_| self.u8())
                .collect::<Result<Vec<u8>>>()
                .map(|bytes| Some(Cow::Owned(bytes))),
            _ => Err(Error::WrongType("bytes")),
        }
    }

    /// Reads an unsigned 8-bit integer; 0 for nil.
    pub fn u8(&mut self) -> Result<u8> {
        self.u64()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// Reads an unsigned 16-bit integer; 0 for nil.
    pub fn u16(&mut self) -> Result<u16> {
        self.u64()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// Reads an unsigned 32-bit integer; 0 for nil.
    pub fn u32(&mut self) -> Result<u32> {
        self.u64()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// Reads an unsigned 64-bit integer; 0 for nil.
    pub fn u64(&mut self) -> Result<u64> {
        match self.head()? {
            Head::Nil => Ok(0),
            Head::Uint(value) => Ok(value),
            Head::Int(value) => value.try_into().map_err(|_| Error::OutOfRange),
            _ => Err(Error::WrongType("an integer")),
        }
    }

    /// Reads a signed 32-bit integer; 0 for nil.
    pub fn i32(&mut self) -> Result<i32> {
        self.i64()?.try_into().map_err(|_| Error::OutOfRange)
    }

    /// Reads a signed 64-bit integer; 0 for nil.
    pub fn i64(&mut self) -> Result<i64> {
        match self.head()? {
            Head::Nil => Ok(0),
            Head::Uint(value) => value.try_into().map_err(|_| Error::OutOfRange),
            Head::Int(value) => Ok(value),
            _ => Err(Error::WrongType("an integer")),
        }
    }

    /// Reads a boolean; accepts the integers 0 and 1, and nil as false.
    pub fn bool(&mut self) -> Result<bool> {
        match self.head()? {
            Head::Bool(value) => Ok(value),
            Head::Nil | Head::Uint(0) | Head::Int(0) => Ok(false),
            Head::Uint(1) | Head::Int(1) => Ok(true),
            Head::Uint(_) | Head::Int(_) => Err(Error::OutOfRange),
            _ => Err(Error::WrongType("a boolean")),
        }
    }

    /// Reads a floating-point number; accepts integers, and nil as 0.
    pub fn f64(&mut self) -> Result<f64> {
        match self.head()? {
            Head::Float(value) => Ok(value),
            Head::Nil => Ok(0.0),
            Head::Uint(value) => Ok(value as f64),
            Head::Int(value) => Ok(value as f64),
            _ => Err(Error::WrongType("a number")),
        }
    }

    /// Skips one value of any type.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Result<()> {
        let head = self.head()?;
        self.skip_content(head, depth)
    }

    /// Skips the content that follows a value's head.
    fn skip_content(&mut self, head: Head, depth: usize) -> Result<()> {
        if let Some(values) = head.values() {
            let values = self.bounded(values)?;
            let depth = depth.checked_sub(1).ok_or(Error::TooDeep)?;
            for _ in 0..values {
                self.skip_within(depth)?;
            }
        }
        self.take(head.bytes()).map(|_| ())
    }

    /// Reads a structure field by field: calls `field(index, reader)` for each known field that is present,
    /// with its index in `names`. `names` lists the fields in declaration order.
    ///
    /// Accepts maps and positional arrays. Skips unknown keys and surplus elements. Calls `field` for each
    /// occurrence of a duplicate key, so the last one wins. Calls nothing for nil.
    pub fn fields<E: From<Error>>(
        &mut self,
        names: &[&str],
        mut field: impl FnMut(usize, &mut Reader<'a>) -> core::result::Result<(), E>,
    ) -> core::result::Result<(), E> {
        let mut fields = Fields::of(self.structure()?, names);
        while let Some(index) = fields.next(self)? {
            field(index, self)?;
        }
        Ok(())
    }
}

/// Iterator over the fields of a structure. Not generic, so that only one copy is compiled.
struct Fields<'n> {
    names: &'n [&'n str],
    left: usize,
    /// Position of the next field, if the structure is an array.
    position: Option<usize>,
}

impl<'n> Fields<'n> {
    fn of(structure: Structure, names: &'n [&'n str]) -> Self {
        let (left, position) = match structure {
            Structure::Nil => (0, None),
            Structure::Map(pairs) => (pairs, None),
            Structure::Array(values) => (values, Some(0)),
        };
        Fields {
            names,
            left,
            position,
        }
    }

    /// Advances to the value of the next known field and returns its index in `names`.
    fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<usize>> {
        while self.left > 0 {
            self.left -= 1;
            let index = match &mut self.position {
                Some(position) => {
                    *position += 1;
                    Some(*position - 1).filter(|&index| index < self.names.len())
                }
                None => self.index_of_key(reader)?,
            };
            if index.is_some() {
                return Ok(index);
            }
            reader.skip()?;
        }
        Ok(None)
    }

    fn index_of_key(&self, reader: &mut Reader<'_>) -> Result<Option<usize>> {
        match reader.head()? {
            Head::Raw(bytes) => {
                let key = reader.take(bytes)?;
                Ok(self.names.iter().position(|name| name.as_bytes() == key))
            }
            // A key that is not text is an unknown key.
            other => reader.skip_content(other, DEPTH_MAX).map(|()| None),
        }
    }
}
