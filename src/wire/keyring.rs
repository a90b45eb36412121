//! Keys of gossip encryption (gossip spec 2.7) and the source of nonces.

/// An AES key of 16, 24 or 32 bytes. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Text of the error for a key of another length.
pub const KEY_SIZE_ERROR: &str = "key size must be 16, 24 or 32 bytes";

impl Key {
    /// Checks a key's length.
    ///
    /// # Errors
    /// [`KEY_SIZE_ERROR`].
    pub fn new(bytes: &[u8]) -> Result<Self, &'static str> {
        todo!()
    }
    /// The raw key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// An ordered list of keys, never empty: the first encrypts, all decrypt.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring with its primary key.
    pub fn new(primary: Key) -> Self {
        Keyring {
            keys: vec![primary],
        }
    }
    /// The keys, primary first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
    /// Adds a key at the end; a present one is left where it is.
    pub fn install(&mut self, key: Key) {
        todo!()
    }
    /// Moves a key to the front.
    ///
    /// # Errors
    /// `Requested key is not in the keyring`.
    pub fn use_key(&mut self, key: &Key) -> Result<(), &'static str> {
        todo!()
    }
    /// Removes a key; an absent one is no error.
    ///
    /// # Errors
    /// `Removing the primary key is not allowed`.
    pub fn remove(&mut self, key: &Key) -> Result<(), &'static str> {
        todo!()
    }
}

/// Unpredictable nonces from 32 bytes of the operating system's entropy.
///
/// AES-256 in counter mode over that seed: as strong as the cipher that uses the nonces, and a pure
/// function of the seed, so that simulated runs repeat.
#[derive(Clone)]
pub struct NonceSource {
    _private: (),
}

impl NonceSource {
    /// A source; the shell seeds it from the operating system, a simulator as it likes.
    pub fn new(seed: [u8; 32]) -> Self {
        todo!()
    }
    /// The next nonce.
    pub fn next_nonce(&mut self) -> [u8; 12] {
        todo!()
    }
}
