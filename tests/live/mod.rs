//! Real agents for suites and benches: processes that never outlive the test, waiting for conditions
//! with a deadline, and the output of all agents when a test fails. Nothing sleeps for luck.
#![allow(dead_code, unused_imports, reason = "each suite uses a part")]

pub mod agent;
pub mod lab;
pub mod members;
pub mod node;
pub mod ports;
pub mod process;
pub mod program;
pub mod recorder;
pub mod running;
mod seen;
pub mod wait;

pub use agent::{Agent, PATIENCE, SERF, arg, content, has_reference, refused, wait_on, wait_until};
pub use lab::{Lab, free_addresses, scenario};
pub use members::{Member, await_members, await_status};
pub use node::{Node, Spec};
pub use ports::free;
pub use process::{Finished, Process, run};
pub use program::{COTTAR, Kind, reference};
pub use recorder::{Record, Recorder};
pub use wait::{eventually, patience, until};
