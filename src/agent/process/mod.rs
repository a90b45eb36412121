//! Child processes: handlers and what they leave behind, look-ups, what was left behind by others, and
//! what reads the output of handlers when the agent is gone.

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
