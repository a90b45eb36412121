//! Operating system interface of the agent and the command line: system calls that no library wraps, error
//! texts, clocks, signals, and child processes.

pub mod accounts;
pub mod clock;
pub mod error;
pub mod own_child;
pub mod signals;
pub mod sys;
