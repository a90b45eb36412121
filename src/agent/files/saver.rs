//! Replaces a small file without blocking the loop.

use std::path::{Path, PathBuf};

use super::atomic::Replacement;
use super::sync;
use crate::os::error::{os_error, shown};
use crate::os::own_child::OwnChild;

/// A replacement in progress.
#[derive(Debug)]
pub struct Saver {
    path: PathBuf,
    replacement: Replacement,
    /// Child that waits for the disk.
    child: Option<OwnChild>,
}

impl Saver {
    /// Writes the content beside the file. Afterwards [`Self::poll`] must be called whenever a child has
    /// ended.
    ///
    /// # Errors
    /// If it cannot be written; the file is unchanged. The text completes `Failed to write ... file: `.
    pub fn begin(path: &Path, content: &[u8]) -> Result<Self, String> {
        let replacement = Replacement::begin(path, content).map_err(|why| failed(path, &why))?;
        Ok(Saver {
            path: path.to_owned(),
            replacement,
            child: None,
        })
    }

    /// Continues as far as possible without blocking. Returns the result at the end: the file has the new
    /// content and is synced, or, on error, it is unchanged.
    pub fn poll(&mut self) -> Option<Result<(), String>> {
        while let Some(file) = self.replacement.unsynced() {
            let synced = match &mut self.child {
                None => match sync::spawn(file) {
                    Ok(child) => {
                        self.child = Some(child);
                        return None;
                    }
                    Err(_) => file.sync_all(),
                },
                Some(child) => match child.try_wait() {
                    Ok(None) => return None,
                    Ok(Some(status)) => sync::outcome(status),
                    Err(why) => Err(why),
                },
            };
            self.child = None;
            if let Err(why) = self.replacement.synced(synced) {
                return Some(Err(failed(&self.path, &why)));
            }
        }
        Some(Ok(()))
    }

    /// Completes the replacement at once, at the end of the process.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn finish(mut self) -> Result<(), String> {
        if let Some(mut child) = self.child.take() {
            // Its work is repeated below, so its result does not matter.
            let _ = child.kill();
        }
        self.replacement
            .finish()
            .map_err(|why| failed(&self.path, &why))
    }
}

fn failed(path: &Path, why: &std::io::Error) -> String {
    format!("open {}: {}", shown(path), os_error(why))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_has_its_content_after_the_sync() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut saver = Saver::begin(&path, b"one").unwrap();
        assert!(!path.exists(), "not before it is on the disk");
        assert_eq!(saver.poll(), Some(Ok(())));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        Saver::begin(&path, b"two").unwrap().finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            Saver::begin(Path::new("/no/such"), b"x").unwrap_err(),
            "open /no/such: no such file or directory"
        );
    }
}
