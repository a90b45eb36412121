//! The life of an agent's process: starts that fail, signals in every phase, leaves, lost names, lacking
//! descriptors, clocks that jump, and long sleeps; beside the reference where that says something.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, unused_imports)]
#[path = "../interop/harness/mod.rs"]
mod harness;

mod clock;
mod descriptors;
mod ends;
mod names;
mod sleep;
mod starts;
