//! Types for commands and flags; the parent module has the table of them.

pub mod flags;

use std::io::Write;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use flags::Flags;

/// Type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value, or `=true`/`=false`.
    Switch,
    /// UTF-8 text; the last one given counts.
    Text,
    /// UTF-8 text; the values of repeated flags are collected.
    List,
    /// Arbitrary bytes, for paths, scripts, payloads, names and tags; the last one given counts.
    Bytes,
    /// Arbitrary bytes; the values of repeated flags are collected.
    ByteList,
    /// An integer, checked during parsing.
    Integer,
    /// A duration, checked during parsing.
    Duration,
    /// A duration, checked by the command: the reference parses it as text and reports errors later.
    LateDuration,
}

impl Kind {
    /// Returns whether the flag needs no value.
    pub const fn is_switch(self) -> bool {
        matches!(self, Kind::Switch)
    }
    /// Returns whether repeated flags are collected.
    pub const fn is_repeatable(self) -> bool {
        matches!(self, Kind::List | Kind::ByteList)
    }
    /// Returns whether the value may be arbitrary bytes.
    pub const fn takes_bytes(self) -> bool {
        matches!(self, Kind::Bytes | Kind::ByteList)
    }
}

/// A flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Placeholder of its value in the help; empty for a switch.
    pub value: &'static str,
    /// Effective value if the flag is not given; empty if there is none.
    pub default: &'static str,
    /// Description in one or more sentences.
    pub help: &'static str,
    /// Whether the reference's command lacks the flag. With such a flag, errors go to stderr.
    pub own: bool,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Positional arguments, as in a usage line.
    pub arguments: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// Detailed description.
    pub description: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// Whether it calls an agent and so has `-rpc-addr` and `-rpc-auth`.
    pub calls_agent: bool,
    /// Whether the reference lacks the command.
    pub own: bool,
    /// Function that runs it.
    pub run: Run,
}

/// Function that runs a command after its line is parsed.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Prints text or JSON to a stream; the format was checked.
    Print(fn(&Flags, &mut dyn Write) -> Outcome),
    /// Prints text or JSON to a stream, but checks the format itself and returns an exit status.
    Status(fn(&Flags, &mut dyn Write) -> Result<u8, Failure>),
    /// Prints its output and errors itself.
    Alone(fn(&Flags) -> ExitCode),
}

impl Command {
    /// Returns whether the reference would refuse the line. Then errors go to stderr; all others go to stdout
    /// as in the reference, where scripts look for them.
    pub fn is_beyond_reference(&self, flags: &Flags) -> bool {
        let mut own_flags = self.all_flags().filter(|flag| flag.own);
        self.own || own_flags.any(|flag| flags.is_given(flag.name))
    }
    /// Returns all flags of the command, common ones last.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        let common: &'static [Flag] = if self.calls_agent { RPC_FLAGS } else { &[] };
        self.flags.iter().chain(common)
    }
    /// Returns the flag with that name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.all_flags().find(|flag| flag.name == name)
    }
}

/// Defines a flag that the reference has, too.
pub(super) const fn flag(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        value,
        default,
        help,
        own: false,
    }
}

/// Marks a flag as one that the reference lacks.
pub(super) const fn own(flag: Flag) -> Flag {
    Flag { own: true, ..flag }
}

/// Flags of all commands that call an agent.
pub const RPC_FLAGS: &[Flag] = &[
    flag(
        "rpc-addr",
        Kind::Text,
        "ADDRESS",
        "127.0.0.1:7373",
        "RPC address of the agent, HOST:PORT or unix:PATH. The default is COTTAR_RPC_ADDR or SERF_RPC_ADDR from the environment, else unix:/run/cottar/rpc.sock if an agent listens there.",
    ),
    flag(
        "rpc-auth",
        Kind::Text,
        "KEY",
        "",
        "Key for RPC. The default is SERF_RPC_AUTH from the environment; an empty value means no key.",
    ),
];
