//! Child processes: handlers and their leftover output, name lookups, adopted orphans, and drains that
//! outlive the agent.

mod child;
pub mod drain;
pub mod earlier;
pub mod orphans;
mod output_tail;
pub mod program;
pub mod resolver;
pub mod run_as;
mod runner;
mod standalone;

pub use child::{KILL_AFTER, Leftover, Limits, Process, Tokens};
pub use runner::{GRACE, LEFTOVERS_MAX, Runner};
pub use standalone::Alone;
