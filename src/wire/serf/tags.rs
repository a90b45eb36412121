//! Tags in a node's meta (gossip spec 5.2).

use super::super::msgpack::{self, Dialect, Reader, Writer};

/// A node's tags: text to text, sorted by key, one value a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tags(Vec<(Text, Text)>);

/// Text of a peer; nobody promises UTF-8.
type Text = Box<[u8]>;

/// Text of the error for tags that exceed [`super::super::limits::META_BYTES_MAX`].
pub const TAGS_TOO_LONG: &str = "Encoded length of tags exceeds limit of 512 bytes";

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Tags::default()
    }

    /// Of a key that comes twice the last value wins.
    fn from_pairs(mut pairs: Vec<(&[u8], &[u8])>) -> Self {
        pairs.reverse();
        pairs.sort_by_key(|&(key, _)| key);
        pairs.dedup_by_key(|&mut (key, _)| key);
        Tags(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    fn position(&self, key: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|(present, _)| (**present).cmp(key))
    }

    /// The value of a tag.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let index = self.position(key).ok()?;
        self.0.get(index).map(|(_, value)| &**value)
    }

    /// Sets a tag, replacing an older value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        match self.position(key) {
            Ok(index) => self.0[index].1 = value.into(),
            Err(index) => self.0.insert(index, (key.into(), value.into())),
        }
    }

    /// Removes a tag; tells whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let position = self.position(key);
        if let Ok(index) = position {
            self.0.remove(index);
        }
        position.is_ok()
    }

    /// All tags in byte order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The number of tags.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Meta for Serf protocol 3 and later: `ff` and a map (gossip spec 5.2); below 3 the bare role.
    pub fn encode_meta(&self, serf_protocol: u8) -> Vec<u8> {
        if serf_protocol < TAGS_SINCE_PROTOCOL {
            return self.get(b"role").unwrap_or_default().to_vec();
        }
        let mut writer = Writer::appending(Dialect::Gossip, vec![TAGS_MARK]);
        self.encode_map(&mut writer);
        writer.into_bytes()
    }

    pub(super) fn encode_map(&self, writer: &mut Writer) {
        writer.map(self.len());
        for (key, value) in self.iter() {
            writer.text(key).text(value);
        }
    }

    /// Tags from a node's meta. Never fails: what decodes is kept, as in the reference; the flag
    /// tells whether all of it did.
    pub fn decode_meta(meta: &[u8]) -> (Tags, bool) {
        let [TAGS_MARK, map @ ..] = meta else {
            return (Tags::from_pairs(vec![(b"role", meta)]), true);
        };
        Self::decode_map(&mut Reader::new(map))
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
        (Tags::from_pairs(pairs), complete)
    }
}

/// First byte of meta that holds tags; without it the whole meta is a role (gossip spec 5.2).
const TAGS_MARK: u8 = 0xff;
/// Below this Serf protocol meta is the bare role (gossip spec 5.1).
const TAGS_SINCE_PROTOCOL: u8 = 3;
