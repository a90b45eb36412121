//! Waiting for a condition, never for luck.

use std::time::{Duration, Instant};

/// How long a condition may take whose time says nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How much longer than on an idle machine things may take: what is waited for is the condition, the
/// deadline only ends a wait in vain.
const BUSY: f64 = 4.0;

/// A deadline's length, stretched for a busy machine, by `COTTAR_PATIENCE` if that is set.
pub fn patience(seconds: f64) -> Duration {
    let factor: f64 = std::env::var("COTTAR_PATIENCE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(BUSY);
    Duration::from_secs_f64(seconds * factor)
}

/// A wait with a deadline that looks often at first and more seldom later: who looks all the time keeps the
/// others from what is waited for.
pub struct Wait {
    started: Instant,
    limit: Duration,
}

impl Wait {
    /// Not longer than that.
    pub fn new(limit: Duration) -> Wait {
        Wait {
            started: Instant::now(),
            limit,
        }
    }

    /// Naps before the next look; `false` if there is none.
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

/// Asks `probe` again and again until it gives a value; its last refusal is the failure's text.
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

/// Like [`eventually`], for a caller that wants to go on after a failure.
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
