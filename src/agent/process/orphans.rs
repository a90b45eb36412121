//! Reaps orphans: processes whose parents have ended. The kernel reparents them to process 1 or the nearest
//! subreaper. In a container without an init, that is the agent; unreaped zombies would fill the process
//! table.

use crate::os::own_child::is_own;
use crate::os::sys;

/// Limit for the orphans reaped in one turn of the loop.
const REAPED_PER_TURN: usize = 256;

/// Reaps orphans, if this process adopts them.
#[derive(Debug)]
pub struct Orphans {
    adopts: bool,
    /// Whether ended orphans may exist; an unreaped child of our own can hide them.
    pending: bool,
}

impl Orphans {
    /// Checks whether this process adopts orphans: as process 1 of its namespace, or as a subreaper.
    pub fn new() -> Self {
        Orphans {
            adopts: sys::adopts_orphans(),
            pending: false,
        }
    }

    /// Handles SIGCHLD.
    pub fn handle_sigchld(&mut self) {
        self.pending = self.adopts;
    }

    /// Reaps ended processes that are not our own children. Must be called once per turn, after our own
    /// children were checked. Returns whether there is more to do at once.
    ///
    /// The kernel reports one ended child at a time, and the same one until it is reaped. If it is our own,
    /// its owner reaps it, and the next turn continues behind it.
    pub fn reap(&mut self) -> bool {
        if !self.pending {
            return false;
        }
        for _ in 0..REAPED_PER_TURN {
            match sys::any_ended_child() {
                Some(pid) if is_own(pid) => return false,
                Some(pid) => {
                    sys::reap(pid);
                    log::debug!(target: "agent", "Reaped orphan process {pid}");
                }
                None => {
                    self.pending = false;
                    return false;
                }
            }
        }
        true
    }
}

impl Default for Orphans {
    fn default() -> Self {
        Orphans::new()
    }
}
