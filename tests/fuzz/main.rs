//! Decoders on hostile input: they never panic, never allocate beyond their limits, and decode what was
//! encoded. `COTTAR_FUZZ_ITERATIONS` sets the number of iterations, `COTTAR_FUZZ_SEED` the seed.
//!
//! `checks` has a check for each decoder, which accepts any bytes. The tests here run them on input from
//! seeded generators; `make fuzz` runs the same checks under libFuzzer, from the package in `targets`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod corpus;
mod decoding;
mod round_trips;
mod supply;
