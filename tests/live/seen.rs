//! What a process writes, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use super::agent::PATIENCE;

/// Everything a process has written to stdout, as it comes.
#[derive(Clone, Default)]
pub struct Seen(Arc<(Mutex<(String, bool)>, Condvar)>);

impl Seen {
    pub fn follow(reader: impl Read + Send + 'static) -> Self {
        let seen = Seen::default();
        let shared = seen.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
                let mut state = shared.0.0.lock().unwrap();
                state.0.push_str(&String::from_utf8_lossy(&line));
                shared.0.1.notify_all();
                line.clear();
            }
            shared.0.0.lock().unwrap().1 = true;
            shared.0.1.notify_all();
        });
        seen
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().0.clone()
    }

    /// Waits until it is as it should be, and returns all of it.
    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.0.lock().unwrap();
        loop {
            if done(&state.0) {
                return state.0.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.1 && !left.is_zero(),
                "no {what:?} (ended: {}) in:\n{}",
                state.1,
                state.0
            );
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until all of it is here.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.0.lock().unwrap();
        while !state.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "somebody holds stdout:\n{}", state.0);
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
    }
}
