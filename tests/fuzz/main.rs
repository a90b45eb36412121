//! Decoders against hostile input: they never panic, never allocate past their limits, and give back
//! what was encoded. `COTTAR_FUZZ_ITERATIONS` makes it longer, `COTTAR_FUZZ_SEED` different.
//!
//! `checks` holds a check for each decoder, which takes any bytes. The tests here feed it from seeded
//! generators; `make fuzz` runs the same checks under libFuzzer, from the package in `targets`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod corpus;
mod decoding;
mod round_trips;
mod supply;
