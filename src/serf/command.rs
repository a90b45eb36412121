//! Inputs, commands and outputs of a node.

use std::net::SocketAddr;

use super::query::key_report::{KeyReport, KeyringChange, RawKey};
use super::snapshot::SnapshotLine;
use super::{
    Event, LamportTime, MemberEventKind, QueryHandlers, StreamEnd, StreamId, Tags, Transmit,
    UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::{Key, NodeName};

/// Identifies a command; chosen by the shell and repeated in [`Output::CommandEnded`] and
/// [`Output::QueryRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// An input to the node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived on the gossip socket.
    Datagram {
        /// Its source address.
        from: SocketAddr,
        /// The complete datagram.
        bytes: &'a [u8],
    },
    /// A stream was accepted.
    StreamAccepted {
        /// Its inbound id, which was never used before.
        stream: StreamId,
        /// Address of the peer.
        peer: SocketAddr,
    },
    /// A stream that the core opened is connected.
    StreamConnected(StreamId),
    /// Bytes arrived on a stream.
    StreamData {
        /// The stream.
        stream: StreamId,
        /// The received bytes.
        bytes: &'a [u8],
    },
    /// A stream was closed by the peer, could not be connected, or broke.
    StreamClosed {
        /// The stream.
        stream: StreamId,
        /// The reason.
        end: StreamEnd,
    },
    /// The deadline returned by [`super::Serf::poll_timeout`] has passed.
    Timeout,
    /// The keyring file for an [`Output::KeyringChanged`] was written, or writing failed.
    KeyringWritten {
        /// The change.
        change: KeyringChange,
        /// Error text that completes `Failed to write keyring file: `.
        result: Result<(), String>,
    },
    /// Replaces the set of handlers for queries; it is empty at the start.
    QueryHandlers(QueryHandlers),
    /// All handlers of a delivered query have finished or will not run; no further response follows.
    QueryHandled {
        /// Lamport time of the query.
        ltime: LamportTime,
        /// Id of the query.
        id: u32,
    },
    /// A user event from the journal of an earlier run; it counts as seen.
    Journalled {
        /// The event.
        event: UserEvent,
        /// The event was still in the coalescer and was not handed over, so it returns there.
        is_coalescing: bool,
    },
    /// The process ends now, whether or not the node has left; the snapshot gets the clocks.
    ///
    /// Events that wait for earlier ones or for coalescing are not handed over, because no handler runs any
    /// more. They are not in the snapshot, so a node that continues from it receives them again.
    Shutdown,
    /// A command from the local agent.
    Command {
        /// Unique id, chosen by the shell.
        id: CommandId,
        /// The command.
        command: Command,
    },
}

/// A resolved address to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTarget {
    /// The name before `/`; informative and not checked (gossip spec 4.12).
    pub name: Option<NodeName>,
    /// IP address and port.
    pub addr: SocketAddr,
}

/// Parameters of a query.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueryParams {
    /// Name.
    pub name: Vec<u8>,
    /// Payload; `None` for nil.
    pub payload: Option<Vec<u8>>,
    /// Names of the nodes that should answer; empty: all nodes.
    pub filter_nodes: Vec<Vec<u8>>,
    /// Tag filters: name and expression. Only nodes whose tags match should answer.
    pub filter_tags: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether receivers should send an ack.
    pub request_ack: bool,
    /// Number of extra copies of each reply that are relayed through other nodes.
    pub relay_factor: u8,
    /// Timeout; `None`: the default of gossip spec 5.8.1. Negative values from RPC become zero.
    pub timeout: Option<Duration>,
}

/// A command to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Exchange states with each address in turn, and broadcast a join intent if at least one exchange
    /// succeeded. Ends with [`CommandResult::Joined`].
    Join {
        /// Addresses to join.
        targets: Vec<JoinTarget>,
        /// Ignore user events from before the join (the agent's default, without `-replay`).
        ignore_old_events: bool,
        /// Whether to broadcast a join intent: true for joins by command, false for reconnects and rejoins
        /// (5.12).
        announce: bool,
    },
    /// Leave gracefully. Ends with [`CommandResult::Done`]; a second leave waits for the first. The shell
    /// then stops the agent. Later joins fail.
    Leave,
    /// Mark a failed member as left; with `prune`, remove it. Ends when the intent was transmitted or after
    /// the broadcast timeout. A member that seems alive has the same time to refute; if it does, the command
    /// fails and nothing is pruned.
    ForceLeave {
        /// Name of the member; the command succeeds for unknown names.
        node: Vec<u8>,
        /// Remove the member from the list.
        prune: bool,
    },
    /// Fire a user event. Ends at once with [`CommandResult::Fired`].
    UserEvent {
        /// Name.
        name: Vec<u8>,
        /// Payload; `None` for nil.
        payload: Option<Vec<u8>>,
        /// Receivers may coalesce the event.
        coalesce: bool,
    },
    /// Send a query. Ends at once with [`CommandResult::Queried`]; records follow until
    /// [`QueryRecord::Done`].
    Query(QueryParams),
    /// Stop collecting responses to the query of that command. No more records follow, not even `Done`.
    ForgetQuery(CommandId),
    /// Respond to a query that was delivered as an [`Event::Query`].
    Respond {
        /// Lamport time of the query.
        ltime: LamportTime,
        /// Id of the query.
        id: u32,
        /// The response; may be empty.
        payload: Vec<u8>,
    },
    /// Replace all tags. Ends when the change was transmitted or after the broadcast timeout.
    SetTags(Tags),
    /// Add a key to the rings of all members. This and the other key commands end with
    /// [`CommandResult::Keys`] when all live members have answered or after the default query timeout.
    InstallKey(RawKey),
    /// Make an installed key the primary key of all members.
    UseKey(RawKey),
    /// Remove a key from the rings of all members.
    RemoveKey(RawKey),
    /// Collect the keys of all members.
    ListKeys,
}

/// Result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// The command succeeded.
    Done,
    /// A user event was fired with this Lamport time.
    Fired(LamportTime),
    /// A join ended.
    Joined {
        /// Number of successful exchanges.
        contacted: usize,
        /// The other addresses, each with an error text that completes `failed to join ADDR: `.
        failures: Vec<(JoinTarget, String)>,
    },
    /// A query was sent.
    Queried {
        /// Its Lamport time.
        ltime: LamportTime,
        /// Its id.
        id: u32,
        /// End of the collection of responses.
        deadline: Instant,
    },
    /// Outcome of a key command, which may have failed; see [`KeyReport::error`].
    Keys(Box<KeyReport>),
    /// The command failed; error text in the reference's wording.
    Failed(String),
}

/// A record of a running query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryRecord {
    /// A node received the query. At most once per node.
    Ack {
        /// The node.
        from: NodeName,
    },
    /// A node responded. At most once per node.
    Response {
        /// The node.
        from: NodeName,
        /// The response; `None` for nil.
        payload: Option<Vec<u8>>,
    },
    /// The query's time is over; no more records follow.
    Done,
}

/// Outputs of the node, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A network operation.
    Transmit(Transmit),
    /// A user event was accepted, and must be recorded in the journal; only if [`super::Config::journal`] is
    /// set. [`Output::Event`] follows in its order, unless a later event with the same name replaces it in
    /// the coalescer.
    Accepted(UserEvent),
    /// A member changed, before coalescing; only if [`super::Config::member_changes`] is set.
    MemberChanged {
        /// The member.
        name: NodeName,
        /// Kind of change; `None`: the changes since the last event cancelled out, and no event follows.
        kind: Option<MemberEventKind>,
    },
    /// An event for handlers and RPC streams, after coalescing.
    Event(Event),
    /// A command ended.
    CommandEnded {
        /// The command.
        id: CommandId,
        /// Its result.
        result: CommandResult,
    },
    /// A record of a query by this node.
    QueryRecord {
        /// The command that sent the query.
        id: CommandId,
        /// The record.
        record: QueryRecord,
    },
    /// A line for the snapshot file, only if [`super::Config::snapshot`] is set. Precedes the events that it
    /// describes.
    Snapshot(SnapshotLine),
    /// The keyring changed: write the keyring file, then report with [`Input::KeyringWritten`]. Only if
    /// [`super::Config::keyring_file`] is set; the answer to the requester waits for the report.
    KeyringChanged {
        /// Identifies the change.
        change: KeyringChange,
        /// All keys, the primary key first.
        keys: Vec<Key>,
    },
    /// Another node won this node's name (gossip spec 5.11): the process must exit with a failure status and
    /// without leaving.
    Stop,
}

/// Lifecycle of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Alive,
    Leaving,
    Left,
}

/// Statistics for `info` (agent spec 2.4, stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stats {
    pub members: usize,
    pub failed: usize,
    pub left: usize,
    pub health_score: u32,
    pub member_time: u64,
    pub event_time: u64,
    pub query_time: u64,
    pub intent_queue: usize,
    pub event_queue: usize,
    pub query_queue: usize,
    pub encrypted: bool,
    /// `None` if coordinates are disabled.
    pub coordinate_resets: Option<u64>,
}

/// Counters since the start, for logs and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that could not be decoded.
    pub dropped_malformed: u64,
    /// Well-formed messages dropped by a rule of gossip spec 8.6 or 8.7.
    pub dropped_refused: u64,
    /// Broadcasts dropped from full queues before their first transmission.
    pub dropped_unsent: u64,
    /// User events dropped because they arrived so late that duplicates can no longer be detected.
    pub dropped_old_events: u64,
    /// New user events dropped because the limit of events per Lamport time or per push/pull was reached.
    pub dropped_crowded_events: u64,
    /// User events handed over after one with a later time.
    pub events_out_of_order: u64,
    /// Queries of other nodes handed over after one with a later time.
    pub queries_out_of_order: u64,
    /// User events and queries handed over before the earlier ones they waited for, because the limit of
    /// waiting ones was exceeded.
    pub order_pushed_out: u64,
    /// User events sent to members whose summary showed that they lacked them.
    pub repair_events_sent: u64,
    /// New user events received in the exchanges of the four counters that follow.
    pub repair_events_fetched: u64,
    /// State exchanges started because a Lamport time of the event clock stayed without an event.
    pub repair_exchanges_for_gaps: u64,
    /// State exchanges started because a member's digest of recent events differed.
    pub repair_exchanges_for_digests: u64,
    /// State exchanges started because the event clock jumped.
    pub repair_exchanges_for_jumps: u64,
    /// State exchanges with members that run no cottar, started because datagrams were lost while events
    /// arrived.
    pub repair_exchanges_for_losses: u64,
    /// Lamport times given up because three members had no event for them.
    pub repair_times_given_up: u64,
    /// Pings outside the probe cycle that carried an event summary.
    pub repair_pings: u64,
    /// Duplicate acks and replies.
    pub duplicate_responses: u64,
    /// Round trips measured as zero.
    pub zero_round_trips: u64,
    /// The acks among `duplicate_responses`.
    pub duplicate_acks: u64,
    /// Acks of queries by this node.
    pub acks: u64,
    /// Replies to queries by this node.
    pub responses: u64,
    /// Joins of members, before coalescing.
    pub joined: u64,
    /// Leaves of members, before coalescing.
    pub left: u64,
    /// Failures of members, before coalescing.
    pub failed: u64,
    /// Updates of members, before coalescing.
    pub updated: u64,
    /// Members that returned within a minute after they failed, which hints at a network problem.
    pub flapped: u64,
    /// Datagrams that repeated a query to members that had not acked or replied.
    pub queries_repeated: u64,
    /// Repeated queries of other nodes that were acked or answered again.
    pub repeats_answered: u64,
    /// Acks and replies that matched no running query.
    pub late_responses: u64,
    /// Coordinates that were malformed or rejected by the distance update.
    pub refused_coordinates: u64,
}

impl Counters {
    /// Returns the number of state exchanges started to repair missed events.
    pub fn repair_exchanges(&self) -> u64 {
        self.repair_exchanges_for_gaps
            + self.repair_exchanges_for_digests
            + self.repair_exchanges_for_jumps
            + self.repair_exchanges_for_losses
    }
}
