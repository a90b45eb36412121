//! A handler that records its environment and input.

use super::wait::eventually;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The handler: writes its environment and input to a file, which it renames into place when complete,
/// and answers with the node's name.
const SCRIPT: &str = r#"#!/bin/sh
draft=$(mktemp "$1/draft.XXXXXX") || exit 1
{
    env -0 | grep -z '^SERF_' | LC_ALL=C sort -z
    printf 'stdin=\000'
    cat
} >"$draft"
mv "$draft" "$1/$(date +%s%N).$$.event"
[ "$SERF_EVENT" != query ] || printf '%s heard %s' "$SERF_SELF_NAME" "$SERF_QUERY_NAME"
"#;

/// One run of the handler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Every variable whose name begins with `SERF_`.
    pub env: BTreeMap<String, String>,
    /// Standard input.
    pub stdin: Vec<u8>,
}

impl Record {
    /// A variable, or the empty text.
    pub fn var(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// `SERF_EVENT`.
    pub fn event(&self) -> &str {
        self.var("SERF_EVENT")
    }
}

/// The folder in which one node's handler records its runs.
#[derive(Clone, Debug)]
pub struct Recorder {
    script: PathBuf,
    folder: PathBuf,
}

impl Recorder {
    /// A recorder below `folder`.
    pub fn new(folder: &Path, name: &str) -> Recorder {
        let script = folder.join("record.sh");
        if !script.exists() {
            std::fs::write(&script, SCRIPT).expect("a script");
        }
        let folder = folder.join(format!("events-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        Recorder { script, folder }
    }

    /// The handler as `-event-handler` takes it: all events, and a shell command.
    pub fn handler(&self) -> String {
        format!(
            "*=sh '{}' '{}'",
            self.script.display(),
            self.folder.display()
        )
    }

    /// All records so far, in the order of the runs.
    pub fn records(&self) -> Vec<Record> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .expect("the recorder's folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "event"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| parse(&std::fs::read(file).expect("a record")))
            .collect()
    }

    /// The records of one kind of event.
    pub fn of(&self, event: &str) -> Vec<Record> {
        self.records()
            .into_iter()
            .filter(|record| record.event() == event)
            .collect()
    }

    /// Waits until `count` records satisfy `wanted`, and returns them.
    #[track_caller]
    pub fn await_records(
        &self,
        count: usize,
        seconds: f64,
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        eventually(
            seconds,
            &format!("{count} records in {}", self.folder.display()),
            || {
                let all = self.records();
                let some: Vec<Record> = all
                    .iter()
                    .filter(|record| wanted(record))
                    .cloned()
                    .collect();
                if some.len() >= count {
                    Ok(some)
                } else {
                    Err(format!("{all:#?}"))
                }
            },
        )
    }
}

fn parse(bytes: &[u8]) -> Record {
    let mut env = BTreeMap::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let variable = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if variable == "stdin=" {
            break;
        }
        if let Some((name, value)) = variable.split_once('=') {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    Record {
        env,
        stdin: rest.to_vec(),
    }
}
