//! Digests and summaries of the user events that a node remembers, exchanged between cottar nodes. They are
//! sent where the reference ignores bytes: after the coordinate in the payload of acks, and after the body of
//! pings. The reference decodes one object there and ignores the rest.
//!
//! Both start with a byte that never starts a MessagePack object. Times are the low 32 bits of a Lamport
//! time; the receiver restores the rest from its own clock.

use super::DecodeError;

/// First byte of both forms; MessagePack never uses it.
const MARKER: u8 = 0xc1;
/// Limit for the times that a summary covers. A node remembers the events of 512 times, and events about to
/// be evicted are not worth a request. With this maximum a ping stays far below the packet budget.
pub const SUMMARY_TIMES_MAX: usize = 384;
/// Layout version of a summary, in the upper half of its second byte.
const SUMMARY_VERSION: u8 = 0x10;
/// Bit of the second byte: this summary is a response to a summary.
const SUMMARY_IS_ANSWER: u8 = 0x01;
/// Second byte of a digest after a ping, in the place of a summary's version.
const PING_DIGEST_VERSION: u8 = 0x20;
/// Header bytes of a summary, before its marks.
const SUMMARY_HEAD_BYTES: usize = 7;

/// Digest of the events that a node remembers in a range of times; sent in acks and in the pings of probes.
/// Sender and receiver derive the start of the range from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDigest {
    /// Last time of the range.
    pub upto: u32,
    /// Equal digests mean equal events.
    pub digest: [u8; 7],
}

impl EventDigest {
    /// Size on the wire.
    pub const BYTES: usize = 12;

    /// Appends the wire form.
    pub fn encode(&self, output: &mut Vec<u8>) {
        output.push(MARKER);
        output.extend_from_slice(&self.upto.to_be_bytes());
        output.extend_from_slice(&self.digest);
    }

    /// Decodes the bytes after a coordinate; `None` if they hold no digest.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[MARKER, a, b, c, d], digest) = bytes.split_first_chunk()? else {
            return None;
        };
        Some(EventDigest {
            upto: u32::from_be_bytes([a, b, c, d]),
            digest: *digest.first_chunk()?,
        })
    }

    /// Encodes the form that follows the body of a ping.
    pub fn encode_for_ping(&self) -> Vec<u8> {
        let mut output = vec![MARKER, PING_DIGEST_VERSION];
        output.extend_from_slice(&self.upto.to_be_bytes());
        output.extend_from_slice(&self.digest);
        output
    }

    /// Decodes the bytes after the body of a ping; `None` if they hold no digest.
    pub fn decode_of_ping(bytes: &[u8]) -> Option<Self> {
        let (&[MARKER, PING_DIGEST_VERSION, a, b, c, d], digest) = bytes.split_first_chunk()?
        else {
            return None;
        };
        Some(EventDigest {
            upto: u32::from_be_bytes([a, b, c, d]),
            digest: *digest.first_chunk()?,
        })
    }

    /// Whether a payload starts with a digest, as sent by a node with coordinates disabled.
    pub fn is_at_start(payload: &[u8]) -> bool {
        payload.first() == Some(&MARKER)
    }
}

/// Marks of the events that a node remembers, for a range of consecutive times; sent in pings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// This is a response to the receiver's summary, so no summary is sent back.
    pub is_answer: bool,
    /// Varies the marks, so that two events whose marks collide in one summary do not in the next.
    pub salt: u8,
    /// First time of the range.
    pub first: u32,
    /// One byte per time; 0: no event. At most [`SUMMARY_TIMES_MAX`].
    pub marks: Vec<u8>,
}

impl EventSummary {
    /// Encodes the summary.
    pub fn encode(&self) -> Vec<u8> {
        let mut output = Vec::with_capacity(SUMMARY_HEAD_BYTES + self.marks.len());
        let answer = if self.is_answer { SUMMARY_IS_ANSWER } else { 0 };
        output.extend_from_slice(&[MARKER, SUMMARY_VERSION | answer, self.salt]);
        output.extend_from_slice(&self.first.to_be_bytes());
        output.extend_from_slice(&self.marks);
        output
    }

    /// Decodes the bytes after the body of a ping.
    ///
    /// # Errors
    /// Fails if the bytes are not a summary, have another version, or cover too many times.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[MARKER, kind, salt, a, b, c, d], marks)) = bytes.split_first_chunk() else {
            return Err(DecodeError::Invalid("event summary"));
        };
        if kind & !SUMMARY_IS_ANSWER != SUMMARY_VERSION {
            return Err(DecodeError::Invalid("version of an event summary"));
        }
        if marks.len() > SUMMARY_TIMES_MAX {
            return Err(DecodeError::TooLarge("event summary"));
        }
        Ok(EventSummary {
            is_answer: kind & SUMMARY_IS_ANSWER != 0,
            salt,
            first: u32::from_be_bytes([a, b, c, d]),
            marks: marks.to_vec(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_behind_a_ping_is_no_summary_and_the_other_way_round() {
        for upto in [0, 0x10_00_00_00, u32::MAX] {
            let digest = EventDigest {
                upto,
                digest: [1, 2, 3, 4, 5, 6, 7],
            };
            let bytes = digest.encode_for_ping();
            assert_eq!(bytes.len(), EventDigest::BYTES + 1);
            assert_eq!(EventDigest::decode_of_ping(&bytes), Some(digest));
            assert!(EventSummary::decode(&bytes).is_err());
            for cut in 0..bytes.len() {
                assert_eq!(EventDigest::decode_of_ping(&bytes[..cut]), None);
            }
        }
        for is_answer in [false, true] {
            let summary = EventSummary {
                is_answer,
                salt: 9,
                first: 1,
                marks: vec![7; 20],
            };
            assert_eq!(EventDigest::decode_of_ping(&summary.encode()), None);
        }
    }

    #[test]
    fn a_digest_takes_twelve_bytes() {
        let digest = EventDigest {
            upto: 0x0102_0304,
            digest: [5, 6, 7, 8, 9, 10, 11],
        };
        let mut bytes = Vec::new();
        digest.encode(&mut bytes);
        assert_eq!(bytes, [0xc1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(bytes.len(), EventDigest::BYTES);
        assert_eq!(EventDigest::decode(&bytes), Some(digest));
        assert!(EventDigest::is_at_start(&bytes) && !EventDigest::is_at_start(&[1, 0x84]));
        // Bytes that a later version may append are ignored.
        bytes.push(0);
        assert_eq!(EventDigest::decode(&bytes), Some(digest));
        for cut in 0..EventDigest::BYTES {
            assert_eq!(EventDigest::decode(&bytes[..cut]), None);
        }
        bytes[0] = 0xc0;
        assert_eq!(EventDigest::decode(&bytes), None);
    }

    #[test]
    fn a_summary_has_one_byte_for_each_time() {
        let mut summary = EventSummary {
            is_answer: false,
            salt: 7,
            first: 0x0102_0304,
            marks: vec![0, 200, 0],
        };
        let bytes = summary.encode();
        assert_eq!(bytes, [0xc1, 0x10, 7, 1, 2, 3, 4, 0, 200, 0]);
        assert_eq!(EventSummary::decode(&bytes), Ok(summary.clone()));
        summary.is_answer = true;
        assert_eq!(summary.encode()[1], 0x11);
        assert_eq!(EventSummary::decode(&summary.encode()), Ok(summary.clone()));
        summary.marks = vec![1; SUMMARY_TIMES_MAX];
        assert!(EventSummary::decode(&summary.encode()).is_ok());
        summary.marks.push(1);
        assert_eq!(
            EventSummary::decode(&summary.encode()),
            Err(DecodeError::TooLarge("event summary"))
        );
        for cut in 0..SUMMARY_HEAD_BYTES {
            assert!(EventSummary::decode(&bytes[..cut]).is_err());
        }
        for kind in [0x00, 0x12, 0x20, 0xff] {
            assert!(EventSummary::decode(&[0xc1, kind, 0, 0, 0, 0, 0]).is_err());
        }
    }
}
