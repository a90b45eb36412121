//! Orphans: processes whose parents have ended and which the kernel hands to process 1, or to the nearest
//! subreaper. In a container without an init that is the agent, and somebody has to reap them: a zombie
//! keeps its place in the process table.

use crate::os::own_child::is_own;
use crate::os::sys;

/// Orphans reaped in one turn of the loop; more wait for the next one.
const REAPED_PER_TURN: usize = 256;

/// Reaps orphans, if this process is the one that gets them.
#[derive(Debug)]
pub struct Orphans {
    adopts: bool,
    /// There may be ended orphans behind a child of our own that nobody has reaped yet.
    pending: bool,
}

impl Orphans {
    /// Finds out whether orphans come to this process: it is process 1 of its namespace, or a subreaper.
    pub fn new() -> Self {
        Orphans {
            adopts: sys::adopts_orphans(),
            pending: false,
        }
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self) {
        self.pending = self.adopts;
    }

    /// Reaps what has ended and is not our own. To be called once a turn, after all our own children were
    /// asked for. Returns whether there is more to do at once.
    ///
    /// The kernel shows one ended child at a time, and shows it again until it is reaped. If it is our own,
    /// its owner reaps it, and the next turn looks behind it.
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
