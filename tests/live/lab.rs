//! The environment of a scenario: which programs its nodes run, and its folder.

use super::Kind;
use super::agent::{Agent, show};
use super::skip::lacks_reference;
use super::spec::Spec;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use tempfile::TempDir;

/// The maximum number of agents that run at the same time, over all scenarios.
const NODES_AT_ONCE_MAX: usize = 40;

/// Runs `story` once for each cast, in parallel. A cast has a letter for each node: `S` for the
/// reference, `C` for cottar.
pub fn scenario(name: &str, casts: &[&str], story: impl Fn(&Lab) + Sync) {
    if lacks_reference(name) {
        return;
    }
    let only_reference = std::env::var("COTTAR_INTEROP_CAST").is_ok_and(|value| value == "serf");
    let casts: BTreeSet<String> = casts
        .iter()
        .map(|cast| {
            if only_reference {
                cast.replace('C', "S")
            } else {
                (*cast).into()
            }
        })
        .collect();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = casts
            .iter()
            .map(|cast| {
                let story = &story;
                let play = move || {
                    let _seats = Seats::take(cast.len());
                    story(&Lab::new(name, cast));
                };
                let thread = std::thread::Builder::new().name(format!("{name} {cast}"));
                (cast, thread.spawn_scoped(scope, play).expect("a thread"))
            })
            .collect();
        running
            .into_iter()
            .filter_map(|(cast, thread)| thread.join().is_err().then(|| cast.clone()))
            .collect()
    });
    assert!(failed.is_empty(), "{name} failed with the casts {failed:?}");
}

/// A share of [`NODES_AT_ONCE_MAX`].
struct Seats(usize);

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Seats {
    fn take(nodes: usize) -> Seats {
        let mut taken = TAKEN.lock().expect("never poisoned");
        while *taken > 0 && *taken + nodes > NODES_AT_ONCE_MAX {
            taken = FREED.wait(taken).expect("never poisoned");
        }
        *taken += nodes;
        Seats(nodes)
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        *TAKEN.lock().expect("never poisoned") -= self.0;
        FREED.notify_all();
    }
}

/// A scenario with one cast. Prints the logs of all its nodes when the scenario panics.
#[derive(Debug)]
pub struct Lab {
    title: String,
    kinds: Vec<Kind>,
    folder: TempDir,
}

impl Lab {
    /// A lab for `cast`, with a folder of its own.
    pub fn new(name: &str, cast: &str) -> Lab {
        let kinds = cast
            .chars()
            .map(|letter| match letter {
                'S' => Kind::Serf,
                'C' => Kind::Cottar,
                other => panic!("no kind of agent is called {other}"),
            })
            .collect();
        let folder = tempfile::Builder::new()
            .prefix("cottar-")
            .tempdir()
            .expect("a folder");
        Lab {
            title: format!("{name} {cast}"),
            kinds,
            folder,
        }
    }

    /// The program that the node at `index` runs.
    pub fn kind(&self, index: usize) -> Kind {
        self.kinds[index]
    }

    /// How many nodes the cast has.
    pub fn size(&self) -> usize {
        self.kinds.len()
    }

    /// The scenario's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The settings of the node at `index`, which is called `n1`, `n2` and so on.
    pub fn spec(&self, index: usize) -> Spec {
        Spec::new(self.kind(index), &format!("n{}", index + 1))
    }

    /// Starts an agent and waits until it serves.
    #[track_caller]
    pub fn start(&self, spec: Spec) -> Agent {
        spec.folder(self.path()).start()
    }

    /// Starts an agent without waiting; it may refuse to start.
    pub fn launch(&self, spec: Spec) -> Agent {
        spec.folder(self.path()).launch()
    }

    /// Starts all nodes with the settings that `prepare` returns; all others join the first.
    #[track_caller]
    pub fn start_all(&self, prepare: impl Fn(usize, Spec) -> Spec) -> Vec<Agent> {
        let mut nodes: Vec<Agent> = Vec::new();
        for index in 0..self.size() {
            let mut spec = prepare(index, self.spec(index));
            if let Some(first) = nodes.first() {
                spec = spec.join(first);
            }
            nodes.push(self.start(spec));
        }
        nodes
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut logs: Vec<PathBuf> = std::fs::read_dir(self.path())
            .map(|entries| {
                entries
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .collect()
            })
            .unwrap_or_default();
        logs.sort();
        for path in logs {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".log") || name.ends_with(".err") {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let title = format!("{}: {name}", self.title);
                show(&title, &String::from_utf8_lossy(&bytes));
            }
        }
    }
}
