//! The command line: one table of commands and flags, a blocking RPC client, output as text or JSON
//! (agent spec 3).

pub mod client;
mod columns;
pub mod command;
mod commands;
mod dial;
mod error;
mod expected;
mod fields;
mod handler;
pub mod help;
mod keys;
mod members;
mod monitor;
mod query;
mod reachability;
mod rtt;
pub mod table;
mod terminal;
mod wait;

pub use command::flags::Flags;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use command::flags::Stop;
use table::Command;

/// Exit status when there is no command to run.
const NO_COMMAND: u8 = 127;

/// Runs the command line `line`, the program's name first.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut line = line.into_iter().skip(1).peekable();
    let mut flags_first = false;
    while let Some(flag) = line.next_if(|next| next.to_string_lossy().starts_with('-')) {
        match flag.to_str() {
            Some("-v" | "--version") => return version(),
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
        Err(Stop::Version) => return version(),
        Err(Stop::Help) => {
            let _ = io::stderr().write_all(help::help(command).as_bytes());
            return ExitCode::SUCCESS;
        }
        // As the reference has it: this one passes over what it does not know.
        Err(Stop::Error(_)) if command.name == "keygen" => Flags::none(command),
        Err(Stop::Error(why)) if !commands::is_own(command) => {
            let _ = writeln!(io::stderr(), "{why}");
            print(&help::help(command));
            return ExitCode::FAILURE;
        }
        Err(Stop::Error(why)) => return complain(&why, &help::help(command)),
    };
    if command.name == "agent" {
        warn_of_arguments(&flags);
        return crate::agent::run(&flags);
    }
    run_to_end(&flags)
}

fn run_to_end(flags: &Flags) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match flags.command().name {
        "handler test" => handler::test::test(flags, &mut out),
        _ => commands::run(flags, &mut out).map(|()| 0),
    };
    match done.and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => commands::report(failure, flags, &mut out),
    }
}

/// Prints the version in whatever words `version` has for it.
fn version() -> ExitCode {
    table::command("version").map_or(ExitCode::FAILURE, |command| {
        run_to_end(&Flags::none(command))
    })
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
