//! The one table of commands and flags. Parsing and help are driven by it; man pages and completions
//! are held to it by a test (agent spec 3, 4.2).

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

/// Exit status when there is no command to run.
const NO_COMMAND: u8 = 127;

/// The command of that name; names must be complete. Some have two words, with one blank in between.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Whether this is the first word of names that have two.
pub fn is_group(word: &str) -> bool {
    let mut groups = COMMANDS.iter().filter_map(|c| c.name.split_once(' '));
    groups.any(|(group, _)| group == word)
}

/// Of commands that have none in the reference.
const FORMAT: Flag = own(flag(
    "format",
    Kind::Text,
    "FORMAT",
    "text",
    "Output as 'text' or as 'json'.",
));

/// Of commands that have one in the reference, and words of their own for what is no format.
const KNOWN_FORMAT: Flag = Flag {
    own: false,
    ..FORMAT
};

const REPLAY: Flag = flag(
    "replay",
    Kind::Switch,
    "",
    "false",
    "Take user events from before the join, too.",
);

/// Every command, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        arguments: "",
        summary: "Runs an agent: a node of the cluster",
        description: "Runs until it is told to leave or gets a signal: INT leaves the cluster first, TERM does not.",
        flags: AGENT_FLAGS,
        calls_agent: false,
        own: false,
        run: Run::Alone(commands::agent),
    },
    Command {
        name: "event",
        arguments: "NAME [PAYLOAD]",
        summary: "Sends a user event to the whole cluster",
        description: "Fires a user event. Each node hands it to its handlers.",
        flags: &[
            flag(
                "coalesce",
                Kind::Switch,
                "",
                "true",
                "Let receivers run one handler for several events of this name within a short time.",
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
        summary: "Turns a failed member into one that has left",
        description: "For a node that will not come back: the others stop trying to reach it.",
        flags: &[
            FORMAT,
            flag(
                "prune",
                Kind::Switch,
                "",
                "false",
                "Forget the member altogether.",
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
        description: "One line for each file, in the order in which they are run: the events that it is run for, or why it is not. Without an argument /etc/cottar/handlers.d. Several directories are checked as an agent that is given all of them sees them. It ends with 1 if anything is wrong.",
        flags: &[FORMAT],
        calls_agent: false,
        own: true,
        run: Run::Status(handler::check::check),
    },
    Command {
        name: "handler drop",
        arguments: "[NAME|ID]",
        summary: "Gives up events that wait for handlers",
        description: "Without an argument all that waits; else what waits for the handler of that name, or the event of that id. A run under way goes on.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::drop),
    },
    Command {
        name: "handler list",
        arguments: "",
        summary: "Shows an agent's handlers and what became of their runs",
        description: "One line a handler, in the order of registration: its name, filter and state, how much waits for it, its runs, failures, time-outs and drops, how long the last and the longest run took, and its script.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(handler::list),
    },
    Command {
        name: "handler pause",
        arguments: "NAME",
        summary: "Holds the runs of a handler back",
        description: "Events wait for the handler until it is resumed, or the agent ends. Other handlers go on.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::pause),
    },
    Command {
        name: "handler queue",
        arguments: "",
        summary: "Shows what waits for an agent's handlers",
        description: "One line for each event and handler, first things first: the event's id, how long it has waited, the event, the handler, how often the run has begun, and its state.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::queue),
    },
    Command {
        name: "handler resume",
        arguments: "NAME",
        summary: "Lets a handler go on that was paused",
        description: "What has waited for the handler is run, before all else.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Print(queue::resume),
    },
    Command {
        name: "handler run",
        arguments: "HANDLER EVENT NAME [PAYLOAD]|MEMBER...",
        summary: "Has an agent run one of its handlers now",
        description: "Runs the handler of that name for an event made up as for 'handler test', whatever its filter, and waits. It ends with the exit status of the handler. In a handler it does not wait.",
        flags: HANDLER_RUN_FLAGS,
        calls_agent: true,
        own: true,
        run: Run::Status(handler::runs::run),
    },
    Command {
        name: "handler sync",
        arguments: "[NAME]",
        summary: "Runs handlers with the state of the cluster",
        description: "Runs the handler of that name, or all that have 'sync' among their events, with all members as they are now, and waits. It ends with the first exit status of a run that is not 0. In a handler it does not wait.",
        flags: &[FORMAT],
        calls_agent: true,
        own: true,
        run: Run::Status(handler::runs::sync),
    },
    Command {
        name: "handler test",
        arguments: "SCRIPT EVENT NAME [PAYLOAD]|MEMBER...",
        summary: "Runs a handler as an agent would, without an agent",
        description: "SCRIPT may have a filter in front, FILTER=SCRIPT. EVENT is 'user' or 'query' with a NAME and perhaps a PAYLOAD, or a member event such as member-join with one MEMBER or more: NAME[,ADDRESS][,TAG=VALUE]... It ends with the exit status of the handler.",
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
        summary: "Shows an agent's figures for operators",
        description: "Prints what the agent tells about itself: runtime, counters, tags, event handlers.",
        flags: &[KNOWN_FORMAT],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::info),
    },
    Command {
        name: "join",
        arguments: "ADDRESS...",
        summary: "Makes a running agent join a cluster",
        description: "Each address is HOST or HOST:PORT of a node; it succeeds if one of them answers.",
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
                "Add this key to the rings of all members, who then understand it.",
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
                "Take this key off the rings of all members; it must not be the primary one.",
            ),
            flag(
                "use",
                Kind::Text,
                "KEY",
                "",
                "Make this installed key the primary one, with which members encrypt.",
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
        description: "Tells the other nodes that this one leaves on purpose, then ends the agent.",
        flags: &[FORMAT],
        calls_agent: true,
        own: false,
        run: Run::Print(commands::leave),
    },
    Command {
        name: "members",
        arguments: "",
        summary: "Lists the members of the cluster",
        description: "One line a member: name, address, status, tags. Expressions must match as a whole.",
        flags: MEMBERS_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(members::members),
    },
    Command {
        name: "monitor",
        arguments: "",
        summary: "Shows the log and the events of an agent as they come",
        description: "Prints the last lines of the agent's log, then new ones and all events, until it is interrupted. With -event only events, a line each, for scripts.",
        flags: MONITOR_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(monitor::monitor),
    },
    Command {
        name: "query",
        arguments: "NAME [PAYLOAD]",
        summary: "Asks all nodes and prints their answers",
        description: "Sends a query and collects acks and answers until its time is over.",
        flags: QUERY_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(query::query),
    },
    Command {
        name: "reachability",
        arguments: "",
        summary: "Tests whether all live members can be reached",
        description: "Sends a query that every node confirms and compares who did with who is alive.",
        flags: REACHABILITY_FLAGS,
        calls_agent: true,
        own: false,
        run: Run::Print(reachability::reachability),
    },
    Command {
        name: "rtt",
        arguments: "NODE1 [NODE2]",
        summary: "Estimates the round-trip time between two nodes",
        description: "Uses the coordinates of the nodes and sends nothing to them. Without NODE2: to the node of the agent.",
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
        description: "Prints the version, the Serf protocols that it speaks, and the features of this build.",
        flags: &[FORMAT],
        calls_agent: false,
        own: false,
        run: Run::Print(commands::version),
    },
    Command {
        name: "wait",
        arguments: "[NAME...]",
        summary: "Waits until members are there, or gone",
        description: "Blocks until so many members match: as told by the agent's events, without asking all the time. With names all of these must. Ends with 2 when the time is over.",
        flags: WAIT_FLAGS,
        calls_agent: true,
        own: true,
        run: Run::Print(wait::wait),
    },
];

/// The list of commands.
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

/// Lists the commands; as the reference has it, that is not what was wanted.
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
