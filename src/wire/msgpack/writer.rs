//! Writing values.

use rmp::Marker;

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
