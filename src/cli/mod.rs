//! The command line: one table of commands and flags, a blocking RPC client, output as text or JSON
//! (agent spec 3).

pub mod flags;
pub mod table;

pub use flags::Flags;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line `line`, the program's name first.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut line = line.into_iter().skip(1);
    let name = line.next().unwrap_or_default();
    let Some(command) = name.to_str().and_then(table::command) else {
        return ExitCode::from(127);
    };
    match Flags::parse(command, line) {
        Ok(flags) => crate::agent::run(&flags),
        Err(_) => ExitCode::FAILURE,
    }
}
