//! Decodes gossip keys from text.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

/// Decodes a key in base64.
///
/// # Errors
/// If it is not base64; text and position of the error are those of the reference.
pub fn decode_key(text: &str) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    // The reference skips line breaks.
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::STANDARD, lenient)
        .decode(&text)
        .map_err(|_| illegal(first_illegal_byte(text.as_bytes())))
}

/// Returns the position at which the reference stops in invalid base64. It reads groups of four and reports
/// the start of an incomplete group, or the end if there is misplaced padding.
fn first_illegal_byte(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        for place in 0..4 {
            match text.get(at + place) {
                Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => {}
                None => return at,
                Some(b'=') if place == 3 => return at + 4,
                Some(b'=') if place == 2 => {
                    return match text.get(at + 3) {
                        None => text.len(),
                        Some(b'=') => at + 4,
                        Some(_) => at + 2,
                    };
                }
                Some(_) => return at + place,
            }
        }
        at += 4;
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded() {
        assert_eq!(decode_key("YWJj").unwrap(), b"abc");
        let at = |text| decode_key(text).unwrap_err();
        assert_eq!(at("YWJ"), "illegal base64 data at input byte 0");
        assert_eq!(at("YWJjYW!j"), "illegal base64 data at input byte 6");
        // Unused bits may have any value.
        assert_eq!(decode_key("YWK="), decode_key("YWI="));
    }

    #[test]
    fn keys_are_refused_where_the_reference_refuses_them() {
        for (text, at) in [
            ("!!", 0),
            ("abc", 0),
            ("MDEyMzQ1Njc4OWFiY2RlZg=", 23),
            ("MDEyMzQ1Njc4OWFi=2Rl", 16),
            ("MDEy=MzQ", 4),
            ("MDEyM", 4),
            ("MDEyMz==x", 8),
            ("MDEyMz=", 7),
            ("MDEy====", 4),
        ] {
            let why = format!("illegal base64 data at input byte {at}");
            assert_eq!(decode_key(text), Err(why), "{text}");
        }
    }
}
