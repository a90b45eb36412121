//! The flags of `handler run` and `handler test`.

use super::FORMAT;
use crate::cli::command::{Flag, Kind, flag};

const LTIME: Flag = flag(
    "ltime",
    Kind::Integer,
    "NUMBER",
    "1",
    "Lamport time of the user event or query.",
);

const PAYLOAD: Flag = flag(
    "payload",
    Kind::Bytes,
    "FILE",
    "",
    "Read the payload from this file; '-' is standard input.",
);

const QUIET: Flag = flag(
    "quiet",
    Kind::Switch,
    "",
    "false",
    "Show the output of the handler and nothing else.",
);

pub(super) const HANDLER_RUN_FLAGS: &[Flag] = &[FORMAT, LTIME, PAYLOAD, QUIET];

pub(super) const HANDLER_TEST_FLAGS: &[Flag] = &[
    flag(
        "coalesce",
        Kind::Switch,
        "",
        "true",
        "Whether the user event may be coalesced. No handler can tell.",
    ),
    flag(
        "config-file",
        Kind::ByteList,
        "FILE",
        "",
        "Take SCRIPT as the name of a handler in this configuration file, and apply its settings; may be given several times.",
    ),
    FORMAT,
    flag(
        "handler-grace",
        Kind::Duration,
        "DURATION",
        "1s",
        "How long to wait for output that background processes keep open, as for the agent.",
    ),
    flag(
        "handler-timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "Time after which the handler is ended, as for the agent; 0 lets it run for ever.",
    ),
    LTIME,
    flag(
        "node",
        Kind::Bytes,
        "NAME",
        "",
        "Name of the node that the handler runs on. The default is the host's name.",
    ),
    PAYLOAD,
    flag(
        "query-response-size-limit",
        Kind::Integer,
        "BYTES",
        "1024",
        "Limit of an answer with what is around it, as in the agent's configuration.",
    ),
    QUIET,
    flag(
        "role",
        Kind::Bytes,
        "ROLE",
        "",
        "Value of the node's tag 'role'.",
    ),
    flag(
        "tag",
        Kind::ByteList,
        "KEY=VALUE",
        "",
        "Tag of the node; may be given several times.",
    ),
];
