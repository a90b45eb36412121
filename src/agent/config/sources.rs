//! Reads settings from all sources: files and directories in the order given, then flags (agent spec 4.1).

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::{Findings, decode};
use crate::agent::files::read_bounded;
use crate::ordered::OrderedSet;
use crate::os::error::{os_error, shown};

/// Size limit of a file; a configuration has a few thousand bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Whether reading a file may wait for the writer of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// At the start: `-config-file <(...)` works.
    Allowed,
    /// In the running agent, which must not block.
    Refused,
}

/// All sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files and directories in the order given.
    pub paths: Vec<PathBuf>,
    /// Settings from flags.
    pub flags: Settings,
}

impl Sources {
    /// Reads the files and merges the flags over them. Warnings go to `notices`.
    ///
    /// # Errors
    /// If a file cannot be read or parsed; returns the text to print for the first one.
    pub fn read(&self, waiting: Waiting, notices: &mut Vec<String>) -> Result<Settings, String> {
        let mut findings = Findings::default();
        let settings = self.read_all(waiting, &mut findings);
        notices.append(&mut findings.notices);
        findings.errors.into_iter().next().map_or(Ok(settings), Err)
    }

    /// Reads like [`Self::read`], but skips files with errors and collects the errors.
    pub fn read_all(&self, waiting: Waiting, findings: &mut Findings) -> Settings {
        let mut settings = Settings::default();
        for path in self.files(findings) {
            let layer = read_layer(&path, waiting, &mut findings.notices);
            if let Some(layer) = findings.keep(layer) {
                settings = settings.merged(layer);
            }
        }
        settings.overruled_by(self.flags.clone())
    }

    /// Returns all files; those of a directory in byte order of their names.
    fn files(&self, findings: &mut Findings) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                let listed = list(path).map_err(|why| {
                    let why = os_error(&why);
                    let path = shown(path);
                    format!("Error reading '{path}': open {path}: {why}")
                });
                files.extend(findings.keep(listed).unwrap_or_default());
            } else {
                files.push(path.clone());
            }
        }
        files
    }
}

/// Reads the settings of one file.
fn read_layer(
    path: &Path,
    waiting: Waiting,
    notices: &mut Vec<String>,
) -> Result<Settings, String> {
    let failed = |why: String| format!("Error reading '{}': {why}", shown(path));
    let text = read_file(path, waiting).map_err(failed)?;
    let (mut layer, followed) =
        decode(&text).map_err(|why| format!("Error decoding '{}': {why}", shown(path)))?;
    if followed {
        notices.push(format!(
            "Warning: '{}' has trailing data after the first JSON value; it is ignored",
            shown(path)
        ));
    }
    for entry in &mut layer.event_handlers {
        entry.place = format!("{}: {}", shown(path), entry.place);
    }
    Ok(layer)
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = OrderedSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_vec();
        if name.ends_with(b".json") && !entry.path().is_dir() {
            names.insert(name);
        }
    }
    let names = names.into_iter().map(OsString::from_vec);
    Ok(names.map(|name| directory.join(name)).collect())
}

fn read_file(path: &Path, waiting: Waiting) -> Result<Vec<u8>, String> {
    let flags = match waiting {
        Waiting::Allowed => 0,
        Waiting::Refused => libc::O_NONBLOCK,
    };
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|why| format!("open {}: {}", shown(path), os_error(&why)))?;
    read_bounded(file, path, FILE_BYTES_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::handlers::Said;
    use super::*;

    fn sources(paths: &[&Path]) -> Sources {
        Sources {
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
            flags: Settings::default(),
        }
    }

    #[test]
    fn directories_are_read_in_byte_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, handler) in [("9.json", "c"), ("10.json", "a"), ("20.json", "b")] {
            fs::write(at(name), format!(r#"{{"event_handlers": ["{handler}"]}}"#)).unwrap();
        }
        fs::write(at("x.JSON"), "nonsense").unwrap();
        fs::write(at("notes.txt"), "nonsense").unwrap();
        fs::create_dir(at("0.json")).unwrap();
        let single = at("last.conf");
        fs::write(&single, r#"{"event_handlers": ["d"]} rest"#).unwrap();
        let mut notices = Vec::new();
        let both = sources(&[&single, dir.path()]);
        let settings = both.read(Waiting::Allowed, &mut notices).unwrap();
        let handlers = settings.event_handlers.iter();
        let said: Vec<_> = handlers.clone().map(|h| h.said.clone()).collect();
        let text = |text: &[u8; 1]| Said::Text(text.to_vec());
        assert_eq!(said, [b"d", b"a", b"b", b"c"].map(text));
        let places: Vec<_> = handlers.map(|h| h.place.clone()).collect();
        let place = |name: &str| format!("{}: event_handlers[0]", at(name).display());
        assert_eq!(
            places,
            ["last.conf", "10.json", "20.json", "9.json"].map(place)
        );
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("last.conf"), "{}", notices[0]);
    }

    #[test]
    fn flags_come_last() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, r#"{"node_name": "file", "profile": "wan"}"#).unwrap();
        let mut sources = sources(&[&file]);
        sources.flags.node_name = "flag".into();
        let settings = sources.read(Waiting::Refused, &mut Vec::new()).unwrap();
        assert_eq!(settings.node_name, b"flag");
        assert_eq!(settings.profile, "wan");
    }

    #[test]
    fn the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let read = |path: &Path| sources(&[path]).read(Waiting::Allowed, &mut Vec::new());
        let shown = shown(&missing);
        assert_eq!(
            read(&missing),
            Err(format!(
                "Error reading '{shown}': open {shown}: no such file or directory"
            ))
        );
        fs::write(&missing, "").unwrap();
        assert_eq!(
            read(&missing),
            Err(format!("Error decoding '{shown}': EOF"))
        );
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.contains("is larger than"), "{error}");
    }
}
