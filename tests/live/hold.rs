//! Handlers that run until the test releases them.

use tempfile::TempDir;

/// Blocks scripts until it is released or dropped, so that no handler remains after a failed test.
pub struct Hold(TempDir);

impl Hold {
    /// A hold that is not released.
    pub fn new() -> Hold {
        Hold(tempfile::tempdir().expect("a folder"))
    }

    /// Shell text that waits for the release.
    pub fn script(&self) -> String {
        let path = self.0.path().display();
        format!("while test -e {path}; do sleep 0.05; done")
    }

    /// Releases all scripts that wait.
    pub fn release(self) {}
}
