//! Flags of `handler run` and `handler test`.

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
    "Show only the output of the handler.",
);

pub(super) const HANDLER_RUN_FLAGS: &[Flag] = &[FORMAT, LTIME, PAYLOAD, QUIET];

pub(super) const HANDLER_TEST_FLAGS: &[Flag] = &[
    flag(
        "coalesce",
        Kind::Switch,
        "",
        "true",
        "Whether the user event may be coalesced; makes no difference to the handler.",
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
        "How long to wait while background processes hold the output open, as for the agent.",
    ),
    flag(
        "handler-timeout",
        Kind::Duration,
        "DURATION",
        "0s",
        "Time limit of the handler, as for the agent; 0 means no limit.",
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
        "Maximum size of an answer message, as in the agent's configuration.",
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
