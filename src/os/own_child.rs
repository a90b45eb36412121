//! Children that this process has started itself, and is the only one to wait for.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::process::{Child, Command, ExitStatus};

thread_local! {
    /// Process ids of children that were started and not reaped yet: a handful at most. The agent has
    /// one thread; tests have several, with children of their own.
    static OWN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A child of our own. While it exists and is not reaped, the reaper of orphans leaves it alone.
///
/// Dropping it neither ends nor reaps the process: it becomes an orphan like any other.
#[derive(Debug)]
pub struct OwnChild {
    child: Child,
}

impl OwnChild {
    /// Starts a process.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        OWN.with_borrow_mut(|own| own.push(child.id()));
        Ok(OwnChild { child })
    }

    /// The process id. After the process was reaped it may belong to another process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reaps the process if it has ended. Afterwards returns the same status again.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait();
        if !matches!(status, Ok(None)) {
            self.forget();
        }
        status
    }

    /// Sends KILL to the process, unless it was reaped.
    ///
    /// # Errors
    /// Those of kill(2).
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    fn forget(&self) {
        let id = self.child.id();
        // The storage may be gone when a thread ends.
        let _ = OWN.try_with(|own| own.borrow_mut().retain(|&pid| pid != id));
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Whether a process id is that of a child of our own.
pub(crate) fn is_own(pid: u32) -> bool {
    OWN.with_borrow(|own| own.contains(&pid))
}
