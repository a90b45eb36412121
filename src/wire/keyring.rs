//! Gossip encryption keys (gossip spec 2.7) and the nonce generator.

use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockEncrypt, KeyInit};

/// An AES key of 16, 24 or 32 bytes. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Error text for a key of any other length.
pub const KEY_SIZE_ERROR: &str = "key size must be 16, 24 or 32 bytes";

impl Key {
    /// Makes a key after checking its length.
    ///
    /// # Errors
    /// Returns [`KEY_SIZE_ERROR`] unless `bytes` has 16, 24 or 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, &'static str> {
        match bytes.len() {
            16 | 24 | 32 => Ok(Key(bytes.to_vec())),
            _ => Err(KEY_SIZE_ERROR),
        }
    }
    /// Returns the raw key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// An ordered list of keys, never empty: the first key encrypts, all keys decrypt.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// Creates a ring that holds only its primary key.
    pub fn new(primary: Key) -> Self {
        Keyring {
            keys: vec![primary],
        }
    }
    /// Returns the keys, primary first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
    /// Returns the key that encrypts.
    pub fn primary(&self) -> &Key {
        &self.keys[0]
    }
    /// Appends a key; does nothing if it is already present.
    pub fn install(&mut self, key: Key) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }
    /// Moves a key to the front.
    ///
    /// # Errors
    /// Returns `Requested key is not in the keyring` if the key is absent.
    pub fn use_key(&mut self, key: &Key) -> Result<(), &'static str> {
        let position = self.keys.iter().position(|present| present == key);
        let position = position.ok_or("Requested key is not in the keyring")?;
        let key = self.keys.remove(position);
        self.keys.insert(0, key);
        Ok(())
    }
    /// Removes a key; does nothing if it is absent.
    ///
    /// # Errors
    /// Returns `Removing the primary key is not allowed` for the primary key.
    pub fn remove(&mut self, key: &Key) -> Result<(), &'static str> {
        if key == self.primary() {
            return Err("Removing the primary key is not allowed");
        }
        self.keys.retain(|present| present != key);
        Ok(())
    }
}

/// Generator of unpredictable nonces, seeded with 32 bytes.
///
/// Runs AES-256 in counter mode keyed with the seed: as strong as the cipher that uses the nonces, and a pure
/// function of the seed, so that simulations are reproducible. Not `Clone`: two generators in the same state
/// would repeat nonces, which breaks AES-GCM.
pub struct NonceSource {
    cipher: Aes256,
    counter: u128,
}

impl NonceSource {
    /// Creates a generator. The shell seeds it with the operating system's entropy, a simulator with any
    /// seed.
    pub fn new(seed: [u8; 32]) -> Self {
        NonceSource {
            cipher: Aes256::new(&seed.into()),
            counter: 0,
        }
    }

    /// Returns the next nonce.
    pub fn next_nonce(&mut self) -> [u8; 12] {
        let mut block = self.counter.to_be_bytes().into();
        self.counter = self.counter.wrapping_add(1);
        self.cipher.encrypt_block(&mut block);
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&block[..12]);
        nonce
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 16]).unwrap()
    }

    #[test]
    fn keys_have_one_of_three_lengths() {
        for length in 0..40 {
            let fits = matches!(length, 16 | 24 | 32);
            assert_eq!(Key::new(&vec![0; length]).is_ok(), fits, "{length}");
        }
        assert_eq!(format!("{:?}", key(7)), "Key(..)");
    }

    #[test]
    fn the_ring_keeps_its_order_and_its_primary() {
        let mut ring = Keyring::new(key(1));
        ring.install(key(2));
        ring.install(key(1));
        assert_eq!(ring.keys(), [key(1), key(2)]);
        assert!(ring.use_key(&key(3)).is_err());
        assert!(ring.remove(&key(1)).is_err());
        ring.use_key(&key(2)).unwrap();
        assert_eq!(ring.keys(), [key(2), key(1)]);
        ring.remove(&key(3)).unwrap();
        ring.remove(&key(1)).unwrap();
        assert_eq!(ring.keys(), [key(2)]);
    }

    #[test]
    fn nonces_follow_from_the_seed_and_do_not_repeat() {
        let draw = |seed| {
            let mut source = NonceSource::new([seed; 32]);
            (0..1_000)
                .map(|_| source.next_nonce())
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(draw(1).len(), 1_000);
        assert_eq!(draw(1), draw(1));
        assert!(draw(1).is_disjoint(&draw(2)));
    }
}
