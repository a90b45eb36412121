//! What the operating system does for the agent and the command line: system calls that no library
//! wraps, errors in the reference's words, the clocks, signals, and children of our own.

pub mod accounts;
pub mod clock;
pub mod error;
pub mod own_child;
pub mod signals;
pub mod sys;
