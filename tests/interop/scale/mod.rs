//! Versions and sizes: protocol numbers, long names, IPv6, many agents, and every limit exceeded by one byte;
//! in mixed clusters.

mod limits;
mod many;
mod versions;
