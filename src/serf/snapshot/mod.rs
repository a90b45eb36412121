//! The snapshot (gossip spec 5.17, agent spec 4.10): its lines, what goes into them, and the way back
//! into the cluster with them. The file is the shell's.

mod lines;
pub(super) mod lost;
pub(super) mod recorder;
pub(super) mod rejoin;

pub use lines::{Remark, Snapshot, SnapshotLine};
