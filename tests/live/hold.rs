//! Handlers that take as long as the test wants.

use tempfile::TempDir;

/// Holds scripts until it is released; the end of the test releases them, too, however it ends, so that no
/// handler is left behind.
pub struct Hold(TempDir);

impl Hold {
    /// Nobody is released yet.
    pub fn new() -> Hold {
        Hold(tempfile::tempdir().expect("a folder"))
    }

    /// The piece of a script that waits.
    pub fn script(&self) -> String {
        let path = self.0.path().display();
        format!("while test -e {path}; do sleep 0.05; done")
    }

    /// Lets everybody go.
    pub fn release(self) {}
}
