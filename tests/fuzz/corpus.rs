//! Runs the checks of libFuzzer's targets for a moment on damaged inputs of their corpora, and writes the
//! corpora to files.

use std::path::Path;

use crate::checks::TARGETS;
use crate::supply::{fuzz, mutate};

/// Iterations of each target in the default run.
const ITERATIONS: u64 = 2_000;

fn damaged_inputs(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = (target.corpus)();
    inputs.iter().for_each(|input| (target.check)(input));
    fuzz(ITERATIONS, |rng| {
        let mut input = inputs[rng.below(inputs.len())].clone();
        mutate(rng, &mut input);
        input.truncate(target.bytes_max);
        (target.check)(&input);
    });
}

macro_rules! damaged_inputs {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            damaged_inputs(stringify!($name));
        }
    )*};
}

damaged_inputs!(rpc snapshot journal configuration datagram stream bodies lzw);
#[cfg(feature = "mdns")]
damaged_inputs!(mdns);

/// Writes the corpora for `make fuzz`: a folder for each target below `COTTAR_FUZZ_CORPUS`.
#[test]
#[ignore = "writes files, for `make fuzz`"]
fn write() {
    let folder = std::env::var_os("COTTAR_FUZZ_CORPUS").expect("COTTAR_FUZZ_CORPUS names a folder");
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, input) in (target.corpus)().iter().enumerate() {
            std::fs::write(folder.join(format!("recorded-{number:03}")), input).unwrap();
        }
    }
}
