//! Tags, encoded in a node's meta (gossip spec 5.2).

use std::fmt;
use std::sync::Arc;

use super::super::msgpack::{self, Dialect, Reader, Writer};
use crate::ordered::OrderedMap;

/// A node's tags: byte strings sorted by key, one value per key. UTF-8 is not guaranteed.
///
/// Stored in encoded form, as the meta that this program writes: of ten thousand members' tags few are ever
/// read. Clones share one allocation, with the meta of the member if it has the same bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tags(Option<Arc<[u8]>>);

/// Error text for tags that exceed [`super::super::limits::META_BYTES_MAX`].
pub const TAGS_TOO_LONG: &str = "Encoded length of tags exceeds limit of 512 bytes";

type Pair<'a> = (&'a [u8], &'a [u8]);

impl Tags {
    /// Creates an empty set of tags.
    pub fn new() -> Self {
        Tags::default()
    }

    /// Makes tags from pairs; of a duplicate key the last value wins.
    pub fn from_pairs(pairs: &[Pair<'_>]) -> Self {
        if pairs.is_sorted_by(|(key, _), (next, _)| key < next) {
            return Tags::from_sorted(pairs);
        }
        let sorted: OrderedMap<&[u8], &[u8]> = pairs.iter().copied().collect();
        Tags::from_sorted(&sorted.into_iter().collect::<Vec<_>>())
    }

    fn from_sorted(pairs: &[Pair<'_>]) -> Self {
        if pairs.is_empty() {
            return Tags(None);
        }
        let mut writer = Writer::appending(Dialect::Gossip, vec![TAGS_MARK]);
        writer.map(pairs.len());
        for (key, value) in pairs {
            writer.text(key).text(value);
        }
        Tags(Some(writer.into_bytes().into()))
    }

    /// Returns the value of a tag.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut pairs = self.iter();
        pairs.find_map(|(present, value)| (present == key).then_some(value))
    }

    /// Sets a tag, replacing any previous value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        let added = std::iter::once((key, value));
        let pairs: Vec<Pair<'_>> = self.iter().chain(added).collect();
        let set = Tags::from_pairs(&pairs);
        *self = set;
    }

    /// Removes a tag; returns whether it was present.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let is_there = self.get(key).is_some();
        if is_there {
            let others = self.iter().filter(|(present, _)| *present != key);
            let left = Tags::from_sorted(&others.collect::<Vec<_>>());
            *self = left;
        }
        is_there
    }

    /// Iterates over all tags in byte order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Pair<'_>> {
        let meta = self.0.as_deref().unwrap_or(EMPTY_META);
        let mut reader = Reader::new(meta.get(1..).unwrap_or_default());
        // Reading cannot fail: this type wrote the bytes.
        let left = reader.map().unwrap_or(0);
        Iter { reader, left }
    }

    /// Returns the number of tags.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Encodes the meta: `ff` and a map for Serf protocol 3 and later, the bare role below 3 (gossip spec
    /// 5.2).
    pub fn encode_meta(&self, serf_protocol: u8) -> Vec<u8> {
        if serf_protocol < TAGS_SINCE_PROTOCOL {
            return self.get(b"role").unwrap_or_default().to_vec();
        }
        self.to_meta().to_vec()
    }

    pub(super) fn encode_map(&self, writer: &mut Writer) {
        writer.map(self.len());
        for (key, value) in self.iter() {
            writer.text(key).text(value);
        }
    }

    /// Decodes the tags in a node's meta. Never fails: like the reference, it keeps the pairs before an
    /// error; the flag is false if there was one.
    pub fn decode_meta(meta: &[u8]) -> (Tags, bool) {
        let [TAGS_MARK, map @ ..] = meta else {
            return (Tags::from_sorted(&[(b"role", meta)]), true);
        };
        Self::decode_map(&mut Reader::new(map))
    }

    /// Returns the tags as meta for Serf protocol 3 and later, sharing the allocation.
    pub(crate) fn to_meta(&self) -> Arc<[u8]> {
        self.0.clone().unwrap_or_else(|| EMPTY_META.into())
    }

    /// Returns the tags of which `meta` was made by [`Self::to_meta`], sharing the allocation.
    pub(crate) fn from_meta(meta: &Arc<[u8]>) -> Tags {
        Tags((**meta != *EMPTY_META).then(|| meta.clone()))
    }

    pub(super) fn decode_map(reader: &mut Reader<'_>) -> (Tags, bool) {
        let mut pairs = Vec::new();
        let mut read = || -> Result<(), msgpack::Error> {
            for _ in 0..reader.map()? {
                let key = reader.text()?;
                pairs.push((key, reader.text()?));
            }
            Ok(())
        };
        let complete = read().is_ok();
        (Tags::from_pairs(&pairs), complete)
    }
}

/// First byte of meta that holds tags. Meta without it is a bare role (gossip spec 5.2).
const TAGS_MARK: u8 = 0xff;
/// First Serf protocol whose meta holds tags; before it, meta is the bare role (gossip spec 5.1).
const TAGS_SINCE_PROTOCOL: u8 = 3;
/// Meta that holds no tags: the mark, and an encoded map without pairs.
const EMPTY_META: &[u8] = &[TAGS_MARK, 0x80];

/// Iterator over tags.
struct Iter<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        self.left = self.left.checked_sub(1)?;
        let key = self.reader.text().ok()?;
        Some((key, self.reader.text().ok()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text| String::from_utf8_lossy(text);
        let pairs = self.iter().map(|(key, value)| (shown(key), shown(value)));
        f.debug_map().entries(pairs).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_sorted_map() {
        let mut tags = Tags::new();
        assert!(tags.is_empty() && tags.iter().next().is_none());
        let long = [b'x'; 70_000];
        for (key, value) in [
            (&b"role"[..], &b"web"[..]),
            (b"dc", b"1"),
            (b"role", b"db"),
            (b"z", &long),
            (b"", b""),
        ] {
            tags.set(key, value);
            assert_eq!(tags.get(key), Some(value));
        }
        assert_eq!(tags.len(), 4);
        assert!(tags.iter().is_sorted());
        assert!(tags.remove(b"z") && !tags.remove(b"z"));
        let left: Vec<_> = tags.iter().collect();
        assert_eq!(
            left,
            [(&b""[..], &b""[..]), (b"dc", b"1"), (b"role", b"db")]
        );
        for key in [&b""[..], b"dc", b"role"] {
            assert!(tags.remove(key));
        }
        assert_eq!(tags, Tags::new());
        assert_eq!(tags.encode_meta(5), b"\xff\x80");
    }

    #[test]
    fn meta_in_our_order_is_written_as_it_came() {
        for (meta, count, is_same) in [
            (&b"\xff\x82\xa1a\xa11\xa1b\xa12"[..], 2, true),
            (b"\xff\x82\xa1b\xa12\xa1a\xa11", 2, false),
            (b"\xff\x81\xd9\x01a\xa11", 1, false),
            (b"\xff\x80", 0, true),
            (b"web", 1, false),
        ] {
            let (tags, complete) = Tags::decode_meta(meta);
            assert_eq!((tags.len(), complete), (count, true), "{meta:?}");
            let written = tags.to_meta();
            assert_eq!(*written == *meta, is_same, "{meta:?}");
            assert_eq!(Tags::from_meta(&written), tags);
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        let (tags, complete) = Tags::decode_meta(b"\xff\x82\xa1a\xa11\xa1a\xa12");
        assert!(complete);
        assert_eq!(tags.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"2"[..])]);
    }
}
