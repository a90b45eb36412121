//! Writes MessagePack values.

/// The MessagePack families that a [`Writer`] uses for text and for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Gossip port: text and bytes both in the raw family (fixraw, raw16, raw32).
    Gossip,
    /// RPC port: text including str8, bytes as bin.
    Rpc,
}

/// Markers of a kind of value, from the compact to the widest. A small length or number is part of the
/// marker, a larger one follows it.
struct Family {
    /// The first compact marker, and the first number that does not fit into one.
    fixed: (u8, u64),
    /// The markers for a number of 1, 2, 4 and 8 bytes.
    wide: [Option<u8>; 4],
}

const UINT: Family = Family {
    fixed: (0, 0x80),
    wide: [Some(0xcc), Some(0xcd), Some(0xce), Some(0xcf)],
};
/// Text and bytes on the gossip port.
const RAW: Family = Family {
    fixed: (0xa0, 32),
    wide: [None, Some(0xda), Some(0xdb), None],
};
const TEXT: Family = Family {
    fixed: RAW.fixed,
    wide: [Some(0xd9), Some(0xda), Some(0xdb), None],
};
const BYTES: Family = Family {
    fixed: (0, 0),
    wide: [Some(0xc4), Some(0xc5), Some(0xc6), None],
};
const MAP: Family = Family {
    fixed: (0x80, 16),
    wide: [None, Some(0xde), Some(0xdf), None],
};
const ARRAY: Family = Family {
    fixed: (0x90, 16),
    wide: [None, Some(0xdc), Some(0xdd), None],
};

/// Writer that appends values to a buffer.
#[derive(Clone, Debug)]
pub struct Writer {
    output: Vec<u8>,
    dialect: Dialect,
}

impl Writer {
    /// Creates a writer with an empty buffer.
    pub fn new(dialect: Dialect) -> Self {
        Writer {
            output: Vec::new(),
            dialect,
        }
    }

    /// Creates a writer that appends to `output`.
    pub fn appending(dialect: Dialect, output: Vec<u8>) -> Self {
        Writer { output, dialect }
    }

    /// Returns the bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.output
    }

    /// Appends bytes unchanged: type bytes and bodies that are already encoded.
    pub fn verbatim(&mut self, bytes: &[u8]) -> &mut Self {
        self.output.extend_from_slice(bytes);
        self
    }

    /// Writes nil.
    pub fn nil(&mut self) -> &mut Self {
        self.verbatim(&[0xc0])
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.verbatim(&[if value { 0xc3 } else { 0xc2 }])
    }

    /// Writes an unsigned integer in its shortest unsigned form.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(&UINT, value)
    }

    /// Writes a signed integer: from 0 up in an unsigned form, as codec 0.5.x does, below 0 in the shortest
    /// signed form.
    pub fn int(&mut self, value: i64) -> &mut Self {
        let (marker, width) = match value {
            0.. => return self.uint(value as u64),
            -32..=-1 => return self.verbatim(&[value as u8]),
            -128..=-33 => (0xd0, 1),
            -32_768..=-129 => (0xd1, 2),
            -2_147_483_648..=-32_769 => (0xd2, 4),
            _ => (0xd3, 8),
        };
        self.marked(marker, value as u64, width)
    }

    /// Writes a floating-point number, always as 64 bits.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.marked(0xcb, value.to_bits(), 8)
    }

    /// Writes text; does not check for UTF-8.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let family = match self.dialect {
            Dialect::Gossip => &RAW,
            Dialect::Rpc => &TEXT,
        };
        self.content(family, text.as_ref())
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let family = match self.dialect {
            Dialect::Gossip => &RAW,
            Dialect::Rpc => &BYTES,
        };
        self.content(family, bytes)
    }

    /// Writes bytes, or nil for `None`.
    pub fn bytes_or_nil(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.nil(),
        }
    }

    /// Writes the head of a map of `pairs` pairs.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(&MAP, pairs as u64)
    }

    /// Writes the head of a list of `elements` elements.
    pub fn array(&mut self, elements: usize) -> &mut Self {
        self.head(&ARRAY, elements as u64)
    }

    /// Writes a structure's key; its value must follow.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.text(name)
    }

    fn content(&mut self, family: &Family, content: &[u8]) -> &mut Self {
        self.head(family, content.len() as u64).verbatim(content)
    }

    fn head(&mut self, family: &Family, number: u64) -> &mut Self {
        let (marker, end) = family.fixed;
        if number < end {
            self.output.push(marker | number as u8);
            return self;
        }
        // Lengths are those of our own buffers, which stay below 4 GiB.
        for (marker, width) in family.wide.iter().zip([1, 2, 4, 8]) {
            match *marker {
                Some(marker) if width == 8 || number >> (8 * width) == 0 => {
                    return self.marked(marker, number, width);
                }
                _ => {}
            }
        }
        debug_assert!(false, "{number} is not a length");
        self
    }

    /// Writes a marker and the low `width` bytes of a number.
    fn marked(&mut self, marker: u8, number: u64, width: usize) -> &mut Self {
        let mut bytes = [marker; 9];
        for (byte, digit) in bytes
            .iter_mut()
            .skip(1)
            .zip(number.to_be_bytes().iter().skip(8 - width))
        {
            *byte = *digit;
        }
        self.verbatim(bytes.get(..=width).unwrap_or_default())
    }
}
