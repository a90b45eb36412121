//! Runs real agents for tests and benches: processes that never outlive the test, waits for conditions with a
//! deadline, and the output of all agents when a test fails. No test sleeps for a fixed time and hopes.
//!
//! ```text
//! let agent = Agent::start(&["-node=a"]);                  // ours, with these flags, once it serves
//! let agent = Spec::new(Kind::Serf, "a").join(&b).start();  // either, with more than flags
//! scenario("join", &["CS", "SC"], |lab| { … });             // the same scenario with several casts
//! if lacks_program("a scenario", "jq") { return }              // left out, counted
//! ```
#![allow(dead_code, unused_imports, reason = "each suite uses a part")]

pub mod agent;
mod hold;
pub mod lab;
pub mod members;
pub mod namespace;
pub mod output;
pub mod ports;
pub mod process;
pub mod program;
pub mod recorder;
pub mod skip;
pub mod spec;
pub mod wait;

pub use agent::{Agent, refused};
pub use hold::Hold;
pub use lab::{Lab, scenario};
pub use members::{Member, await_each_other, await_members, await_status};
pub use output::Output;
pub use ports::{free, free_at};
pub use process::{Finished, Process, run};
pub use program::{COTTAR, Kind, on_path, reference};
pub use recorder::{Record, Recorder};
pub use skip::{lacks, lacks_namespaces, lacks_program, lacks_reference};
pub use spec::Spec;
pub use wait::{PATIENCE, Wait, eventually, patience, until, wait_until};

use std::path::Path;

/// The content of a file; empty if the file does not exist.
pub fn content(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
