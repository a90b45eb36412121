//! Waits for conditions with deadlines, instead of sleeping.

use std::time::{Duration, Instant};

/// The deadline of a condition whose duration does not matter.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Factor by which deadlines are longer than on an idle machine. A wait ends when its condition holds;
/// the deadline matters only for failures.
const BUSY: f64 = 4.0;

/// `seconds` stretched for a busy machine, by the factor in `COTTAR_PATIENCE` if that is set.
pub fn patience(seconds: f64) -> Duration {
    let factor: f64 = std::env::var("COTTAR_PATIENCE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(BUSY);
    Duration::from_secs_f64(seconds * factor)
}

/// A wait with a deadline that polls with increasing intervals, because frequent polling slows down the
/// processes that it waits for.
pub struct Wait {
    started: Instant,
    limit: Duration,
}

impl Wait {
    /// A wait of at most `limit`.
    pub fn new(limit: Duration) -> Wait {
        Wait {
            started: Instant::now(),
            limit,
        }
    }

    /// Sleeps before the next poll; returns false if the deadline has passed.
    pub fn goes_on(&self) -> bool {
        let elapsed = self.started.elapsed();
        if elapsed >= self.limit {
            return false;
        }
        let nap = (elapsed / 10).clamp(Duration::from_millis(2), Duration::from_millis(200));
        std::thread::sleep(nap);
        true
    }
}

/// Polls `probe` until it returns `Ok`; panics with its last error after the deadline.
#[track_caller]
pub fn eventually<T>(seconds: f64, what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    match until(seconds, probe) {
        Ok(value) => value,
        Err(last) => panic!(
            "{what}: not within {:?}; last seen: {last}",
            patience(seconds)
        ),
    }
}

/// Like [`eventually`], but returns the last error instead of panicking.
pub fn until<T>(seconds: f64, mut probe: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let wait = Wait::new(patience(seconds));
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if !wait.goes_on() => return Err(last),
            Err(_) => {}
        }
    }
}

/// Waits for a condition.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = Wait::new(PATIENCE);
    while !done() {
        assert!(wait.goes_on(), "{what}");
    }
}
