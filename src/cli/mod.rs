//! The command line: one table of commands and flags, a blocking RPC client, output as text or JSON
//! (agent spec 3).

pub mod client;
mod columns;
mod commands;
pub mod flags;
mod handler;
pub mod help;
mod json;
mod keys;
mod monitor;
mod query;
mod reachability;
mod rtt;
pub mod table;

pub use flags::Flags;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::serf::config::{PROTOCOL_MAX, PROTOCOL_MIN};
use flags::Stop;
use table::Command;

/// Exit status when there is no command to run.
const NO_COMMAND: u8 = 127;

/// Runs the command line `line`, the program's name first.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut line = line.into_iter().skip(1).peekable();
    let mut flags_first = false;
    while let Some(flag) = line.next_if(|next| next.to_string_lossy().starts_with('-')) {
        match flag.to_str() {
            Some("-v" | "--version") => return print(&version()),
            Some("-h" | "-help" | "--help") => return usage(ExitCode::SUCCESS),
            _ => flags_first = true,
        }
    }
    let mut name = line.next().unwrap_or_default();
    if name.to_str().is_some_and(table::is_group) {
        let second = line.next().unwrap_or_default();
        if matches!(second.to_str(), Some("-h" | "-help" | "--help")) {
            return usage(ExitCode::SUCCESS);
        }
        name.push(" ");
        name.push(second);
    }
    let command = name.to_str().and_then(table::command);
    match command {
        Some(command) if flags_first => complain(
            &format!(
                "Flags stand before the command. Write them behind it: cottar {} [options]\n",
                command.name
            ),
            &help::help(command),
        ),
        Some(command) if command.name != "help" => run(command, line),
        _ => usage(ExitCode::from(NO_COMMAND)),
    }
}

fn run(command: &'static Command, line: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse(command, line) {
        Ok(flags) => flags,
        Err(Stop::Version) => return print(&version()),
        Err(Stop::Help) => {
            let _ = io::stderr().write_all(help::help(command).as_bytes());
            return ExitCode::SUCCESS;
        }
        // As the reference has it: this one reads nothing of its line.
        Err(Stop::Error(_)) if command.name == "keygen" => return keygen(),
        Err(Stop::Error(why)) => {
            let _ = writeln!(io::stderr(), "{why}");
            print(&help::help(command));
            return ExitCode::FAILURE;
        }
    };
    match command.name {
        "agent" => {
            warn_of_arguments(&flags);
            crate::agent::run(&flags)
        }
        "keygen" => keygen(),
        "version" => print(&version()),
        name => {
            let mut out = io::stdout().lock();
            let done = match name {
                "handler test" => handler::test::test(&flags, &mut out),
                _ => commands::run(&flags, &mut out).map(|()| 0),
            };
            match done.and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
                Ok(code) => ExitCode::from(code),
                Err(failure) => commands::report(failure, &flags, &mut out),
            }
        }
    }
}

/// The reference passes over them, and over all flags behind them, in silence.
fn warn_of_arguments(flags: &Flags) {
    if let Some(first) = flags.arguments().first() {
        let _ = writeln!(
            io::stderr(),
            "Warning: the agent takes no arguments: '{}' and what follows is ignored",
            first.to_string_lossy()
        );
    }
}

/// The version and the protocols understood (agent spec 3.12).
pub fn version() -> String {
    format!(
        "{}\nAgent Protocol: {PROTOCOL_MAX} (Understands back to: {PROTOCOL_MIN})\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A new key (agent spec 3.10).
fn keygen() -> ExitCode {
    match keys::generate() {
        Ok(key) => print(&format!("{key}\n")),
        Err(why) => {
            let _ = writeln!(io::stderr(), "cottar: no random bytes for a key: {why}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => commands::output_failed(&why),
    }
}

fn usage(status: ExitCode) -> ExitCode {
    let _ = io::stderr().write_all(help::usage().as_bytes());
    status
}

fn complain(why: &str, help: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}\n{help}");
    ExitCode::FAILURE
}
