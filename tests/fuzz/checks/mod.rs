//! A check for each decoder: it takes any bytes, and panics if a promise is broken. The seeded tests beside
//! it feed the checks with damaged recordings; libFuzzer, with what reaches new code.
//!
//! The first byte or two of an input choose settings (a key, a label, who reads), so that whoever searches
//! finds these, too.

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
    /// What asks for it on the command line.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub check: fn(&[u8]),
    /// Inputs to begin with, made from recordings.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Bytes of an input, at most.
    pub bytes_max: usize,
}

macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident $bytes_max:literal)*) => {
        /// All of them.
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

/// What an `expand` needs at once beyond its result: the places of codes and growth.
pub const DECODER_BYTES: usize = 32 << 10;
/// The largest thing that a short input can make: a refused part of a compound.
pub const PART_BYTES: usize = 400;
/// What the decoders hold whatever comes.
pub const FIXED_BYTES: usize = 4096;

/// Whether something may be expanded: a compress message in front, or anything that looks like one inside.
pub fn may_expand(envelope: &Envelope, bytes: &[u8]) -> bool {
    match bytes.first() {
        _ if envelope.keyring.is_some() => true,
        Some(9) => true,
        // Inside of a compound, behind a checksum or a label.
        Some(7 | 12 | 244) => bytes.contains(&9),
        _ => false,
    }
}

/// What the bits of an input's first byte choose for the envelope.
pub mod choice {
    pub const KEY: u8 = 1;
    pub const LABEL: u8 = 2;
    pub const PLAINTEXT_TOO: u8 = 4;
    /// The bytes are sealed before they are opened: no search finds what decrypts.
    pub const SEALED: u8 = 8;
    pub const CHECKSUM: u8 = 16;
    pub const INITIATOR: u8 = 32;
    pub const COMPRESSED: u8 = 64;
}

/// The envelope that an input asks for.
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

/// An input with this first byte.
pub fn input(choices: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choices], bytes].concat()
}
