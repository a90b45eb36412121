//! The snapshot (gossip spec 5.17, agent spec 4.10): its lines, their recording, and the rejoin from it. The
//! shell reads and writes the file.

mod lines;
pub(super) mod lost;
pub(super) mod recorder;
pub(super) mod rejoin;

pub use lines::{Remark, Snapshot, SnapshotLine};
