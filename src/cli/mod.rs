//! The command line: one table of commands and flags, a blocking RPC client, output as text or JSON
//! (agent spec 3).

#![forbid(unsafe_code)]

pub mod client;
mod columns;
pub mod command;
mod commands;
mod common;
mod dial;
mod error;
mod expected;
mod failure;
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
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::os::error::os_error;
use crate::wire::name::Escaped;
use command::flags::Stop;
use command::{Command, Run};
use common::{format, is_json};
use failure::Failure;
use help::help;

/// Exit status for [`Failure::Incomplete`].
const INCOMPLETE: u8 = 2;

/// Runs the command line `line`, which begins with the program's name.
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
                "Flags of a command follow it: cottar {} [options]\n",
                command.name
            ),
            &help(command),
        ),
        Some(command) if command.name != "help" => run(command, line),
        _ => table::command("help").map_or(ExitCode::FAILURE, |help| finish(&Flags::none(help))),
    }
}

fn run(command: &'static Command, line: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse(command, line) {
        Ok(flags) => flags,
        Err(Stop::Version) => return version(),
        Err(Stop::Help) => {
            let _ = io::stderr().write_all(help(command).as_bytes());
            return ExitCode::SUCCESS;
        }
        // As in the reference, `keygen` ignores unknown flags.
        Err(Stop::Error(_)) if command.name == "keygen" => Flags::none(command),
        Err(Stop::Error(why)) if !command.own => {
            let _ = writeln!(io::stderr(), "{why}");
            print(&help(command));
            return ExitCode::FAILURE;
        }
        Err(Stop::Error(why)) => return complain(&why, &help(command)),
    };
    if command.own && command.arguments.is_empty() && !flags.arguments().is_empty() {
        return complain("Too many arguments.", &help(command));
    }
    warn_of_arguments(&flags);
    finish(&flags)
}

/// Runs a command after its line was parsed.
fn finish(flags: &Flags) -> ExitCode {
    let run: &dyn Fn(&mut dyn Write) -> Result<u8, Failure> = match flags.command().run {
        Run::Alone(run) => return run(flags),
        Run::Print(run) => &move |out| {
            check_format(flags)?;
            run(flags, out).map(|()| 0)
        },
        Run::Status(run) => &move |out| run(flags, out),
    };
    let mut out = io::stdout().lock();
    let done = run(&mut out);
    match done.and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(failure, flags, &mut out),
    }
}

/// Prints the version with the command `version`.
fn version() -> ExitCode {
    table::command("version").map_or(ExitCode::FAILURE, |command| finish(&Flags::none(command)))
}

/// Warns of what the reference silently ignores: arguments of a command that takes none, and flags after the
/// first argument, which count as arguments.
fn warn_of_arguments(flags: &Flags) {
    let command = flags.command();
    let words = match (flags.arguments().first(), flags.late_flag()) {
        (Some(first), _) if command.arguments.is_empty() => format!(
            "{} takes no arguments: ignoring '{}' and all after it",
            command.name,
            Escaped(first.as_bytes())
        ),
        (_, Some(late)) if !command.own => format!(
            "'{}' follows an argument and is taken as one: put flags first, or '--' before \
             arguments that begin with '-'",
            Escaped(late.as_bytes())
        ),
        _ => return,
    };
    let _ = writeln!(io::stderr(), "Warning: {words}");
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => output_failed(&why),
    }
}

fn usage(status: ExitCode) -> ExitCode {
    let _ = io::stderr().write_all(table::usage().as_bytes());
    status
}

fn complain(why: &str, help: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}\n{help}");
    ExitCode::FAILURE
}

/// Refuses unknown formats. Commands with formats in the reference check them themselves.
fn check_format(flags: &Flags) -> Result<(), Failure> {
    let format = format(flags);
    let is_own = flags.command().flag("format").is_some_and(|flag| flag.own);
    match format {
        "json" | "text" => Ok(()),
        _ if !is_own => Ok(()),
        _ => Err(Failure::Message(format!("Invalid format: {format}"))),
    }
}

/// Prints an error. The command has failed even if nobody reads the message.
fn report(failure: Failure, flags: &Flags, out: &mut dyn Write) -> ExitCode {
    let mut stderr = io::stderr();
    let out: &mut dyn Write = match failure {
        Failure::Incomplete(_) => &mut stderr,
        Failure::Cut(_) if is_json(flags) => &mut stderr,
        _ if flags.command().is_beyond_reference(flags) => &mut stderr,
        _ => out,
    };
    let mut status = ExitCode::FAILURE;
    let printed = match failure {
        Failure::Message(text) | Failure::Cut(text) => writeln!(out, "{text}"),
        Failure::Usage(text) if text.is_empty() => write!(out, "{}", help(flags.command())),
        Failure::Usage(text) => write!(out, "{text}\n\n{}", help(flags.command())),
        Failure::Silent => Ok(()),
        Failure::Incomplete(why) => {
            status = ExitCode::from(INCOMPLETE);
            writeln!(out, "{why}")
        }
        Failure::Output(why) => return output_failed(&why),
    };
    if let Err(why) = printed.and_then(|()| out.flush()) {
        output_failed(&why);
    }
    status
}

/// Returns the exit status if the output cannot be written. A closed pipe is not an error.
fn output_failed(why: &io::Error) -> ExitCode {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    let why = os_error(why);
    let _ = writeln!(io::stderr(), "cottar: cannot write the output: {why}");
    ExitCode::FAILURE
}
