//! What every scenario needs: agents as children that never outlive the test, waiting for conditions
//! with a deadline, and the logs of all nodes when something fails.

pub mod lab;
pub mod members;
pub mod node;
pub mod process;
pub mod recorder;
pub mod wait;

pub use lab::{Lab, scenario};
pub use members::{Member, await_members, await_status};
pub use node::Node;
pub use process::{Process, run};
pub use recorder::Recorder;
#[allow(unused_imports, reason = "used by the bench")]
pub use wait::until;
pub use wait::{eventually, patience};

use std::path::PathBuf;

/// Which program plays a node, or answers a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The reference.
    Serf,
    /// Ours.
    Cottar,
}

impl Kind {
    /// The program's file.
    pub fn program(self) -> PathBuf {
        match self {
            Kind::Serf => reference().expect("only called when the reference is there"),
            Kind::Cottar => std::env::var_os("COTTAR_BIN")
                .map_or_else(|| env!("CARGO_BIN_EXE_cottar").into(), PathBuf::from),
        }
    }
}

/// The reference's binary: `COTTAR_SERF`, or `serf` on the path.
pub fn reference() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("COTTAR_SERF") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("serf"))
        .find(|file| file.is_file())
}
