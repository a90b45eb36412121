//! Short identity of a user event, for lines of a file.
//!
//! Two user events are the same if Lamport time, name and payload are equal. The hash replaces name and
//! payload where these are too long: in the snapshot file and in event ids. It must never change, because it
//! is written to files and shown to users.

/// Offset basis of 64-bit FNV-1a.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// Prime of 64-bit FNV-1a.
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Hashes a user event's name and payload with 64-bit FNV-1a, over the length of the name (eight bytes,
/// little-endian), the name, and the payload. A missing payload counts as empty.
///
/// Not a cryptographic hash: anybody who may fire events in the cluster can construct collisions.
pub fn event_hash(name: &[u8], payload: &[u8]) -> u64 {
    let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes();
    let bytes = length.iter().chain(name).chain(payload);
    bytes.fold(OFFSET_BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// Applies the finalizer of SplitMix64: each bit of the result depends on all bits of the number.
pub(in crate::serf) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // Computed with an independent implementation; files of earlier versions contain such hashes.
        assert_eq!(event_hash(b"", b""), 0xa8c7_f832_281a_39c5);
        assert_eq!(event_hash(b"deploy", b"v1"), 0xbee3_96d5_0c80_a4f1);
    }

    #[test]
    fn the_border_between_name_and_payload_counts() {
        assert_ne!(event_hash(b"ab", b"c"), event_hash(b"a", b"bc"));
        assert_ne!(event_hash(b"a", b""), event_hash(b"", b"a"));
        assert_ne!(event_hash(b"a", b"1"), event_hash(b"a", b"2"));
    }
}
