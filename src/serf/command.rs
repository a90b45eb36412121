//! What goes into a node and what comes out of it.

use std::net::SocketAddr;

use super::query::key_report::{KeyReport, KeyringChange, RawKey};
use super::snapshot::SnapshotLine;
use super::{
    Event, LamportTime, MemberEventKind, QueryHandlers, StreamEnd, StreamId, Tags, Transmit,
    UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::{Key, NodeName};

/// Names a command, chosen by the shell; comes back in [`Output::CommandEnded`] and
/// [`Output::QueryRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What happens to the node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived on the gossip socket.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// A stream was accepted.
    StreamAccepted {
        /// Its inbound id, never used before.
        stream: StreamId,
        /// The other side.
        peer: SocketAddr,
    },
    /// A stream that the core asked for is connected.
    StreamConnected(StreamId),
    /// Bytes arrived on a stream.
    StreamData {
        /// Which.
        stream: StreamId,
        /// What.
        bytes: &'a [u8],
    },
    /// A stream was closed by the other side, could not be connected, or broke.
    StreamClosed {
        /// Which.
        stream: StreamId,
        /// Why.
        end: StreamEnd,
    },
    /// The deadline of [`super::Serf::poll_timeout`] has come.
    Timeout,
    /// The keys of an [`Output::KeyringChanged`] are in the keyring file, or are not.
    KeyringWritten {
        /// Which.
        change: KeyringChange,
        /// Why they are not; completes `Failed to write keyring file: `.
        result: Result<(), String>,
    },
    /// The handlers that there are for queries, from now on; none before.
    QueryHandlers(QueryHandlers),
    /// The handlers of a delivered query have all run, or none will; no answer of theirs comes any
    /// more.
    QueryHandled {
        /// Of the query.
        ltime: LamportTime,
        /// Of the query.
        id: u32,
    },
    /// The journal of an earlier life holds a user event: it counts as seen.
    Journalled {
        /// The event.
        event: UserEvent,
        /// It had not been handed over, because it was in the coalescer: it goes there again.
        is_coalescing: bool,
    },
    /// The program ends now, whether the node has left or not: the snapshot gets the clock.
    ///
    /// Events that wait for earlier ones or to be coalesced are not handed over: no handler runs any
    /// more. As the snapshot does not note them, a node that goes on from it gets them again.
    Shutdown,
    /// Somebody on this side wants something.
    Command {
        /// Named by the shell, unique.
        id: CommandId,
        /// What.
        command: Command,
    },
}

/// An address to join, resolved by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTarget {
    /// The name in front of `/`; a label, not checked (gossip spec 4.12).
    pub name: Option<NodeName>,
    /// Address and port.
    pub addr: SocketAddr,
}

/// What a query asks and whom.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueryParams {
    /// Name.
    pub name: Vec<u8>,
    /// Payload; `None` for nil.
    pub payload: Option<Vec<u8>>,
    /// Only these nodes; empty: all.
    pub filter_nodes: Vec<Vec<u8>>,
    /// Only nodes whose tag matches: tag, expression.
    pub filter_tags: Vec<(Vec<u8>, Vec<u8>)>,
    /// Nodes that get it should ack.
    pub request_ack: bool,
    /// Extra copies of each reply through other nodes.
    pub relay_factor: u8,
    /// `None`: the default of gossip spec 5.8.1. Negative ones of the RPC arrive as zero.
    pub timeout: Option<Duration>,
}

/// What somebody on this side wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Exchange state with each address, one after the other; a join intent follows if one worked.
    /// Ends with [`CommandResult::Joined`].
    Join {
        /// Addresses.
        targets: Vec<JoinTarget>,
        /// Take no user events from before the join (the daemon's default, `-replay` off).
        ignore_old_events: bool,
        /// A join asked for by somebody; reconnects and rejoins broadcast no intent (5.12).
        announce: bool,
    },
    /// Leave gracefully. Ends with [`CommandResult::Done`] when it is through; a second one waits
    /// for the first. The shell then stops. Afterwards joins fail.
    Leave,
    /// Mark a failed member as left; with `prune` forget it. Ends when the intent was spread, at the
    /// latest after the broadcast timeout. A member that seems to live has as long to object; then the
    /// command fails and nothing is pruned.
    ForceLeave {
        /// Whom; unknown names succeed.
        node: Vec<u8>,
        /// Forget it.
        prune: bool,
    },
    /// Fire a user event. Ends at once.
    UserEvent {
        /// Name.
        name: Vec<u8>,
        /// Payload; `None` for nil.
        payload: Option<Vec<u8>>,
        /// Receivers may coalesce it.
        coalesce: bool,
    },
    /// Ask. Ends at once with the query's time and id; records follow until
    /// [`QueryRecord::Done`].
    Query(QueryParams),
    /// Stop collecting for a query of that command; no more records follow, not even `Done`.
    ForgetQuery(CommandId),
    /// Answer a query that was delivered as an [`Event::Query`].
    Respond {
        /// Of the query.
        ltime: LamportTime,
        /// Of the query.
        id: u32,
        /// The answer; may be empty.
        payload: Vec<u8>,
    },
    /// Replace all tags. Ends when the news was spread, at the latest after the broadcast timeout.
    SetTags(Tags),
    /// All members add a key to their rings. Ends, as the other three, with
    /// [`CommandResult::Keys`] as soon as all members that are up have answered, at the latest
    /// after the default query timeout.
    InstallKey(RawKey),
    /// All members make a key of their rings the primary one.
    UseKey(RawKey),
    /// All members drop a key.
    RemoveKey(RawKey),
    /// All members tell their keys.
    ListKeys,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// It worked.
    Done,
    /// A user event was fired, at this time.
    Fired(LamportTime),
    /// A join ended: contacted addresses, and for each failed one why (in words that complete
    /// `failed to join ADDR: `).
    Joined {
        /// Number of successful exchanges.
        contacted: usize,
        /// The others.
        failures: Vec<(JoinTarget, String)>,
    },
    /// A query was sent.
    Queried {
        /// Its time.
        ltime: LamportTime,
        /// Its id.
        id: u32,
        /// Until when answers are collected.
        deadline: Instant,
    },
    /// What became of a key command; it may have failed, see [`KeyReport::error`].
    Keys(Box<KeyReport>),
    /// It did not work; the reference's words.
    Failed(String),
}

/// What comes back for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryRecord {
    /// A node got it. At most once a node.
    Ack {
        /// Which.
        from: NodeName,
    },
    /// A node answered. At most once a node.
    Response {
        /// Which.
        from: NodeName,
        /// What; `None` for nil.
        payload: Option<Vec<u8>>,
    },
    /// Its time is over; nothing follows.
    Done,
}

/// What the node wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something for the network.
    Transmit(Transmit),
    /// A user event was taken in: for the journal, if [`super::Config::journal`] is set. It follows as
    /// [`Output::Event`] once it is its turn, unless a later event of its name takes its place in the
    /// coalescer.
    Taken(UserEvent),
    /// Something happened to a member, before coalescing; if [`super::Config::member_changes`] is set.
    MemberChanged {
        /// To whom.
        name: NodeName,
        /// What; `None`: what has happened since the last event came to nothing, and no event tells of it.
        kind: Option<MemberEventKind>,
    },
    /// Something for handlers and RPC streams, after coalescing.
    Event(Event),
    /// A command ended.
    CommandEnded {
        /// Which.
        id: CommandId,
        /// How.
        result: CommandResult,
    },
    /// Something came back for a query of this node.
    QueryRecord {
        /// The query's command.
        id: CommandId,
        /// What.
        record: QueryRecord,
    },
    /// A line for the snapshot file, if [`super::Config::snapshot`] is set. Comes before the events
    /// that it is about.
    Snapshot(SnapshotLine),
    /// The ring has changed: write the keyring file, then tell with [`Input::KeyringWritten`]. Only
    /// if [`super::Config::keyring_file`] is set; the answer to whoever asked for the change waits.
    KeyringChanged {
        /// Names it.
        change: KeyringChange,
        /// All keys, the primary one first.
        keys: Vec<Key>,
    },
    /// The node lost its name to another (gossip spec 5.11): the program must end, without a leave
    /// and with a failure's status.
    Stop,
}

/// Life of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Alive,
    Leaving,
    Left,
}

/// Figures for `info` (agent spec 2.4, stats).
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
    /// `None`: coordinates are off.
    pub coordinate_resets: Option<u64>,
}

/// Counters since the start, for logs and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that could not be decoded.
    pub dropped_malformed: u64,
    /// Well-formed messages dropped by a rule of gossip spec 8.6 or 8.7.
    pub dropped_refused: u64,
    /// Broadcasts of full queues that were given up before they had been sent to anybody.
    pub dropped_unsent: u64,
    /// User events that were gossiped so late that nobody can tell whether they were seen before.
    pub dropped_old_events: u64,
    /// New user events for which there was no room among those of their time, or of their push/pull.
    pub dropped_crowded_events: u64,
    /// User events that were handed over after one of a later time.
    pub events_out_of_order: u64,
    /// Queries of other nodes that were handed over after another such one of a later time.
    pub queries_out_of_order: u64,
    /// User events and queries that waited for earlier ones and had to go before their time, because
    /// too many waited.
    pub order_pushed_out: u64,
    /// User events that were sent to members whose summary showed that they lacked them.
    pub repair_events_sent: u64,
    /// New user events that came by the exchanges of the following three counters.
    pub repair_events_fetched: u64,
    /// State exchanges because a time of the event clock stayed empty.
    pub repair_exchanges_for_gaps: u64,
    /// State exchanges because a member's digest of the last events was another.
    pub repair_exchanges_for_digests: u64,
    /// State exchanges because the event clock had jumped.
    pub repair_exchanges_for_jumps: u64,
    /// Times of the event clock that stayed empty although three members were asked.
    pub repair_times_given_up: u64,
    /// Pings beside the probe cycle that carried a summary of events.
    pub repair_pings: u64,
    /// Acks and replies that a node sent again.
    pub duplicate_responses: u64,
    /// Round trips that took no time at all.
    pub zero_round_trips: u64,
    /// The acks among `duplicate_responses`.
    pub duplicate_acks: u64,
    /// Acks for queries of this node.
    pub acks: u64,
    /// Replies to queries of this node.
    pub responses: u64,
    /// Members that came, left, failed, changed.
    pub joined: u64,
    /// See `joined`.
    pub left: u64,
    /// See `joined`.
    pub failed: u64,
    /// See `joined`.
    pub updated: u64,
    /// Members that came back so soon after they had failed that somebody should look at the network.
    pub flapped: u64,
    /// Datagrams with a query that was asked before, to members that had not acked or answered.
    pub queries_repeated: u64,
    /// Queries of others that came again and were acked and answered again.
    pub repeats_answered: u64,
    /// Acks and replies for which no query waits, or waits any more.
    pub late_responses: u64,
    /// Coordinates that are none, or with which no distance can be computed.
    pub refused_coordinates: u64,
}
