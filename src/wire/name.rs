//! Node names.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::{DecodeError, limits};

/// A node's name: 1 to 255 bytes, compared as bytes, without control characters except TAB.
///
/// The reference accepts any bytes. Control characters are refused because line breaks would corrupt the
/// snapshot file (gossip spec 8.6); TAB occurs in running clusters and is harmless. Names of usual length
/// need no allocation; clones of longer ones share theirs.
#[derive(Clone)]
pub struct NodeName(Bytes);

/// Longest name that is stored in place.
const SHORT_MAX: usize = 30;

#[derive(Clone)]
enum Bytes {
    /// Length, and bytes padded with zeros.
    Short(u8, [u8; SHORT_MAX]),
    Long(Arc<[u8]>),
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        let mut room = [0; SHORT_MAX];
        match (room.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(bytes);
                Bytes::Short(len, room)
            }
            _ => Bytes::Long(bytes.into()),
        }
    }
}

impl NodeName {
    /// Makes a name after checking it.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] if it is empty, too long, or holds a control character.
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        let control = |&byte: &u8| byte != b'\t' && byte.is_ascii_control();
        if bytes.is_empty() || bytes.len() > limits::NAME_BYTES_MAX || bytes.iter().any(control) {
            return Err(DecodeError::Invalid("node name"));
        }
        Ok(NodeName(Bytes::new(bytes)))
    }

    /// Returns the name as sent.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for NodeName {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for NodeName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for NodeName {}

impl PartialOrd for NodeName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// Prints the name with control characters and invalid UTF-8 escaped.
impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_escaped(self.as_bytes(), f)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Writes text from a peer: valid UTF-8 unchanged, control characters and invalid bytes escaped.
pub(crate) fn fmt_escaped(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Text from a peer, escaped for log lines.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_escaped(self.0, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_names_are_taken() {
        for bad in [&b""[..], b"a\nb", b"a\0", b"\x7f", &[b'x'; 256]] {
            assert_eq!(NodeName::new(bad), Err(DecodeError::Invalid("node name")));
        }
        for good in [
            &b"a"[..],
            b"a\tb",
            b"n 2",
            "knötchen".as_bytes(),
            b"\xff",
            &[b'x'; 255],
        ] {
            assert_eq!(NodeName::new(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn short_and_long_names_compare_as_bytes() {
        let name = |len| NodeName::new(&vec![b'x'; len]).unwrap();
        for len in SHORT_MAX - 1..SHORT_MAX + 3 {
            assert_eq!(name(len).as_bytes(), vec![b'x'; len]);
            assert_eq!(name(len), name(len));
            assert!(name(len) < name(len + 1) && name(len) < NodeName::new(b"y").unwrap());
        }
        assert_eq!(size_of::<NodeName>(), SHORT_MAX + 2);
    }

    #[test]
    fn what_is_shown_is_escaped() {
        assert_eq!(
            Escaped(b"a\x1b[2J\xff\n").to_string(),
            "a\\u{1b}[2J\\xff\\n"
        );
        assert_eq!(
            NodeName::new("kn\u{f6}t".as_bytes()).unwrap().to_string(),
            "kn\u{f6}t"
        );
    }
}
