//! Child processes that this process has started itself and that only it waits for.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::process::{Child, Command, ExitStatus};

thread_local! {
    /// Process ids of children that were started and not reaped yet: a handful at most. Thread-local for the
    /// tests, which have several threads with children of their own; the agent has one thread.
    static OWN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A child that this process started. Until it is reaped or this value is dropped, the reaper of orphans
/// leaves it alone.
///
/// Dropping it neither terminates nor reaps the process: it is then treated as an orphan.
#[derive(Debug)]
pub struct OwnChild {
    child: Child,
}

impl OwnChild {
    /// Starts a process.
    ///
    /// # Errors
    /// If [`Command::spawn`] fails.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        OWN.with_borrow_mut(|own| own.push(child.id()));
        Ok(OwnChild { child })
    }

    /// Returns the process id. Once the process is reaped, the id may belong to another process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reaps the process if it has ended and returns its status; later calls return the same status.
    ///
    /// # Errors
    /// If waitpid(2) fails.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait();
        if !matches!(status, Ok(None)) {
            self.forget();
        }
        status
    }

    /// Sends SIGKILL to the process, unless it was reaped.
    ///
    /// # Errors
    /// If kill(2) fails.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    fn forget(&self) {
        let id = self.child.id();
        // At the end of a thread, its storage may already be gone.
        let _ = OWN.try_with(|own| own.borrow_mut().retain(|&pid| pid != id));
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Returns whether a process id belongs to an unreaped [`OwnChild`].
pub(crate) fn is_own(pid: u32) -> bool {
    OWN.with_borrow(|own| own.contains(&pid))
}
