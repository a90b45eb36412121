//! Writing values.

/// Which families of text and bytes a [`Writer`] may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The gossip port: text and bytes alike in the raw family (fixraw, raw16, raw32).
    Gossip,
    /// The RPC port: text with str8, bytes as bin.
    Rpc,
}

/// Values of a kind whose length or number, if small, is a part of the marker, and else follows it.
struct Family {
    /// The marker of 0, and the first number that it does not hold.
    fixed: (u8, u64),
    /// The markers of numbers of 1, 2, 4 and 8 bytes.
    wide: [Option<u8>; 4],
}

const UINT: Family = Family {
    fixed: (0, 0x80),
    wide: [Some(0xcc), Some(0xcd), Some(0xce), Some(0xcf)],
};
/// The family that is text and bytes in gossip.
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
        self.verbatim(&[0xc0])
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.verbatim(&[if value { 0xc3 } else { 0xc2 }])
    }

    /// An unsigned integer in its shortest unsigned form.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(&UINT, value)
    }

    /// A signed integer: unsigned forms from 0 up, as codec 0.5.x writes them, else the shortest
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

    /// A floating-point number, always 64 bits.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.marked(0xcb, value.to_bits(), 8)
    }

    /// Text; not checked for UTF-8.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let family = match self.dialect {
            Dialect::Gossip => &RAW,
            Dialect::Rpc => &TEXT,
        };
        self.content(family, text.as_ref())
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let family = match self.dialect {
            Dialect::Gossip => &RAW,
            Dialect::Rpc => &BYTES,
        };
        self.content(family, bytes)
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
        self.head(&MAP, pairs as u64)
    }

    /// The header of a list of `elements` elements.
    pub fn array(&mut self, elements: usize) -> &mut Self {
        self.head(&ARRAY, elements as u64)
    }

    /// A key of a structure; its value must follow.
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
        // Lengths are those of our own buffers, which never reach 4 GiB.
        for (marker, width) in family.wide.iter().zip([1, 2, 4, 8]) {
            match *marker {
                Some(marker) if width == 8 || number >> (8 * width) == 0 => {
                    return self.marked(marker, number, width);
                }
                _ => {}
            }
        }
        debug_assert!(false, "{number} is no length");
        self
    }

    /// A marker and the last so many bytes of a number.
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
