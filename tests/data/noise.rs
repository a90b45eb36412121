//! Bad input: random bytes after every type byte, and damaged copies of captured messages.

#[path = "hex.rs"]
mod hex;

use std::path::Path;

use hex::unhex;

/// A small generator with a seed, so that runs can be repeated.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator for one thread.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number (xorshift64*).
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Messages that are damaged.
#[derive(Debug)]
pub struct Noise {
    datagrams: Vec<Sample>,
    streams: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    bytes: Vec<u8>,
    /// Whether messages may be damaged in any way. If not, a damaged copy might be a valid announcement of a
    /// member, which an agent would rightly accept; such messages are only truncated.
    any_damage: bool,
}

impl Noise {
    /// For a cluster without a key: never a valid announcement.
    pub fn for_plaintext() -> Noise {
        Noise::load(false)
    }

    /// For a cluster with a key that differs from the samples' keys: all messages, damaged or not.
    pub fn for_encrypted() -> Noise {
        Noise::load(true)
    }

    fn load(everything: bool) -> Noise {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gossip-vectors.json");
        let text = std::fs::read_to_string(path).expect("the vectors");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut noise = Noise {
            datagrams: Vec::new(),
            streams: Vec::new(),
        };
        for vector in json["vectors"].as_array().expect("a list") {
            let bytes = unhex(vector["hex"].as_str().expect("hex"));
            let decoded = vector["decoded"].to_string();
            let announces = ["alive", "pushPull"]
                .iter()
                .any(|kind| decoded.contains(&format!("\"typeName\":\"{kind}\"")));
            // Truncation leaves the first parts of a compound intact.
            if announces && !everything && bytes.first() == Some(&7) {
                continue;
            }
            let sample = Sample {
                bytes,
                any_damage: everything || !announces,
            };
            if vector["transport"] == "udp" {
                noise.datagrams.push(sample);
            } else {
                noise.streams.push(sample);
            }
        }
        assert!(
            noise.datagrams.len() > 10 && noise.streams.len() > 5,
            "too few samples"
        );
        noise
    }

    /// Returns a bad datagram.
    pub fn datagram(&self, rng: &mut Rng) -> Vec<u8> {
        bad(&self.datagrams, rng)
    }

    /// Returns a bad beginning of a stream.
    pub fn stream(&self, rng: &mut Rng) -> Vec<u8> {
        bad(&self.streams, rng)
    }
}

fn bad(samples: &[Sample], rng: &mut Rng) -> Vec<u8> {
    if rng.below(3) == 0 {
        let length_max = if rng.below(16) == 0 { 1400 } else { 120 };
        let length = 1 + rng.below(length_max);
        let mut bytes = rng.bytes(length);
        // The known types and the label's type, then unknown ones.
        bytes[0] = match rng.below(20) {
            known @ 0..14 => known as u8,
            14 => 244,
            _ => bytes[0],
        };
        return bytes;
    }
    let sample = &samples[rng.below(samples.len())];
    let mut bytes = sample.bytes.clone();
    if !sample.any_damage {
        bytes.truncate(rng.below(bytes.len()));
        return bytes;
    }
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len());
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] = rng.next() as u8,
            2 => bytes[at] ^= 1 << rng.below(8),
            3 => bytes.insert(at, rng.next() as u8),
            _ => bytes[at] = [0x00, 0xc0, 0xdd, 0xdf, 0xc6, 0xff][rng.below(6)],
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}
