//! The life of an agent's process: starts that fail, signals in every phase, leaves, lost names, lacking
//! descriptors, clocks that jump, long sleeps, and a quiet while; beside the reference where that says something.

mod addresses;
mod asleep;
mod calm;
mod clock;
mod descriptors;
mod ends;
mod lookups;
mod names;
mod starts;
