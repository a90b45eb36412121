//! The life of an agent's process: failing starts, signals in every phase, leaves, failing name resolution,
//! descriptor exhaustion, clock jumps, long stops, and idle time; compared with the reference where useful.

mod addresses;
mod asleep;
mod calm;
mod clock;
mod descriptors;
mod ends;
mod lookups;
mod names;
mod starts;
