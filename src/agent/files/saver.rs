//! A small file that is replaced while the loop goes on.

use std::path::{Path, PathBuf};

use super::atomic::Replacement;
use super::sync;
use crate::os::error::{os_error, shown};
use crate::os::own_child::OwnChild;

/// New content on its way to the disk.
#[derive(Debug)]
pub struct Saver {
    path: PathBuf,
    replacement: Replacement,
    /// Waits for the disk.
    child: Option<OwnChild>,
}

impl Saver {
    /// Writes the content beside the file. From now on, [`Self::poll`] it whenever a child has ended.
    ///
    /// # Errors
    /// Completes `Failed to write ... file: `; the file is as it was.
    pub fn begin(path: &Path, content: &[u8]) -> Result<Self, String> {
        let replacement = Replacement::begin(path, content).map_err(|why| failed(path, &why))?;
        Ok(Saver {
            path: path.to_owned(),
            replacement,
            child: None,
        })
    }

    /// Goes on as far as that takes no waiting. Tells the end: the content is in the file, and both are
    /// on the disk; or the file is as it was.
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

    /// The end of the process: does the rest at once.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn finish(mut self) -> Result<(), String> {
        if let Some(mut child) = self.child.take() {
            // Whether it has done its work is not asked: it is done again.
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
    fn content_gets_into_its_file() {
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
