//! Reports of handlers: lines in a named pipe, each with the time of its arrival.
//!
//! The handlers write them with shell builtins, without further processes, because there are up to some
//! hundred runs a second.

use crate::history::Run;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The reading end of the pipe, and all lines read so far.
pub struct Runs {
    pipe: PathBuf,
    seen: Arc<Mutex<Vec<Run>>>,
}

impl Runs {
    /// Creates the pipe in `folder`; the lines are also written to the file `runs`.
    pub fn new(folder: &Path, origin: Instant) -> Runs {
        let pipe = folder.join("pipe");
        let path = std::ffi::CString::new(pipe.to_str().expect("UTF-8")).expect("no NUL");
        // SAFETY: a plain system call with a string that outlives it.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "a pipe");
        // Also opened for writing, so that reading does not reach the end of the file between two writers.
        let reader = OpenOptions::new().read(true).write(true).open(&pipe);
        let reader = BufReader::new(reader.expect("the pipe"));
        let mut copy = File::create(folder.join("runs")).expect("a file");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let at = origin.elapsed().as_secs_f64();
                if line == END {
                    return;
                }
                let _ = writeln!(copy, "{at:.4} {line}");
                let run = parse(&line, at).unwrap_or_else(|| panic!("a handler wrote {line:?}"));
                shared.lock().expect("never poisoned").push(run);
            }
        });
        Runs { pipe, seen }
    }

    /// The handler of a node, the same in all its lives; [`LIFE`] is in its environment. Writes this short
    /// are atomic. With a journal it is sometimes busy for a while, so that the end of an agent interrupts
    /// runs and leaves others waiting.
    pub fn handler(&self, node: usize, has_journal: bool) -> String {
        let pipe = self.pipe.display();
        let busy = if has_journal {
            "; case $SERF_USER_EVENT in *[05]) sleep 0.1;; esac"
        } else {
            ""
        };
        format!(
            "user=echo {node} ${LIFE} \"$SERF_USER_EVENT $SERF_USER_LTIME ${{COTTAR_REPLAY:-0}}\" >>'{pipe}'{busy}"
        )
    }

    /// All runs so far.
    pub fn so_far(&self) -> Vec<Run> {
        self.seen.lock().expect("never poisoned").clone()
    }
}

/// The variable that holds the index of the life.
pub const LIFE: &str = "COTTAR_SOAK_LIFE";

/// The line that ends the reader.
const END: &str = "end";

impl Drop for Runs {
    fn drop(&mut self) {
        if let Ok(mut pipe) = OpenOptions::new().write(true).open(&self.pipe) {
            let _ = writeln!(pipe, "{END}");
        }
    }
}

fn parse(line: &str, at: f64) -> Option<Run> {
    let words: Vec<&str> = line.split(' ').collect();
    let [node, life, event, ltime, marked] = words[..] else {
        return None;
    };
    Some(Run {
        node: node.parse().ok()?,
        life: life.parse().ok()?,
        event: event.to_owned(),
        ltime: ltime.parse().ok()?,
        at,
        marked: marked != "0",
    })
}
