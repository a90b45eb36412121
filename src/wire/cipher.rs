//! AES-GCM encryption of payloads (gossip spec 2.7.1).

use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes192;
use aes_gcm::{AeadInPlace, Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, Nonce, Tag};

use super::{DecodeError, Key, Keyring};

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Payload version with plaintext padded to whole blocks; only protocol 1 members send it.
const VERSION_PADDED: u8 = 0;
const VERSION_PLAIN: u8 = 1;
const BLOCK_BYTES: usize = 16;
/// Bytes that encryption adds to a message.
pub(super) const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// AES-GCM, for each of the three key sizes.
enum Cipher {
    Aes128(Aes128Gcm),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(Aes256Gcm),
}

impl Cipher {
    /// Creates the cipher for a key. Never returns `None`: a [`Key`] has one of the three lengths.
    fn new(key: &Key) -> Option<Self> {
        let key = key.as_bytes();
        match key.len() {
            16 => Aes128Gcm::new_from_slice(key).ok().map(Cipher::Aes128),
            24 => AesGcm::new_from_slice(key).ok().map(Cipher::Aes192),
            _ => Aes256Gcm::new_from_slice(key).ok().map(Cipher::Aes256),
        }
    }

    fn encrypt(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], text: &mut [u8]) -> Option<Tag> {
        let nonce = Nonce::from_slice(nonce);
        match self {
            Cipher::Aes128(cipher) => cipher.encrypt_in_place_detached(nonce, aad, text),
            Cipher::Aes192(cipher) => cipher.encrypt_in_place_detached(nonce, aad, text),
            Cipher::Aes256(cipher) => cipher.encrypt_in_place_detached(nonce, aad, text),
        }
        .ok()
    }

    /// Decrypts `text` in place; returns false and leaves `text` unchanged if the tag does not match.
    fn decrypt(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> bool {
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        match self {
            Cipher::Aes128(cipher) => cipher.decrypt_in_place_detached(nonce, aad, text, tag),
            Cipher::Aes192(cipher) => cipher.decrypt_in_place_detached(nonce, aad, text, tag),
            Cipher::Aes256(cipher) => cipher.decrypt_in_place_detached(nonce, aad, text, tag),
        }
        .is_ok()
    }
}

/// Encrypts with the primary key and appends the payload to `output`.
pub(super) fn seal(
    ring: &Keyring,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    plain: &[u8],
    output: &mut Vec<u8>,
) {
    output.reserve(plain.len() + OVERHEAD_BYTES);
    output.push(VERSION_PLAIN);
    output.extend_from_slice(&nonce);
    let start = output.len();
    output.extend_from_slice(plain);
    let text = output.get_mut(start..).unwrap_or_default();
    let tag = Cipher::new(ring.primary()).and_then(|cipher| cipher.encrypt(&nonce, aad, text));
    match tag {
        Some(tag) => output.extend_from_slice(&tag),
        // Encryption fails only for texts of 64 GiB and more. Drop the plaintext so that it is never sent.
        None => output.truncate(start),
    }
}

/// Decrypts a payload with the first key of the ring that authenticates it.
pub(super) fn open(ring: &Keyring, aad: &[u8], payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let least_text = match payload.first() {
        Some(&VERSION_PADDED) => BLOCK_BYTES,
        Some(&VERSION_PLAIN) => 0,
        _ => return Err(DecodeError::Decryption),
    };
    let (version, rest) = payload.split_at(1);
    if rest.len() < NONCE_BYTES + least_text + TAG_BYTES {
        return Err(DecodeError::Decryption);
    }
    let (nonce, rest) = rest.split_at(NONCE_BYTES);
    let (text, tag) = rest.split_at(rest.len() - TAG_BYTES);
    let mut text = text.to_vec();
    let fits = |key: &Key| {
        Cipher::new(key).is_some_and(|cipher| cipher.decrypt(nonce, aad, &mut text, tag))
    };
    if !ring.keys().iter().any(fits) {
        return Err(DecodeError::Decryption);
    }
    if version == [VERSION_PADDED] {
        unpad(&mut text)?;
    }
    Ok(text)
}

/// Removes PKCS#7 padding: the last byte is the length of the padding.
fn unpad(text: &mut Vec<u8>) -> Result<(), DecodeError> {
    let padding = text.last().map_or(0, |&last| usize::from(last));
    match text.len().checked_sub(padding) {
        Some(length) if (1..=BLOCK_BYTES).contains(&padding) => {
            text.truncate(length);
            Ok(())
        }
        _ => Err(DecodeError::Decryption),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Makes a version 0 payload from text that is already padded.
    fn padded(ring: &Keyring, text: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        seal(ring, [9; NONCE_BYTES], b"", text, &mut payload);
        // The version is not authenticated.
        payload[0] = VERSION_PADDED;
        payload
    }

    #[test]
    fn padding_is_checked_before_it_is_cut_off() {
        let ring = Keyring::new(Key::new(&[1; 24]).unwrap());
        let open = |text: &[u8]| open(&ring, b"", &padded(&ring, text));
        let mut text = *b"0123456789abcd\x02\x02";
        assert_eq!(open(&text), Ok(b"0123456789abcd".to_vec()));
        text[15] = 16;
        assert_eq!(open(&text), Ok(Vec::new()));
        for bad in [0, 17, 255] {
            text[15] = bad;
            assert_eq!(open(&text), Err(DecodeError::Decryption), "{bad}");
        }
        assert_eq!(open(b"short\x03\x03\x03"), Err(DecodeError::Decryption));
    }

    #[test]
    fn every_length_is_refused_or_opened_without_panic() {
        let ring = Keyring::new(Key::new(&[1; 32]).unwrap());
        let mut payload = Vec::new();
        seal(&ring, [9; NONCE_BYTES], b"aad", b"text", &mut payload);
        assert_eq!(payload.len(), OVERHEAD_BYTES + 4);
        assert_eq!(open(&ring, b"aad", &payload), Ok(b"text".to_vec()));
        assert_eq!(open(&ring, b"", &payload), Err(DecodeError::Decryption));
        for version in [0, 1, 2] {
            payload[0] = version;
            for length in 0..payload.len() {
                let opened = open(&ring, b"aad", &payload[..length]);
                assert_eq!(opened, Err(DecodeError::Decryption));
            }
        }
    }
}
