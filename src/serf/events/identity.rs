//! The identity of a user event, short enough for a line of a file.
//!
//! Two user events are the same if Lamport time, name and payload are. The hash stands for name and
//! payload where both would take too much room: in the snapshot file and in event ids. It is written
//! to files and shown to users, so it never changes.

/// Start value of FNV-1a with 64 bits.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// Multiplier of FNV-1a with 64 bits.
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Hashes a user event's name and payload: FNV-1a with 64 bits over the length of the name (eight
/// bytes, little-endian), the name, and the payload. A missing payload is an empty one.
///
/// Not a cryptographic hash: whoever may fire events in the cluster can make two that collide.
pub fn event_hash(name: &[u8], payload: &[u8]) -> u64 {
    let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes();
    let bytes = length.iter().chain(name).chain(payload);
    bytes.fold(OFFSET_BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// Mixes all bits of a number into all bits of the result: the finalizer of SplitMix64.
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
        // Computed by another implementation; files of earlier versions hold such numbers.
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
