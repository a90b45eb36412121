//! The life of an agent's process: starts that fail, signals in every phase, leaves, lost names, lacking
//! descriptors, clocks that jump, long sleeps, and a quiet minute; beside the reference where that says something.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, unused_imports)]
#[path = "../interop/harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../interop/noise.rs"]
mod noise;

mod addresses;
mod asleep;
mod calm;
mod clock;
mod descriptors;
mod ends;
mod lookups;
mod names;
mod own_network;
mod starts;
