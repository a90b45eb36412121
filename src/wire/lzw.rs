//! LZW as the reference writes it (gossip spec 2.5): LSB first, 8-bit literals, GIF widths.

use super::DecodeError;

/// Compresses, to the same bytes as the reference.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    todo!()
}

/// Expands at most to `expanded_bytes_max`.
///
/// # Errors
/// A wrong code, a missing end code, or more output than allowed.
pub fn expand(compressed: &[u8], expanded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    todo!()
}
