//! The keyring file: a JSON list of keys in base64, the primary one first (agent spec 4.10).

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::decode_key;
use super::{read_small, without_mark};
use crate::os::error::shown;
use crate::wire::{Key, Keyring};

/// Reads the keyring file; returns the keyring and the number of keys listed.
///
/// # Errors
/// If it cannot be read or is invalid; returns the text to print.
pub fn read(path: &Path) -> Result<(Keyring, usize), String> {
    let text = read_small(path).map_err(|why| format!("Failed to read keyring file: {why}"))?;
    let missing = || format!("stat {}: no such file or directory", shown(path));
    decode(&text.ok_or_else(missing)?)
}

fn decode(text: &[u8]) -> Result<(Keyring, usize), String> {
    let failed = |why: String| format!("Failed to decode keyring file: {why}");
    let text = without_mark(text).map_err(failed)?;
    let keys: Option<Vec<String>> =
        serde_json::from_slice(text).map_err(|why| failed(why.to_string()))?;
    let mut ring: Option<Keyring> = None;
    let keys = keys.unwrap_or_default();
    for key in &keys {
        let raw =
            decode_key(key).map_err(|why| format!("Failed to decode key from keyring: {why}"))?;
        let key = Key::new(&raw).map_err(|why| format!("Failed to restore keyring: {why}"))?;
        match &mut ring {
            Some(ring) => ring.install(key),
            None => ring = Some(Keyring::new(key)),
        }
    }
    let ring = ring.ok_or("Keyring file contains no keys")?;
    Ok((ring, keys.len()))
}

/// Encodes the keys as the file's content, primary key first.
pub fn encode(keys: &[Key]) -> Vec<u8> {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| STANDARD.encode(key.as_bytes()))
        .collect();
    // Cannot fail for a list of strings.
    serde_json::to_vec_pretty(&keys).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let keys = [Key::new(&[7; 32]).unwrap(), Key::new(&[1; 16]).unwrap()];
        let text = String::from_utf8(encode(&keys)).unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            text,
            "[\n  \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\",\n  \"AQEBAQEBAQEBAQEBAQEBAQ==\"\n]"
        );
        let (ring, count) = read(&path).unwrap();
        assert_eq!((ring.keys(), count), (&keys[..], 2));
    }

    #[test]
    fn files_that_are_none_are_refused_in_the_references_words() {
        let cases = [
            ("[]", "Keyring file contains no keys"),
            ("null", "Keyring file contains no keys"),
            (
                "[\"!!\"]",
                "Failed to decode key from keyring: illegal base64 data at input byte 0",
            ),
            (
                "[\"AAAA\"]",
                "Failed to restore keyring: key size must be 16, 24 or 32 bytes",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text.as_bytes()).unwrap_err(), expected, "{text}");
        }
        let marked = decode("\u{feff}[]\r\n".as_bytes()).unwrap_err();
        assert_eq!(marked, "Keyring file contains no keys");
        for text in ["", "{}", "[1]", "x"] {
            let why = decode(text.as_bytes()).unwrap_err();
            assert!(why.starts_with("Failed to decode keyring file: "), "{why}");
        }
        assert_eq!(
            read(Path::new("/no/such")).unwrap_err(),
            "stat /no/such: no such file or directory"
        );
    }
}
