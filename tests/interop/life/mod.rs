//! The life of an agent's process: failing starts, signals in every phase, leaves, failing name resolution,
//! descriptor exhaustion, clock jumps, long stops, and idle time; compared with the reference where useful.

mod addresses;
mod clock;
mod descriptors;
mod idle_cluster;
mod name_servers;
mod names;
mod shutdown;
mod starts;
mod stopped_process;
