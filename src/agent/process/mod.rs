//! Child processes: which are our own, which were left behind by others, and what reads the output of
//! handlers when the agent is gone.

pub mod drain;
pub mod earlier;
pub mod orphans;
