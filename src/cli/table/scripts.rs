//! Flags of commands for use in scripts (agent spec 3.2, 3.4, 3.9).

use super::{FORMAT, KNOWN_FORMAT};
use crate::cli::command::{Flag, Kind, flag, own};

const NUL: Flag = own(flag(
    "0",
    Kind::Switch,
    "",
    "false",
    "With -fields: do not escape bytes, and end records with NUL instead of a newline.",
));

const NAME: Flag = flag(
    "name",
    Kind::Bytes,
    "REGEXP",
    "",
    "Only members whose name matches.",
);

const STATUS: Flag = flag(
    "status",
    Kind::Text,
    "REGEXP",
    "",
    "Only members whose status matches: alive, leaving, left or failed.",
);

const TAG: Flag = flag(
    "tag",
    Kind::ByteList,
    "KEY=REGEXP",
    "",
    "Only members whose tag KEY matches; may be given several times: all must match.",
);

pub(super) const MEMBERS_FLAGS: &[Flag] = &[
    NUL,
    flag(
        "detailed",
        Kind::Switch,
        "",
        "false",
        "Also show protocol versions; for text output.",
    ),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "Print only these fields, separated by tabs, one line per member: name, addr, ip, port, status, tags, tag:KEY, protocol.",
    )),
    KNOWN_FORMAT,
    NAME,
    flag(
        "role",
        Kind::Bytes,
        "REGEXP",
        "",
        "Only members whose tag 'role' matches. Deprecated: use -tag role=REGEXP.",
    ),
    STATUS,
    own(flag(
        "strict",
        Kind::Switch,
        "",
        "false",
        "Exit with 2 if no member matches.",
    )),
    TAG,
];

pub(super) const MONITOR_FLAGS: &[Flag] = &[
    own(flag(
        "count",
        Kind::Integer,
        "NUMBER",
        "0",
        "With -event: exit with 0 after this number of events; 0 means no limit.",
    )),
    own(flag(
        "event",
        Kind::ByteList,
        "FILTER",
        "",
        "Show only events that match, and no log; may be given several times. Comma-separated list of: member-join, member-leave, member-failed, member-update, member-reap, user, user:NAME, query, query:NAME, *.",
    )),
    FORMAT,
    flag(
        "log-level",
        Kind::Text,
        "LEVEL",
        "info",
        "Minimum level of log lines, independent of the agent's own: TRACE, DEBUG, INFO, WARN or ERR.",
    ),
    own(flag(
        "timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "With -event: exit with 2 after this time; 0 means never.",
    )),
];

pub(super) const QUERY_FLAGS: &[Flag] = &[
    NUL,
    own(flag(
        "expect",
        Kind::Text,
        "NUMBER|all",
        "",
        "Stop as soon as this number of nodes has answered, or all live members that the query is addressed to.",
    )),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "At the end, print these fields, separated by tabs, one line per answer: node, payload; or one line per ack: ack.",
    )),
    KNOWN_FORMAT,
    flag(
        "no-ack",
        Kind::Switch,
        "",
        "false",
        "Do not ask nodes to acknowledge the query.",
    ),
    flag(
        "node",
        Kind::ByteList,
        "NAME",
        "",
        "Send the query to this node only; may be given several times.",
    ),
    flag(
        "relay-factor",
        Kind::Integer,
        "NUMBER",
        "0",
        "Number of other nodes, 0 to 255, that relay copies of each answer.",
    ),
    own(flag(
        "strict",
        Kind::Switch,
        "",
        "false",
        "Exit with 2 if no node answers, or fewer than -expect demands.",
    )),
    flag(
        "tag",
        Kind::ByteList,
        "KEY=REGEXP",
        "",
        "Send the query only to nodes with a matching tag; may be given several times: all must match.",
    ),
    flag(
        "timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "How long to collect answers; with 0, the agent chooses by the size of the cluster.",
    ),
];

pub(super) const REACHABILITY_FLAGS: &[Flag] = &[
    FORMAT,
    own(flag(
        "strict",
        Kind::Switch,
        "",
        "false",
        "Exit with 2 instead of 1 if not exactly the live members acknowledged.",
    )),
    flag(
        "verbose",
        Kind::Switch,
        "",
        "false",
        "Also show each ack and the times.",
    ),
];

pub(super) const WAIT_FLAGS: &[Flag] = &[
    NUL,
    flag(
        "count",
        Kind::Integer,
        "NUMBER",
        "1",
        "Minimum number of members that must match; 0 waits until none matches. With names, the default is their number.",
    ),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "Print these fields of matching members, separated by tabs, one line per member: name, addr, ip, port, status, tags, tag:KEY, protocol.",
    )),
    FORMAT,
    NAME,
    flag(
        "retry",
        Kind::Switch,
        "",
        "false",
        "Retry instead of failing while no agent answers, for example while it restarts.",
    ),
    Flag {
        default: "alive",
        ..STATUS
    },
    TAG,
    flag(
        "timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "How long to wait; 0 means no limit.",
    ),
];
