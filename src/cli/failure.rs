//! Errors of commands.

use std::io;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Nothing more to print: the error was already reported.
    Silent,
    /// Error message. Goes to stdout as in the reference, or to stderr if only cottar accepts the line.
    Message(String),
    /// Error message, followed by the command's help.
    Usage(String),
    /// The output is incomplete because of this error, which goes to stderr if the output is JSON.
    Cut(String),
    /// The output is complete, but empty or without something that the user expects; the message goes to
    /// stderr.
    Incomplete(String),
    /// The output could not be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

/// Result of a command.
pub type Outcome = Result<(), Failure>;
