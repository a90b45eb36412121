//! The only table of commands and flags. Parsing and help use it, and a test compares man pages and
//! completions with it (agent spec 3, 4.2).

mod agent;
mod handler_flags;
mod scripts;

pub use super::command::{Command, Flag, Kind, RPC_FLAGS, Run};

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::command::flags::Flags;
use super::command::{flag, own};
use super::handler::{self, queue};
use super::{commands, keys, members, monitor, query, reachability, rtt, wait};
use agent::AGENT_FLAGS;
use handler_flags::{HANDLER_RUN_FLAGS, HANDLER_TEST_FLAGS};
use scripts::{MEMBERS_FLAGS, MONITOR_FLAGS, QUERY_FLAGS, REACHABILITY_FLAGS, WAIT_FLAGS};

/// Exit status if no command is given.
const NO_COMMAND: u8 = 127;

/// Returns the command with exactly that name. Some names are two words separated by one blank.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Returns whether this is the first word of commands with two words.
pub fn is_group(word: &str) -> bool {
    let mut groups = COMMANDS.iter().filter_map(|c| c.name.split_once(' '));
    groups.any(|(group, _)| group == word)
}

/// `-format` of commands without formats in the reference.
const FORMAT: Flag = own(flag(
    "format",
    Kind::Text,
    "FORMAT",
    "text",
    "Output as 'text' or as 'json'.",
));

/// `-format` of commands with formats in the reference, which check the value themselves.
const KNOWN_FORMAT: Flag = Flag {
    own: false,
    ..FORMAT
};

const REPLAY: Flag = flag(
    "replay",
    Kind::Switch,
    "",
    "false",
    "Also handle user events from before the join.",
);

/// All commands, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        arguments: "",
        summary: "Runs an agent: a node of the cluster",
        description: "Runs until 'cottar leave' or a signal: SIGINT leaves the cluster first, SIGTERM does not.",
        flags: AGENT_FLAGS,
        calls_agent: false,
        own: false,
        run: Run::Alone(commands::agent),
    },
    Command {
        name: "event",
        arguments: "NAME [PAYLOAD]",
        summary: "Sends a user event to the whole cluster",
        description: "Fires a user event. Each node runs its handlers for it.",
        flags: &[
            flag(
                "coalesce",
                Kind::Switch,
                "",
                "true",
                "Let receivers merge events with this name within a short time.",
            ),
            FORMAT,
        ],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::event),
    },
    Command {
        name: "force-leave",
        arguments: "NAME",
        summary: "Marks a failed member as left",
        description: "For a node that will not come back: the other nodes stop trying to reach it.",
        flags: &[
            FORMAT,
            flag(
                "prune",
                Kind::Switch,
                "",
                "false",
                "Also remove the member from the list.",
            ),
        ],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::force_leave),
    },
    Command {
        name: "handler check",
        arguments: "[DIRECTORY|FILE...]",
        summary: "Checks directories of handlers, without an agent",
        description: "Prints one line per file, in the order in which they run: its events, or why it is not run. The default directory is /etc/cottar/handlers.d. Several directories are checked together, as for an agent with all of them. Exits with 1 if anything is wrong.",
        flags: &[FORMAT],
        calls_agent: false,
        own: true,
        run: Run::Status(handler::check::check),
    },
    Command {
        name: "handler drop",
        arguments: "[NAME|ID]",
        summary: "Drops events that wait for handlers",
        description: "Drops the events of the handler with this name or the event with this id; by default all waiting events. A run that has started continues.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::drop),
    },
    Command {
        name: "handler list",
        arguments: "",
        summary: "Shows an agent's handlers and statistics of their runs",
        description: "One line per handler, in the order of registration: name, filter, state, waiting events, runs, failures, timeouts, drops, duration of the last and the longest run, and script.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(handler::list),
    },
    Command {
        name: "handler pause",
        arguments: "NAME",
        summary: "Pauses a handler",
        description: "Events wait for the handler until it is resumed or the agent ends. Other handlers continue.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::pause),
    },
    Command {
        name: "handler queue",
        arguments: "",
        summary: "Shows the events that wait for handlers",
        description: "One line per event and handler: id, waiting time, event, handler, number of started runs, and state.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::queue),
    },
    Command {
        name: "handler resume",
        arguments: "NAME",
        summary: "Resumes a paused handler",
        description: "The events that waited for the handler run before all others.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::resume),
    },
    Command {
        name: "handler run",
        arguments: "HANDLER EVENT NAME [PAYLOAD]|MEMBER...",
        summary: "Runs a handler of an agent now",
        description: "The agent runs the handler with this name for an event as for 'handler test', regardless of its filter. The command waits, except inside a handler, and exits with the handler's status.",
        flags: HANDLER_RUN_FLAGS,
        calls_agent: true,
        own: true,
        run: Run::Status(handler::runs::run),
    },
    Command {
        name: "handler sync",
        arguments: "[NAME]",
        summary: "Runs handlers with the current members",
        description: "The agent runs the handler with this name, or all with 'sync' in their filter, with the current members. The command waits, except inside a handler, and exits with the first status that is not 0.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Status(handler::runs::sync),
    },
    Command {
        name: "handler test",
        arguments: "SCRIPT EVENT NAME [PAYLOAD]|MEMBER...",
        summary: "Runs a handler as an agent would, without an agent",
        description: "SCRIPT may be FILTER=SCRIPT. EVENT is 'user' or 'query' with a NAME and an optional PAYLOAD, or a member event such as member-join with one or more MEMBERs: NAME[,ADDRESS][,TAG=VALUE]... Exits with the handler's status.",
        flags: HANDLER_TEST_FLAGS,
        calls_agent: false,
        own: true,
        run: Run::Status(handler::test::test),
    },
    Command {
        name: "help",
        arguments: "",
        summary: "Lists the commands",
        description: "Prints the list of commands.",
        flags: &[],
        calls_agent: false,
        own: false,
        run: Run::Alone(help),
    },
    Command {
        name: "info",
        arguments: "",
        summary: "Shows the version and counters of an agent",
        description: "Prints the agent's version, counters, tags and event handlers.",
        flags: &[KNOWN_FORMAT],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::info),
    },
    Command {
        name: "join",
        arguments: "ADDRESS...",
        summary: "Makes a running agent join a cluster",
        description: "Each address is HOST or HOST:PORT of a node. Succeeds if at least one answers.",
        flags: &[FORMAT, REPLAY],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::join),
    },
    Command {
        name: "keygen",
        arguments: "",
        summary: "Makes a new encryption key",
        description: "Prints 32 random bytes in base64, for -encrypt, for a keyring file or for keys -install.",
        flags: &[FORMAT],
        calls_agent: false,
        own: false,
        run: Run::Print(keys::keygen),
    },
    Command {
        name: "keys",
        arguments: "",
        summary: "Changes or lists the encryption keys of the cluster",
        description: "All live members take part. Exactly one of -install, -list, -remove and -use must be given. Keys are in base64, as keygen prints them.",
        flags: &[
            FORMAT,
            flag(
                "install",
                Kind::Text,
                "KEY",
                "",
                "Add this key to the keyrings of all members, which can then decrypt with it.",
            ),
            flag(
                "list",
                Kind::Switch,
                "",
                "false",
                "List the keys, each with the number of members that have it.",
            ),
            flag(
                "remove",
                Kind::Text,
                "KEY",
                "",
                "Remove this key from the keyrings of all members; it must not be the primary key.",
            ),
            flag(
                "use",
                Kind::Text,
                "KEY",
                "",
                "Make this installed key the primary key, with which members encrypt.",
            ),
        ],
        calls_agent: true,
        own: false,
        run: Run::Print(keys::keys),
    },
    Command {
        name: "leave",
        arguments: "",
        summary: "Makes an agent leave the cluster and end",
        description: "Announces the leave to the other nodes, then ends the agent.",
        flags: &[FORMAT],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::leave),
    },
    Command {
        name: "members",
        arguments: "",
        summary: "Lists the members of the cluster",
        description: "One line per member: name, address, status, tags. Expressions must match the whole text.",
        flags: MEMBERS_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(members::members),
    },
    Command {
        name: "monitor",
        arguments: "",
        summary: "Shows the log and the events of an agent",
        description: "Prints the last lines of the agent's log, then new lines and all events, until it is interrupted. With -event, prints only events, for scripts.",
        flags: MONITOR_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(monitor::monitor),
    },
    Command {
        name: "query",
        arguments: "NAME [PAYLOAD]",
        summary: "Sends a query and prints the answers",
        description: "Sends a query to all nodes and collects acks and answers until the timeout.",
        flags: QUERY_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(query::query),
    },
    Command {
        name: "reachability",
        arguments: "",
        summary: "Tests whether all live members can be reached",
        description: "Sends a query that every node acknowledges, and compares the acks with the live members.",
        flags: REACHABILITY_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(reachability::reachability),
    },
    Command {
        name: "rtt",
        arguments: "NODE1 [NODE2]",
        summary: "Estimates the round-trip time between two nodes",
        description: "Uses the coordinates of the nodes and sends nothing to them. The default for NODE2 is the node of the agent.",
        flags: &[FORMAT],
        calls_agent: true,
        own: false,
        run: Run::Print(rtt::rtt),
    },
    Command {
        name: "tags",
        arguments: "",
        summary: "Changes the tags of a running agent",
        description: "Sets and deletes tags; a tag that is both set and deleted is set.",
        flags: &[
            flag(
                "delete",
                Kind::ByteList,
                "KEY",
                "",
                "Delete this tag; may be given several times.",
            ),
            FORMAT,
            flag(
                "set",
                Kind::ByteList,
                "KEY=VALUE",
                "",
                "Set this tag; may be given several times.",
            ),
        ],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::tags),
    },
    Command {
        name: "version",
        arguments: "",
        summary: "Prints the version",
        description: "Prints the version, the supported Serf protocols, and the features of this build.",
        flags: &[FORMAT],
        calls_agent: false,
        own: false,
        run: Run::Print(commands::version),
    },
    Command {
        name: "wait",
        arguments: "[NAME...]",
        summary: "Waits until members match",
        description: "Waits until enough members match, or all with these names. The agent sends changes; the command does not poll. Exits with 2 after the timeout.",
        flags: WAIT_FLAGS,
        calls_agent: true,
        own: true,
        run: Run::Print(wait::wait),
    },
];

/// Returns the list of commands.
pub fn usage() -> String {
    let mut text =
        "Usage: cottar [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n"
            .to_owned();
    let width = COMMANDS.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for command in COMMANDS {
        let _ = writeln!(text, "    {:width$}    {}", command.name, command.summary);
    }
    text
}

/// Lists the commands and fails, as the reference's `help` does.
fn help(_: &Flags) -> ExitCode {
    let _ = io::stderr().write_all(usage().as_bytes());
    ExitCode::from(NO_COMMAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_lists_every_command() {
        let text = usage();
        for command in COMMANDS {
            assert!(text.contains(&format!("\n    {} ", command.name)));
        }
    }
}
