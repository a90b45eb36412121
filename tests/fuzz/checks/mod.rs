//! A check for each decoder. It accepts any bytes, and panics if an invariant is violated. The seeded tests
//! beside it run the checks on damaged recordings; libFuzzer runs them on inputs that reach new code.
//!
//! The first one or two bytes of an input select settings (a key, a label, the reading side), so that a
//! fuzzer varies these as well.

pub mod bodies;
pub mod configuration;
pub mod datagram;
pub mod journal;
pub mod lzw;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod rpc;
pub mod snapshot;
pub mod stream;

use cottar::wire::{Envelope, Key, Keyring, Label, NonceSource};

/// A decoder under test.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics if an invariant is violated.
    pub check: fn(&[u8]),
    /// Seed inputs, made from recordings.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Maximum length of an input, in bytes.
    pub bytes_max: usize,
}

macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident $bytes_max:literal)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$($(#[$attribute])* Target {
            name: stringify!($name),
            check: $name::check,
            corpus: $name::corpus,
            bytes_max: $bytes_max,
        }),*];
    };
}

targets! {
    datagram 1500
    stream 1500
    bodies 800
    lzw 1000
    rpc 800
    snapshot 800
    journal 1500
    #[cfg(feature = "mdns")]
    mdns 800
    configuration 1000
}

/// Working memory of `expand` beyond its result: the code table, and the growth of the output.
pub const DECODER_BYTES: usize = 32 << 10;
/// The largest value that a short input can produce: a refused part of a compound.
pub const PART_BYTES: usize = 400;
/// Memory that a decoder may hold for any input.
pub const FIXED_BYTES: usize = 4096;

/// Returns whether decompression may happen: the first byte is that of a compress message, or a wrapper may
/// contain one.
pub fn may_expand(envelope: &Envelope, bytes: &[u8]) -> bool {
    match bytes.first() {
        _ if envelope.keyring.is_some() => true,
        Some(9) => true,
        // Inside a compound, after a checksum or after a label.
        Some(7 | 12 | 244) => bytes.contains(&9),
        _ => false,
    }
}

/// Bits of an input's first byte that select the envelope's settings.
pub mod choice {
    pub const KEY: u8 = 1;
    pub const LABEL: u8 = 2;
    pub const PLAINTEXT_TOO: u8 = 4;
    /// The bytes are sealed before they are opened, since a fuzzer cannot guess a valid ciphertext.
    pub const SEALED: u8 = 8;
    pub const CHECKSUM: u8 = 16;
    pub const INITIATOR: u8 = 32;
    pub const COMPRESSED: u8 = 64;
}

/// Returns the envelope that an input selects.
pub fn envelope(choices: u8) -> Envelope {
    let mut envelope = Envelope::plain(NonceSource::new([0; 32]));
    envelope.verify_incoming = choices & choice::PLAINTEXT_TOO == 0;
    envelope.compression = choices & choice::COMPRESSED != 0;
    if choices & choice::KEY != 0 {
        envelope.keyring = Some(Keyring::new(Key::new(&[7; 16]).unwrap()));
    }
    if choices & choice::LABEL != 0 {
        envelope.label = Label::new(b"lab").unwrap();
    }
    envelope
}

/// Returns an input with this first byte.
pub fn input(choices: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choices], bytes].concat()
}
