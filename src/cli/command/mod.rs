//! What a command and a flag are; the table of them is above.

pub mod flags;

use std::io::Write;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use flags::Flags;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`/`=false`.
    Switch,
    /// Any text; of several the last one counts.
    Text,
    /// Any text; several are collected.
    List,
    /// The same as [`Kind::Text`] for a path, a script, a payload, a name or a tag: any bytes, as the system
    /// has them. All others are UTF-8.
    Bytes,
    /// The same as [`Kind::List`] for such values.
    ByteList,
    /// A whole number, checked when the flag is parsed.
    Integer,
    /// A duration, checked when the flag is parsed.
    Duration,
    /// A duration, checked by the command: the reference reads it as text and complains later.
    LateDuration,
}

impl Kind {
    /// Whether the flag may stand alone.
    pub const fn is_switch(self) -> bool {
        matches!(self, Kind::Switch)
    }
    /// Whether several of it add up.
    pub const fn is_repeatable(self) -> bool {
        matches!(self, Kind::List | Kind::ByteList)
    }
    /// Whether the value may be any bytes.
    pub const fn takes_bytes(self) -> bool {
        matches!(self, Kind::Bytes | Kind::ByteList)
    }
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What follows it.
    pub kind: Kind,
    /// What its value is called in the help; empty for a switch.
    pub value: &'static str,
    /// The effective value when it is not given; empty if there is none.
    pub default: &'static str,
    /// What it does, in one or more sentences.
    pub help: &'static str,
    /// The reference's command has no such flag, and errors go where they do with our own commands.
    pub own: bool,
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its positional arguments, as in a usage line.
    pub arguments: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// More about it.
    pub description: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// Whether it talks to an agent and so has `-rpc-addr` and `-rpc-auth` too.
    pub calls_agent: bool,
    /// The reference has no such command.
    pub own: bool,
    /// What it does.
    pub run: Run,
}

/// What a command does once its line is read.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Prints to a stream, in one of the usual formats.
    Print(fn(&Flags, &mut dyn Write) -> Outcome),
    /// Prints likewise; looks at the format itself and has an exit status to tell.
    Status(fn(&Flags, &mut dyn Write) -> Result<u8, Failure>),
    /// Does without the rest of the command line.
    Alone(fn(&Flags) -> ExitCode),
}

impl Command {
    /// Whether a line is one that the reference would not take. Then errors go to stderr; all others go
    /// to stdout as there, where scripts look for them.
    pub fn is_beyond_reference(&self, flags: &Flags) -> bool {
        let mut own_flags = self.all_flags().filter(|flag| flag.own);
        self.own || own_flags.any(|flag| flags.is_given(flag.name))
    }
    /// All flags of the command, the common ones last.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        let common: &'static [Flag] = if self.calls_agent { RPC_FLAGS } else { &[] };
        self.flags.iter().chain(common)
    }
    /// The flag of that name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.all_flags().find(|flag| flag.name == name)
    }
}

/// A flag that the reference has, too.
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

/// A flag that the reference does not have.
pub(super) const fn own(flag: Flag) -> Flag {
    Flag { own: true, ..flag }
}

/// Flags of every command that calls an agent.
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
