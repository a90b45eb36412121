//! The flags of the commands that scripts ask (agent spec 3.2, 3.4, 3.9).

use super::{FORMAT, KNOWN_FORMAT};
use crate::cli::command::{Flag, Kind, flag, own};

const NUL: Flag = own(flag(
    "0",
    Kind::Switch,
    "",
    "false",
    "With -fields: bytes as they are, and NUL instead of a line end.",
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
    "Only members whose tag KEY matches; may be given several times, then all must match.",
);

pub(super) const MEMBERS_FLAGS: &[Flag] = &[
    NUL,
    flag(
        "detailed",
        Kind::Switch,
        "",
        "false",
        "Show protocol versions, too; for text output.",
    ),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "Print only these, a line each member, with tabs in between: name, addr, ip, port, status, tags, tag:KEY, protocol.",
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
        "End with 2 if no member matches.",
    )),
    TAG,
];

pub(super) const MONITOR_FLAGS: &[Flag] = &[
    own(flag(
        "count",
        Kind::Integer,
        "NUMBER",
        "0",
        "With -event: end with 0 after so many events; 0: go on.",
    )),
    own(flag(
        "event",
        Kind::ByteList,
        "FILTER",
        "",
        "Show only such events, and no log; may be given several times. Filters with commas in between: member-join, member-leave, member-failed, member-update, member-reap, user, user:NAME, query, query:NAME, *.",
    )),
    FORMAT,
    flag(
        "log-level",
        Kind::Text,
        "LEVEL",
        "info",
        "Least level of the lines: TRACE, DEBUG, INFO, WARN or ERR, whatever the agent itself prints.",
    ),
    own(flag(
        "timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "With -event: end with 2 after so long; 0: never.",
    )),
];

pub(super) const QUERY_FLAGS: &[Flag] = &[
    NUL,
    own(flag(
        "expect",
        Kind::Text,
        "NUMBER|all",
        "",
        "Stop as soon as so many nodes have answered, or all live members that the query is for.",
    )),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "Print only these, a line each answer, with tabs in between, at the end: node, payload; or a line each ack: ack.",
    )),
    KNOWN_FORMAT,
    flag(
        "no-ack",
        Kind::Switch,
        "",
        "false",
        "Do not ask nodes to confirm that they got the query.",
    ),
    flag(
        "node",
        Kind::ByteList,
        "NAME",
        "",
        "Ask this node only; may be given several times.",
    ),
    flag(
        "relay-factor",
        Kind::Integer,
        "NUMBER",
        "0",
        "Number of other nodes, 0 to 255, through which copies of each answer travel.",
    ),
    own(flag(
        "strict",
        Kind::Switch,
        "",
        "false",
        "End with 2 if nobody answers, or not all that -expect names.",
    )),
    flag(
        "tag",
        Kind::ByteList,
        "KEY=REGEXP",
        "",
        "Ask only nodes with a matching tag; may be given several times, then all must match.",
    ),
    flag(
        "timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "How long to collect answers; 0 leaves it to the agent, which goes by the size of the cluster.",
    ),
];

pub(super) const REACHABILITY_FLAGS: &[Flag] = &[
    FORMAT,
    own(flag(
        "strict",
        Kind::Switch,
        "",
        "false",
        "End with 2, not with 1, if not exactly the live members have confirmed.",
    )),
    flag(
        "verbose",
        Kind::Switch,
        "",
        "false",
        "Show each answer and the times, too.",
    ),
];

pub(super) const WAIT_FLAGS: &[Flag] = &[
    NUL,
    flag(
        "count",
        Kind::Integer,
        "NUMBER",
        "1",
        "How many members must match, at least; 0: none at all. With names the default is their number.",
    ),
    own(flag(
        "fields",
        Kind::Text,
        "FIELD,...",
        "",
        "Print of the members that match only these, a line each member, with tabs in between: name, addr, ip, port, status, tags, tag:KEY, protocol.",
    )),
    FORMAT,
    NAME,
    flag(
        "retry",
        Kind::Switch,
        "",
        "false",
        "Do not fail while no agent answers, as before it has started or while it starts anew, but try again.",
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
        "How long to wait; 0 for ever.",
    ),
];
