//! Stands in for syslog in a build without it. There is no value of [`Syslog`], so no line is ever sent.

use std::path::Path;

use super::ring::Line;

/// Where the system's log would listen.
pub const PATHS: [&str; 0] = [];

/// The number of a facility.
///
/// # Errors
/// Always: settings that ask for syslog have been refused before.
pub fn facility(_: &str) -> Result<u8, String> {
    Err("not in this build".to_owned())
}

/// A log that does not exist.
#[derive(Debug)]
pub enum Syslog {}

impl Syslog {
    /// Fails.
    ///
    /// # Errors
    /// Always: settings that ask for syslog have been refused before.
    pub fn new(_: &[impl AsRef<Path>], _: &str) -> Result<Self, String> {
        Err("not in this build".to_owned())
    }

    /// Is never called.
    pub fn is_connected(&self) -> bool {
        match *self {}
    }

    /// Is never called.
    pub fn send(&mut self, _: &Line) {
        match *self {}
    }
}
