//! Decoders against hostile input: they never panic, never allocate past their limits, and give back
//! what was encoded. `COTTAR_FUZZ_ITERATIONS` makes it longer, `COTTAR_FUZZ_SEED` different.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod decoding;
mod round_trips;
mod supply;
