//! Directories of handlers: each executable file in them is a handler, with its settings in header lines. The
//! agent checks them for changes when events arrive.
//!
//! A check costs a stat of each directory, of its parent directories, and of each file. Directories are
//! listed and files are read only after a change.

mod file;

pub use file::Verdict;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use file::{Signature, examine, has_header};

use crate::agent::files::trust::trusted_path;
use crate::handler::{HandlerSettings, Moment};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::os::error::{os_error, shown};
use crate::os::sys;
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;

/// Minimum interval between checks. A file that has not changed for this long counts as completely written.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Limit for the files of one directory.
pub const FILES_MAX: usize = 1024;
/// A listing made within this time after a change may miss another change with the same timestamp; some file
/// systems have a resolution of two seconds.
const TICK_MICROS: u64 = 3_000_000;

/// Handler directories, with their contents and the handlers in effect.
#[derive(Debug, Default)]
pub struct HandlerDirs {
    directories: Vec<Directory>,
    /// Files by name; a later directory overrides files with the same name.
    files: OrderedMap<Vec<u8>, Watched>,
    /// Overridden files, and the files that override them.
    overridden: Vec<(PathBuf, PathBuf)>,
    looked_at: Option<Instant>,
    user: u32,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    listed: Option<Signature>,
    /// Whether the listing may have missed a change.
    is_fresh: bool,
    names: Vec<Vec<u8>>,
    fault: Option<String>,
}

/// A file in a handler directory.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// State of the file from which the verdict in effect was read.
    signature: Option<Signature>,
    verdict: Verdict,
    is_link: bool,
    /// A newer state, and when it was first seen.
    newer: Option<(Signature, Instant)>,
}

/// Result of examining a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path of the file or directory.
    pub path: PathBuf,
    /// The result.
    pub verdict: Verdict,
}

impl HandlerDirs {
    /// Creates the state for directories that were not checked yet; relative paths refer to the current
    /// directory.
    pub fn new(paths: &[Vec<u8>]) -> Self {
        // As everywhere, an empty text means "not set".
        let paths = paths.iter().filter(|path| !path.is_empty());
        let directory = |path: &Vec<u8>| {
            let path = Path::new(OsStr::from_bytes(path));
            Directory {
                path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
                listed: None,
                is_fresh: true,
                names: Vec::new(),
                fault: None,
            }
        };
        HandlerDirs {
            directories: paths.map(directory).collect(),
            user: sys::effective_user(),
            ..HandlerDirs::default()
        }
    }

    /// Returns the configured handlers, followed by those of the directories in byte order of their names.
    /// Handlers whose configured name is already in use are left out and logged.
    pub fn behind(&self, configured: &[HandlerSettings]) -> Vec<HandlerSettings> {
        let mut all = configured.to_vec();
        for Finding { path, verdict } in self.findings(configured) {
            match verdict {
                Verdict::Handler(settings) => all.push(*settings),
                Verdict::Refused(why) if self.is_counted(&path) => {
                    log::error!(target: "agent", "Handler {} refused: {why}", shown(&path));
                }
                _ => {}
            }
        }
        all
    }

    fn is_counted(&self, path: &Path) -> bool {
        let mut files = self.files.values();
        files.any(|file| file.path == path && file.is_handler())
    }

    /// Returns the results for all directories, then for their files in the order in which they run.
    /// `configured` are the handlers of flags and configuration files.
    pub fn findings(&self, configured: &[HandlerSettings]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for directory in &self.directories {
            if let Some(fault) = directory.fault.clone() {
                findings.push(Finding {
                    path: directory.path.clone(),
                    verdict: Verdict::Refused(fault),
                });
            }
        }
        let given = configured
            .iter()
            .filter_map(|settings| settings.name.clone());
        let mut names: OrderedMap<String, String> = given
            .map(|name| (name, "a handler of the configuration".to_owned()))
            .collect();
        for file in self.files.values() {
            findings.push(Finding {
                path: file.path.clone(),
                verdict: file.judged(&mut names),
            });
        }
        for (path, later) in &self.overridden {
            findings.push(Finding {
                path: path.clone(),
                verdict: Verdict::Skipped(format!("replaced by {}", shown(later))),
            });
        }
        findings
    }

    /// Puts the current contents into effect without waiting for files to settle.
    pub fn look_at_once(&mut self, at: Moment) {
        self.look_again(at, true);
    }

    /// Checks for changes, at most once per [`LOOK_INTERVAL`]. Returns whether the handlers in effect have
    /// changed.
    pub fn look(&mut self, at: Moment) -> bool {
        let is_due = |last: Instant| at.now >= last + LOOK_INTERVAL;
        if self.directories.is_empty() || !self.looked_at.is_none_or(is_due) {
            return false;
        }
        self.look_again(at, false)
    }

    fn look_again(&mut self, at: Moment, at_once: bool) -> bool {
        self.looked_at = Some(at.now);
        self.overridden.clear();
        let mut paths: OrderedMap<Vec<u8>, PathBuf> = OrderedMap::new();
        for directory in &mut self.directories {
            directory.list(self.user, at.unix_micros);
            for name in &directory.names {
                let path = directory.path.join(OsStr::from_bytes(name));
                if let Some(earlier) = paths.insert(name.clone(), path.clone()) {
                    self.overridden.push((earlier, path));
                }
            }
        }
        let mut has_changed = false;
        self.files.retain(|name, file| {
            let is_kept = paths.get(name).is_some_and(|path| *path == file.path);
            if !is_kept && file.is_handler() {
                has_changed = true;
                log::info!(target: "agent", "Handler {} removed", shown(&file.path));
            }
            is_kept
        });
        for (name, path) in paths.iter() {
            let file = self.files.get_or_insert_with(name.clone(), || Watched {
                path: path.clone(),
                signature: None,
                verdict: Verdict::Skipped(String::new()),
                is_link: false,
                newer: None,
            });
            has_changed |= file.look(self.user, at, at_once);
        }
        has_changed
    }
}

impl Directory {
    /// Lists the directory, if it may have changed.
    fn list(&mut self, user: u32, unix_micros: u64) {
        let found = match trusted_path(&self.path, user) {
            Ok((_, found)) if found.is_dir() => found,
            Ok(_) => return self.fail("not a directory".to_owned()),
            Err(why) => return self.fail(why.text()),
        };
        let signature = Signature::of(&found);
        if self.listed == Some(signature) && !self.is_fresh {
            return;
        }
        let mut names = OrderedSet::new();
        let listed = fs::read_dir(&self.path).and_then(|entries| {
            for entry in entries {
                let name = entry?.file_name().into_vec();
                if names.len() <= FILES_MAX {
                    names.insert(name);
                }
            }
            Ok(())
        });
        if let Err(why) = listed {
            return self.fail(os_error(&why));
        }
        if names.len() > FILES_MAX {
            return self.fail(format!("it has more than {FILES_MAX} files"));
        }
        self.names = names.into_iter().collect();
        self.fault = None;
        self.listed = Some(signature);
        self.is_fresh = !signature.is_older_than(TICK_MICROS, unix_micros);
    }

    /// Logs why the directory cannot be used; the agent continues without its handlers.
    fn fail(&mut self, why: String) {
        self.names.clear();
        self.listed = None;
        if self.fault.as_ref() != Some(&why) {
            log::error!(target: "agent", "Handlers in {} refused: {why}", shown(&self.path));
            self.fault = Some(why);
        }
    }
}

impl Watched {
    /// Checks the file for changes. Returns whether its verdict has changed.
    fn look(&mut self, user: u32, at: Moment, at_once: bool) -> bool {
        let Ok(found) = fs::metadata(&self.path) else {
            // A dangling link, or a file that was just removed.
            let why = "the link is broken".to_owned();
            return self.settle(None, Verdict::Skipped(why));
        };
        let signature = Signature::of(&found);
        let is_same = self.signature == Some(signature);
        let is_settled = match &self.verdict {
            Verdict::Handler(_) => !self.is_link || trusted_path(&self.path, user).is_ok(),
            // The cause may be gone by now: a missing interpreter, for example.
            Verdict::Refused(_) => false,
            Verdict::Skipped(_) | Verdict::Undeclared(_) => true,
        };
        if is_same && is_settled {
            self.newer = None;
            return false;
        }
        let (seen, since) = match self.newer {
            Some((seen, since)) if seen == signature => (seen, since),
            _ => (signature, at.now),
        };
        self.newer = Some((seen, since));
        let interval = u64::try_from(LOOK_INTERVAL.as_micros()).unwrap_or(u64::MAX);
        let is_complete = at_once
            || is_same
            || at.now >= since + LOOK_INTERVAL
            || signature.is_older_than(interval, at.unix_micros);
        match examine(&self.path, &found, user) {
            // A skipped file is not read, and one that has lost its permissions must not run: no need to
            // wait.
            Verdict::Skipped(why) => self.settle(Some(signature), Verdict::Skipped(why)),
            Verdict::Refused(why) if self.is_handler() && !is_runnable(&self.path, user) => {
                self.settle(Some(signature), Verdict::Refused(why))
            }
            verdict if is_complete => self.settle(Some(signature), verdict),
            // Until the file is complete, the previous verdict stays in effect.
            _ => false,
        }
    }

    /// Returns the verdict, given the configured names that are already in use.
    fn judged(&self, names: &mut OrderedMap<String, String>) -> Verdict {
        let given = match &self.verdict {
            Verdict::Handler(settings) => settings.name.clone(),
            _ => None,
        };
        let Some(name) = given else {
            return self.verdict.clone();
        };
        if let Some(other) = names.get(&name) {
            return Verdict::Refused(format!("key 'name': already used by {other}"));
        }
        names.insert(name, shown(&self.path).to_string());
        self.verdict.clone()
    }

    fn is_handler(&self) -> bool {
        matches!(self.verdict, Verdict::Handler(_))
    }

    /// Puts a verdict into effect. Returns whether it differs from the previous one.
    fn settle(&mut self, signature: Option<Signature>, verdict: Verdict) -> bool {
        self.newer = None;
        self.is_link = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_symlink());
        self.signature = signature;
        if self.verdict == verdict {
            return false;
        }
        let was_handler = self.is_handler();
        log_verdict(&self.path, &verdict, was_handler);
        self.verdict = verdict;
        was_handler || self.is_handler()
    }
}

/// Returns the verdict that a file with header lines would get in a handler directory; `None` without header
/// lines.
pub fn examine_declared(path: &Path) -> Option<Verdict> {
    let path = fs::canonicalize(path).ok()?;
    has_header(&path).then(|| examine_file(&path))
}

/// Returns the verdict that a file would get in a handler directory.
pub fn examine_file(path: &Path) -> Verdict {
    match (std::path::absolute(path), fs::metadata(path)) {
        (Ok(path), Ok(found)) => examine(&path, &found, sys::effective_user()),
        (Err(why), _) | (_, Err(why)) => Verdict::Refused(os_error(&why)),
    }
}

/// Returns whether only this user and root can change the file, and this user may execute it.
fn is_runnable(path: &Path, user: u32) -> bool {
    trusted_path(path, user).is_ok_and(|(file, found)| found.is_file() && sys::may_execute(&file))
}

fn log_verdict(path: &Path, verdict: &Verdict, was_handler: bool) {
    let path = shown(path);
    match verdict {
        Verdict::Handler(settings) => {
            let filter = settings.filter();
            log::info!(target: "agent", "Handler {path} runs for {}", Escaped(&filter));
        }
        Verdict::Skipped(why) if was_handler => {
            log::info!(target: "agent", "Handler {path} removed: {why}");
        }
        Verdict::Skipped(why) => log::debug!(target: "agent", "{path} is not a handler: {why}"),
        Verdict::Undeclared(why) => log::warn!(target: "agent", "{path} is not a handler: {why}"),
        Verdict::Refused(why) => log::error!(target: "agent", "Handler {path} refused: {why}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests.rs"]
mod tests;
