//! Why a command fails.

use std::io;

/// Why a command fails.
#[derive(Debug)]
pub enum Failure {
    /// What there was to say is said.
    Silent,
    /// This goes to stdout, as the reference has it.
    Message(String),
    /// The same, with the command's help behind it.
    Usage(String),
    /// The answer breaks off; this goes to stderr if a program reads what is there of it.
    Cut(String),
    /// The answer is there, but is empty or lacks something, and the user wants to know; this goes to
    /// stderr.
    Incomplete(String),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

/// How a command ends.
pub type Outcome = Result<(), Failure>;
