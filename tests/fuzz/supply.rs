//! Generators of test input, and an allocator that measures memory.

#[path = "../data/rpc_vectors.rs"]
pub mod rpc_vectors;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cottar::rng::Rng;
use cottar::wire::*;
use rpc_vectors::hex::unhex;

/// Tracks the memory that this thread holds, and its peak.
pub struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

pub fn count(change: isize) {
    let held = HELD.with(|held| {
        held.set(held.get() + change);
        held.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(held)));
}

// SAFETY: forwards everything to the system's allocator; the counters are plain thread-local cells without
// destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the peak of memory held during `work`, beyond what was held before.
pub fn peak_bytes<R>(work: impl FnOnce() -> R) -> (usize, R) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    ((PEAK.get() - before) as usize, result)
}

/// Runs `case` with a separate generator for each iteration; a failure prints the seed that repeats it.
pub fn fuzz(default_iterations: u64, mut case: impl FnMut(&mut Rng)) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let scale = number("COTTAR_FUZZ_ITERATIONS");
    let first = number("COTTAR_FUZZ_SEED").unwrap_or(1);
    for seed in first..first + scale.unwrap_or(default_iterations) {
        let named = Named(seed);
        case(&mut Rng::new(seed));
        std::mem::forget(named);
    }
}

pub struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        eprintln!(
            "failed with COTTAR_FUZZ_SEED={} COTTAR_FUZZ_ITERATIONS=1",
            self.0
        );
    }
}

pub struct Seed {
    pub bytes: Vec<u8>,
    pub key: Option<Vec<u8>>,
    pub label: Vec<u8>,
}

impl Seed {
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::plain(NonceSource::new([0; 32]));
        envelope.label = Label::new(&self.label).unwrap();
        envelope.keyring = self
            .key
            .as_ref()
            .map(|key| Keyring::new(Key::new(key).unwrap()));
        envelope
    }
}

pub fn seeds(transport: &str) -> Vec<Seed> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../data/gossip-vectors.json")).unwrap();
    file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| vector["transport"] == transport)
        .map(|vector| Seed {
            bytes: unhex(vector["hex"].as_str().unwrap()),
            key: vector["key"].as_str().map(unhex),
            label: vector["label"].as_str().unwrap_or_default().into(),
        })
        .collect()
}

pub fn random_bytes(rng: &mut Rng, length_max: usize) -> Vec<u8> {
    let length = rng.below(length_max + 1);
    (0..length).map(|_| rng.next_u32() as u8).collect()
}

/// Bytes with a meaning for decoders: markers with large lengths, type bytes, boundary values.
pub const SPICE: &[u8] = &[
    0, 1, 2, 4, 6, 7, 8, 9, 10, 12, 13, 0x7f, 0x80, 0x90, 0xa0, 0xc0, 0xc1, 0xc4, 0xc6, 0xc9, 0xcb,
    0xcf, 0xd3, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xf4, 0xff,
];

pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 if at < bytes.len() => bytes[at] = SPICE[rng.below(SPICE.len())],
            3 => bytes.insert(at.min(bytes.len()), SPICE[rng.below(SPICE.len())]),
            4 if at < bytes.len() => {
                bytes.remove(at);
            }
            5 => {
                let end = (at + rng.below(40)).min(bytes.len());
                let copy = bytes[at.min(end)..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => bytes.extend(random_bytes(rng, 8)),
        }
    }
}

pub fn wrapped(rng: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    match rng.below(4) {
        0 => {
            // Valid compression of arbitrary bytes.
            let compressed = lzw::compress(&bytes);
            let mut writer = msgpack::Writer::appending(msgpack::Dialect::Gossip, vec![9]);
            writer
                .map(2)
                .key("Algo")
                .uint(0)
                .key("Buf")
                .bytes(&compressed);
            writer.into_bytes()
        }
        1 if bytes.len() < 60_000 => {
            let mut compound = vec![7, 2];
            compound.extend((bytes.len() as u16).to_be_bytes());
            compound.extend((bytes.len() as u16).to_be_bytes());
            compound.extend(&bytes);
            compound.extend(&bytes);
            compound
        }
        _ => bytes,
    }
}
