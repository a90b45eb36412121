//! The Serf node: members, intents, tags, Lamport clocks, user events, queries (gossip spec 5). Owns
//! a [`Swim`].
//!
//! The core's contract: [`Serf::handle_input`] with the time, [`Serf::poll_output`] until it is
//! empty, [`Serf::poll_timeout`] for the next deadline. Nothing else happens, nothing is called back.

pub mod config;
pub mod event;

pub use crate::swim::{StreamEnd, StreamId, Transmit};
pub use crate::wire::serf::{LamportTime, Tags};
pub use config::Config;
pub use event::{Event, Member, MemberEvent, MemberEventKind, MemberStatus, Query, UserEvent};

use std::net::SocketAddr;

use crate::time::{Duration, Instant};
use crate::wire::{Envelope, NodeName};

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
    /// The deadline of [`Serf::poll_timeout`] has come.
    Timeout,
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
    /// latest after the broadcast timeout.
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
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// It worked.
    Done,
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
    /// The node lost its name to another (gossip spec 5.11): the program must end, without a leave.
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
    pub coordinate_resets: u64,
}

/// A node of a Serf cluster.
pub struct Serf {
    _private: (),
}

impl Serf {
    /// A node that is not in any cluster yet. Delivers its own member-join (through the coalescer).
    ///
    /// `seed` decides all of its choices.
    ///
    /// # Errors
    /// What makes the reference refuse to start: tags too long, an event limit above 9216, a
    /// protocol out of range; the reference's words (agent spec 4.4).
    pub fn new(
        config: Config,
        envelope: Envelope,
        seed: u64,
        now: Instant,
    ) -> Result<Self, String> {
        todo!()
    }
    /// Something happened. Poll outputs until empty afterwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        todo!()
    }
    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    /// When [`Input::Timeout`] is due. Changed by [`Self::handle_input`] alone.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// The local node's name.
    pub fn local_name(&self) -> &NodeName {
        todo!()
    }
    /// The local node's tags.
    pub fn tags(&self) -> &Tags {
        todo!()
    }
    /// Life of the node.
    pub fn state(&self) -> State {
        todo!()
    }
    /// All members, in byte order of their names.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        [].iter()
    }
    /// One member.
    pub fn member(&self, name: &[u8]) -> Option<&Member> {
        todo!()
    }
    /// Figures for `info`.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// Panics (in debug builds and tests) if the tables contradict each other.
    pub fn check_invariants(&self) {
        todo!()
    }
}
