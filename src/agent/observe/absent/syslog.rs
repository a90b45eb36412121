//! Replaces syslog in builds without it. [`Syslog`] is uninhabited, so the compiler removes all code that
//! uses it.

use std::path::Path;

use super::ring::Line;

/// Paths of the system's log socket: none.
pub const PATHS: [&str; 0] = [];

/// Fails.
///
/// # Errors
/// Always. Settings that need syslog are refused earlier.
pub fn facility(_: &str) -> Result<u8, String> {
    Err("not in this build".to_owned())
}

/// Uninhabited stand-in for the connection to syslog.
#[derive(Debug)]
pub enum Syslog {}

impl Syslog {
    /// Fails.
    ///
    /// # Errors
    /// Always. Settings that need syslog are refused earlier.
    pub fn new(_: &[impl AsRef<Path>], _: &str) -> Result<Self, String> {
        Err("not in this build".to_owned())
    }

    /// Cannot be called.
    pub fn is_connected(&self) -> bool {
        match *self {}
    }

    /// Cannot be called.
    pub fn send(&mut self, _: &Line) {
        match *self {}
    }
}
