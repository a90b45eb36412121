//! The one table of commands and flags. Parsing and help are driven by it; man pages and completions
//! are held to it by a test (agent spec 3, 4.2).

mod agent;
mod handler;
mod scripts;

use agent::AGENT_FLAGS;
use handler::HANDLER_TEST_FLAGS;
use scripts::{MEMBERS_FLAGS, QUERY_FLAGS, REACHABILITY_FLAGS, WAIT_FLAGS};

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`/`=false`.
    Switch,
    /// Any text; of several the last one counts.
    Text,
    /// Any text; several are collected.
    List,
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
        matches!(self, Kind::List)
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
}

/// Flags whose values are paths, scripts, payloads, names of nodes or tags: any bytes, as the system has them.
const BYTES: [&str; 15] = [
    "config-dir",
    "config-file",
    "delete",
    "event-handler",
    "journal",
    "keyring-file",
    "label",
    "name",
    "node",
    "payload",
    "role",
    "set",
    "snapshot",
    "tag",
    "tags-file",
];

impl Flag {
    /// Whether the value may be any bytes; others are UTF-8.
    pub fn takes_bytes(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::List) && BYTES.contains(&self.name)
    }
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
}

impl Command {
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

/// The command of that name; names must be complete. Some have two words, with one blank in between.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Whether this is the first word of names that have two.
pub fn is_group(word: &str) -> bool {
    let mut groups = COMMANDS.iter().filter_map(|c| c.name.split_once(' '));
    groups.any(|(group, _)| group == word)
}

const fn flag(
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
    }
}

/// Flags of every command that calls an agent.
pub const RPC_FLAGS: &[Flag] = &[
    flag(
        "rpc-addr",
        Kind::Text,
        "HOST:PORT",
        "127.0.0.1:7373",
        "RPC address of the agent. SERF_RPC_ADDR in the environment changes the default.",
    ),
    flag(
        "rpc-auth",
        Kind::Text,
        "KEY",
        "",
        "Key that the agent asks for. The default is SERF_RPC_AUTH from the environment; an empty value here switches that off.",
    ),
];

const FORMAT: Flag = flag(
    "format",
    Kind::Text,
    "FORMAT",
    "text",
    "Output as 'text' or as 'json'.",
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
    },
    Command {
        name: "handler drop",
        arguments: "[NAME|ID]",
        summary: "Gives up events that wait for handlers",
        description: "Without an argument all that waits; else what waits for the handler of that name, or the event of that id. A run under way goes on.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "handler list",
        arguments: "",
        summary: "Shows an agent's handlers and what became of their runs",
        description: "One line a handler, in the order of registration: its name, filter and state, how much waits for it, its runs, failures, time-outs and drops, how long the last and the longest run took, and its script.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "handler pause",
        arguments: "NAME",
        summary: "Holds the runs of a handler back",
        description: "Events wait for the handler until it is resumed, or the agent ends. Other handlers go on.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "handler queue",
        arguments: "",
        summary: "Shows what waits for an agent's handlers",
        description: "One line for each event and handler, first things first: the event's id, how long it has waited, the event, the handler, how often the run has begun, and its state.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "handler resume",
        arguments: "NAME",
        summary: "Lets a handler go on that was paused",
        description: "What has waited for the handler is run, before all else.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "handler test",
        arguments: "SCRIPT EVENT NAME [PAYLOAD]|MEMBER...",
        summary: "Runs a handler as an agent would, without an agent",
        description: "SCRIPT may have a filter in front, FILTER=SCRIPT. EVENT is 'user' or 'query' with a NAME and perhaps a PAYLOAD, or a member event such as member-join with one MEMBER or more: NAME[,ADDRESS][,TAG=VALUE]... It ends with the exit status of the handler.",
        flags: HANDLER_TEST_FLAGS,
        calls_agent: false,
    },
    Command {
        name: "help",
        arguments: "",
        summary: "Lists the commands",
        description: "Prints the list of commands.",
        flags: &[],
        calls_agent: false,
    },
    Command {
        name: "info",
        arguments: "",
        summary: "Shows an agent's figures for operators",
        description: "Prints what the agent tells about itself: runtime, counters, tags, event handlers.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "join",
        arguments: "ADDRESS...",
        summary: "Makes a running agent join a cluster",
        description: "Each address is HOST or HOST:PORT of a node; it succeeds if one of them answers.",
        flags: &[
            FORMAT,
            flag(
                "replay",
                Kind::Switch,
                "",
                "false",
                "Take user events from before the join, too.",
            ),
        ],
        calls_agent: true,
    },
    Command {
        name: "keygen",
        arguments: "",
        summary: "Makes a new encryption key",
        description: "Prints 32 random bytes in base64, for -encrypt, for a keyring file or for keys -install.",
        flags: &[FORMAT],
        calls_agent: false,
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
    },
    Command {
        name: "leave",
        arguments: "",
        summary: "Makes an agent leave the cluster and end",
        description: "Tells the other nodes that this one leaves on purpose, then ends the agent.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "members",
        arguments: "",
        summary: "Lists the members of the cluster",
        description: "One line a member: name, address, status, tags. Expressions must match as a whole.",
        flags: MEMBERS_FLAGS,
        calls_agent: true,
    },
    Command {
        name: "monitor",
        arguments: "",
        summary: "Shows the log and the events of an agent as they come",
        description: "Prints the last lines of the agent's log, then new ones and all events, until it is interrupted.",
        flags: &[
            FORMAT,
            flag(
                "log-level",
                Kind::Text,
                "LEVEL",
                "info",
                "Least level of the lines: TRACE, DEBUG, INFO, WARN or ERR, whatever the agent itself prints.",
            ),
        ],
        calls_agent: true,
    },
    Command {
        name: "query",
        arguments: "NAME [PAYLOAD]",
        summary: "Asks all nodes and prints their answers",
        description: "Sends a query and collects acks and answers until its time is over.",
        flags: QUERY_FLAGS,
        calls_agent: true,
    },
    Command {
        name: "reachability",
        arguments: "",
        summary: "Tests whether all live members can be reached",
        description: "Sends a query that every node confirms and compares who did with who is alive.",
        flags: REACHABILITY_FLAGS,
        calls_agent: true,
    },
    Command {
        name: "rtt",
        arguments: "NODE1 [NODE2]",
        summary: "Estimates the round-trip time between two nodes",
        description: "Uses the coordinates of the nodes and sends nothing to them. Without NODE2: to the node of the agent.",
        flags: &[FORMAT],
        calls_agent: true,
    },
    Command {
        name: "tags",
        arguments: "",
        summary: "Changes the tags of a running agent",
        description: "Sets and deletes tags; a tag that is both set and deleted is set.",
        flags: &[
            flag(
                "delete",
                Kind::List,
                "KEY",
                "",
                "Delete this tag; may be given several times.",
            ),
            FORMAT,
            flag(
                "set",
                Kind::List,
                "KEY=VALUE",
                "",
                "Set this tag; may be given several times.",
            ),
        ],
        calls_agent: true,
    },
    Command {
        name: "version",
        arguments: "",
        summary: "Prints the version",
        description: "Prints the version, the Serf protocols that it speaks, and the features of this build.",
        flags: &[FORMAT],
        calls_agent: false,
    },
    Command {
        name: "wait",
        arguments: "[NAME...]",
        summary: "Waits until members are there, or gone",
        description: "Blocks until so many members match: as told by the agent's events, without asking all the time. With names all of these must. Ends with 2 when the time is over.",
        flags: WAIT_FLAGS,
        calls_agent: true,
    },
];
