//! What the membership layer says, and the words for it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::time::Duration;
use crate::wire::{NodeName, VersionVector};

/// A stream as core and shell call it. The core names those that it opens, the shell those that it
/// accepts, so neither waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Accepted by the shell.
    Inbound(u64),
    /// Opened by the core.
    Outbound(u64),
}

/// Something for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Send a datagram from the gossip socket.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Connect a stream; answer with [`super::Swim::handle_stream_connected`] or
    /// [`super::Swim::handle_stream_closed`].
    Open {
        /// An outbound id, never used before.
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
    },
    /// Append to a stream that is connected.
    Write {
        /// Which.
        stream: StreamId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Flush what was written, then close. The id is dead for the core from here on: the shell
    /// reports nothing more about it, and gives up flushing after a time of its own.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// Close at once, pending writes are lost. The id is dead for the core.
    Abort {
        /// Which.
        stream: StreamId,
    },
}

/// Why a stream ended before its message was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The other side closed it in an orderly way.
    Eof,
    /// It could not be connected, or it broke; the operating system's words, such as
    /// `connect: connection refused`.
    Failed(String),
}

/// A node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeState {
    Alive,
    Suspect,
    Dead,
    Left,
}

/// What the membership layer knows of a node; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its advertised address.
    pub addr: SocketAddr,
    /// Its meta.
    pub meta: Arc<[u8]>,
    /// Its versions.
    pub versions: VersionVector,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its state.
    pub state: NodeState,
}

/// Classes of user broadcasts, each with a queue. Packets are filled from the membership queue and then
/// from these, in this order (gossip spec 4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Priority {
    First,
    Second,
    Third,
}

/// Who is to get a user broadcast by gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody, also nodes that join while it is queued.
    All,
    /// Those that are members when it is queued. A node that joins later hears of it in the exchange
    /// of its join, together with what that exchange says about its age. If there is nobody, the
    /// broadcast is not queued, and its end is told at once.
    Present,
}

/// Names a broadcast whose end somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BroadcastId(pub u64);

/// Names a join of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinId(pub u64);

/// How this node has come to hear of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encounter {
    /// By a join of this node.
    OwnJoin,
    /// By a join of another node at this one.
    TheirJoin,
    /// By gossip, or by a periodic push/pull.
    #[default]
    Elsewhere,
}

/// What the membership layer wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something for the network.
    Transmit(Transmit),
    /// A node is alive that was not (4.8.1 rule 11).
    Joined(Node),
    /// An alive node's meta changed.
    Updated(Node),
    /// A node is dead or left; the Serf layer decides which word to use (5.5).
    Gone(Node),
    /// A user message arrived.
    UserMessage {
        /// Without the type byte.
        bytes: Vec<u8>,
        /// Where the datagram that carried it came from; `None` if it came over a stream. Not
        /// authenticated: anybody can forge it.
        from: Option<SocketAddr>,
    },
    /// A push/pull is about to be sent: call [`super::Swim::send_push_pull`] with the user state at once.
    UserStateWanted {
        /// Which exchange.
        stream: StreamId,
        /// Part of a join.
        join: bool,
    },
    /// A push/pull was merged and carried user state (after its membership outputs).
    UserState {
        /// Whole user state as sent.
        bytes: Vec<u8>,
        /// The exchange was part of a join.
        join: bool,
        /// The join that this node asked for, if it was one.
        initiated: Option<JoinId>,
        /// It is the answer in an exchange of [`super::Swim::exchange_with`].
        asked: bool,
    },
    /// An exchange of [`super::Swim::exchange_with`] ended; the other side's user state, if there was any, has
    /// been output before.
    ExchangeEnded,
    /// A join of one address ended.
    JoinEnded {
        /// As given to [`super::Swim::join`].
        join: JoinId,
        /// What went wrong, in words that complete `failed to join ADDR: `.
        result: Result<(), String>,
    },
    /// A direct ping of this node was acked in time, with the ack's payload.
    Acked {
        /// Who answered.
        node: NodeName,
        /// Round trip.
        rtt: Duration,
        /// The Serf layer's bytes.
        payload: Option<Vec<u8>>,
        /// It was a ping of [`super::Swim::ping_member`].
        extra: bool,
    },
    /// A live member has pinged this node from its own address, with bytes of the layer above behind
    /// the ping's body. The ack is sent already.
    Pinged {
        /// Which.
        node: NodeName,
        /// Its address.
        addr: SocketAddr,
        /// The bytes; not empty.
        extension: Vec<u8>,
    },
    /// Two nodes claim one name (4.8.1 rule 5).
    Conflict {
        /// The record that is kept.
        existing: Node,
        /// The address of the other claimant.
        other: SocketAddr,
        /// How the two have met.
        encounter: Encounter,
    },
    /// A broadcast with an id reached its retransmission limit or was replaced.
    BroadcastFinished(BroadcastId),
    /// [`super::Swim::leave`] is through: `false` if the farewell could not be spread in time.
    LeaveEnded {
        /// Whether the farewell was spread.
        in_time: bool,
    },
    /// [`super::Swim::update_meta`] is through: `false` if the news could not be spread in time.
    MetaUpdated {
        /// Whether the news was spread.
        in_time: bool,
    },
}

/// Counters for statistics and logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams or parts of them dropped because they could not be decoded.
    pub dropped_malformed: u64,
    /// Datagrams and streams dropped because they were not encrypted or no key opened them.
    pub dropped_undecryptable: u64,
    /// Datagrams and streams dropped because of their label.
    pub dropped_mislabelled: u64,
    /// Well-formed messages dropped by a rule of section 8.6 or 8.7.
    pub dropped_refused: u64,
    /// Datagrams and streams dropped because they came from outside the allowed networks.
    pub foreign_in: u64,
    /// Datagrams not sent because a peer named a receiver outside the allowed networks.
    pub foreign_out: u64,
    /// Messages and entries of states dropped because the node's address is outside the allowed networks.
    pub foreign_nodes: u64,
    /// News that a node is alive, the local one's own included.
    pub alive_news: u64,
    /// News that a node is suspect.
    pub suspect_news: u64,
    /// News that a node is dead or has left.
    pub dead_news: u64,
    /// Probes that were slowed down because this node was not well.
    pub degraded_probes: u64,
    /// Nodes declared dead with fewer confirmations than were wished for.
    pub degraded_timeouts: u64,
    /// Rounds of gossip.
    pub gossip_rounds: u64,
}
