//! Versions and sizes: protocol numbers, long names, IPv6, many agents, and every limit with one byte
//! more; mixed with the reference.

mod limits;
mod many;
mod versions;
