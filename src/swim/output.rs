//! Outputs of the membership layer and their types.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::time::Duration;
use crate::wire::{NodeName, VersionVector};

/// Stream id shared by core and shell. The core numbers the streams that it opens, the shell those that it
/// accepts, so no coordination is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Accepted by the shell.
    Inbound(u64),
    /// Opened by the core.
    Outbound(u64),
}

/// A network operation for the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Send a datagram from the gossip socket.
    Datagram {
        /// Destination.
        to: SocketAddr,
        /// The complete datagram.
        bytes: Vec<u8>,
    },
    /// Connect a stream. The shell reports the result with [`super::Swim::handle_stream_connected`] or
    /// [`super::Swim::handle_stream_closed`].
    Open {
        /// An outbound id that was never used before.
        stream: StreamId,
        /// Address to connect to.
        to: SocketAddr,
    },
    /// Append bytes to a connected stream.
    Write {
        /// The stream.
        stream: StreamId,
        /// The bytes to append.
        bytes: Vec<u8>,
    },
    /// Flush pending writes, then close. The core drops the id: the shell reports nothing more about it and
    /// limits the flush with a timeout of its own.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// Close at once and discard pending writes. The core drops the id.
    Abort {
        /// The stream.
        stream: StreamId,
    },
}

/// Why a stream ended before its message was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The peer closed it in an orderly way.
    Eof,
    /// Connecting failed or the connection broke; holds the system's error text, such as `connect: connection
    /// refused`.
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

/// What a node announces about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its name.
    pub name: NodeName,
    /// Its advertised address, including the port.
    pub addr: SocketAddr,
    /// Its meta.
    pub meta: Arc<[u8]>,
    /// Its versions.
    pub versions: VersionVector,
}

/// A node as known to the membership layer; cheap to clone. Dereferences to its announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it announced last.
    pub announced: Arc<Announcement>,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its state.
    pub state: NodeState,
}

impl Deref for Node {
    type Target = Announcement;

    fn deref(&self) -> &Announcement {
        &self.announced
    }
}

/// Queues of user broadcasts. Packets are filled from the membership queue first and then from these queues,
/// in this order (gossip spec 4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Priority {
    First,
    Second,
    Third,
}

/// Receivers of a user broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All nodes, including those that join while it is queued.
    All,
    /// Members at the time of queueing. A node that joins later gets the event through its join's push/pull,
    /// which marks it as old. If there are no other members, the broadcast is not queued and its end is
    /// reported at once.
    Present,
}

/// Identifies a broadcast whose end is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BroadcastId(pub u64);

/// Identifies a join of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinId(pub u64);

/// How this node learned of another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encounter {
    /// This node joined through the other one.
    OwnJoin,
    /// The other node joined through this one.
    TheirJoin,
    /// By gossip or a periodic push/pull.
    #[default]
    Elsewhere,
}

/// Outputs of the membership layer, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A network operation.
    Transmit(Transmit),
    /// A node became alive (4.8.1 rule 11).
    Joined(Node),
    /// An alive node's meta changed.
    Updated(Node),
    /// A node is dead or left; the Serf layer decides between failed and left (5.5).
    Gone(Node),
    /// A user message arrived.
    UserMessage {
        /// Its bytes, without the type byte.
        bytes: Vec<u8>,
        /// Source address of the datagram; `None` if it came over a stream. Not authenticated, so it may be
        /// forged.
        from: Option<SocketAddr>,
    },
    /// A push/pull is about to be sent: call [`super::Swim::send_push_pull`] with the user state immediately.
    UserStateWanted {
        /// The stream of the exchange.
        stream: StreamId,
        /// Whether it is part of a join.
        join: bool,
    },
    /// A push/pull with user state was merged. Follows the membership outputs of the merge.
    UserState {
        /// The complete user state, as sent.
        bytes: Vec<u8>,
        /// Whether the exchange was part of a join.
        join: bool,
        /// The join, if this node initiated it.
        initiated: Option<JoinId>,
        /// Whether it is the response in an exchange of [`super::Swim::exchange_with`].
        asked: bool,
    },
    /// An exchange of [`super::Swim::exchange_with`] ended. The peer's user state, if any, was output before.
    ExchangeEnded,
    /// A join of one address ended.
    JoinEnded {
        /// As given to [`super::Swim::join`].
        join: JoinId,
        /// Error text that completes `failed to join ADDR: `.
        result: Result<(), String>,
    },
    /// A direct ping by this node was acked in time.
    Acked {
        /// The node that answered.
        node: NodeName,
        /// Round-trip time.
        rtt: Duration,
        /// Payload of the ack, from the Serf layer.
        payload: Option<Vec<u8>>,
        /// Whether it was a ping of [`super::Swim::ping_member`].
        extra: bool,
    },
    /// A live member pinged this node from its own address, with bytes of the Serf layer after the ping's
    /// body. The ack is already sent.
    Pinged {
        /// The member.
        node: NodeName,
        /// Its address.
        addr: SocketAddr,
        /// The bytes of the Serf layer; not empty.
        extension: Vec<u8>,
    },
    /// Two nodes claim the same name (4.8.1 rule 5).
    Conflict {
        /// The record that is kept.
        existing: Node,
        /// The address of the other claimant.
        other: SocketAddr,
        /// How this node learned of the other claimant.
        encounter: Encounter,
    },
    /// A broadcast with an id reached its retransmission limit or was replaced.
    BroadcastFinished(BroadcastId),
    /// [`super::Swim::leave`] has finished.
    LeaveEnded {
        /// Whether the leave was transmitted before the timeout.
        in_time: bool,
    },
    /// [`super::Swim::update_meta`] has finished.
    MetaUpdated {
        /// Whether the new meta was transmitted before the timeout.
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
    /// Datagrams and streams dropped because they were not encrypted or no key decrypted them.
    pub dropped_undecryptable: u64,
    /// Datagrams and streams dropped because of their label.
    pub dropped_mislabelled: u64,
    /// Well-formed messages dropped by a rule of gossip spec 8.6 or 8.7.
    pub dropped_refused: u64,
    /// Datagrams and streams dropped because their sender is outside the allowed networks.
    pub foreign_in: u64,
    /// Datagrams not sent because a peer named a destination outside the allowed networks.
    pub foreign_out: u64,
    /// Messages and push/pull entries ignored because the node's address is outside the allowed networks.
    pub foreign_nodes: u64,
    /// Accepted alive messages, including those about the local node.
    pub alive_accepted: u64,
    /// Accepted suspect messages.
    pub suspect_accepted: u64,
    /// Accepted dead messages, including graceful leaves.
    pub dead_accepted: u64,
    /// Probes whose interval was lengthened because of this node's health score.
    pub degraded_probes: u64,
    /// Nodes declared dead with fewer confirmations than expected.
    pub degraded_timeouts: u64,
    /// Gossip ticks.
    pub gossip_rounds: u64,
}
