//! SWIM with Lifeguard: who is in the cluster and who answers (gossip spec 4).
//!
//! A pure state machine: bytes, time and choices come in, [`Output`]s come out in one ordered queue.
//! It knows nothing of Serf: user messages, user state and node meta are bytes to it.

mod broadcast;
pub mod config;

pub use broadcast::BroadcastQueue;
pub use config::Config;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::{Envelope, NodeName, VersionVector};

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
    /// Connect a stream; answer with [`Swim::handle_stream_connected`] or
    /// [`Swim::handle_stream_closed`].
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

/// The queues of user broadcasts, in the order in which packets are filled from them (gossip spec
/// 4.11): after the membership queue, intents first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum UserQueue {
    Intent,
    Query,
    Event,
}

/// Names a broadcast whose end somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BroadcastId(pub u64);

/// Names a join of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinId(pub u64);

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
    UserMessage(Vec<u8>),
    /// A push/pull is about to be sent: call [`Swim::send_push_pull`] with the user state at once.
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
    },
    /// A join of one address ended.
    JoinEnded {
        /// As given to [`Swim::join`].
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
    },
    /// Two nodes claim one name (4.8.1 rule 5).
    Conflict {
        /// The record that is kept.
        existing: Node,
        /// The address of the other claimant.
        other: SocketAddr,
    },
    /// A broadcast with an id reached its retransmission limit or was replaced.
    BroadcastFinished(BroadcastId),
    /// [`Swim::leave`] is through: `false` if the farewell could not be spread in time.
    LeaveEnded {
        /// Whether the farewell was spread.
        in_time: bool,
    },
    /// [`Swim::update_meta`] is through: `false` if the news could not be spread in time.
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
    /// Well-formed messages dropped by a rule of section 8.6 or 8.7.
    pub dropped_refused: u64,
}

/// The membership layer of one node.
pub struct Swim {
    _private: (),
}

/// What the local node announces of itself.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// Its name.
    pub name: NodeName,
    /// Its advertised address, with the port.
    pub addr: SocketAddr,
    /// Its meta.
    pub meta: Arc<[u8]>,
    /// Its versions.
    pub versions: VersionVector,
}

impl Swim {
    /// A node that announces itself with incarnation 1; outputs its own [`Output::Joined`].
    pub fn new(
        config: Config,
        local: LocalNode,
        envelope: Envelope,
        rng: Rng,
        now: Instant,
    ) -> Self {
        todo!()
    }

    // --- input -------------------------------------------------------------------------------

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        todo!()
    }
    /// The shell accepted a stream.
    pub fn handle_stream_accepted(&mut self, stream: StreamId, peer: SocketAddr, now: Instant) {
        todo!()
    }
    /// A stream that was asked for is connected.
    pub fn handle_stream_connected(&mut self, stream: StreamId, now: Instant) {
        todo!()
    }
    /// Bytes arrived on a stream.
    pub fn handle_stream_data(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        todo!()
    }
    /// A stream ended on the other side, could not be connected, or broke.
    pub fn handle_stream_closed(&mut self, stream: StreamId, end: StreamEnd, now: Instant) {
        todo!()
    }
    /// Time has passed: does whatever is due. Afterwards `poll_timeout() > now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    // --- output ------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    /// When [`Self::handle_timeout`] is due next. Changed by every `handle_*` and by every command.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    // --- commands ----------------------------------------------------------------------------

    /// Starts a push/pull with `Join` set; ends in [`Output::JoinEnded`].
    pub fn join(&mut self, addr: SocketAddr, now: Instant) -> JoinId {
        todo!()
    }
    /// Answers [`Output::UserStateWanted`].
    pub fn send_push_pull(&mut self, stream: StreamId, user_state: &[u8], now: Instant) {
        todo!()
    }
    /// Spreads a farewell (4.13); ends in [`Output::LeaveEnded`], at the latest after `timeout`.
    pub fn leave(&mut self, timeout: Duration, now: Instant) {
        todo!()
    }
    /// Announces new meta (4.14); ends in [`Output::MetaUpdated`], at the latest after `timeout`.
    pub fn update_meta(&mut self, meta: Arc<[u8]>, timeout: Duration, now: Instant) {
        todo!()
    }
    /// Queues a user broadcast (without the type byte 8). It starts its first transmission at once
    /// (DESIGN "News does not wait"). With an id, its end is told by [`Output::BroadcastFinished`].
    pub fn broadcast(
        &mut self,
        queue: UserQueue,
        message: Arc<[u8]>,
        id: Option<BroadcastId>,
        now: Instant,
    ) {
        todo!()
    }
    /// Sends a user message directly to an address, by UDP, without checksum (query replies, relays).
    pub fn send_user_message(&mut self, to: SocketAddr, message: &[u8]) {
        todo!()
    }
    /// Sets the payload of acks to UDP pings (5.13); `None`: nil.
    pub fn set_ack_payload(&mut self, payload: Option<Vec<u8>>) {
        todo!()
    }
    /// The number of Serf members, which sets the retransmission limit of user broadcasts (4.11).
    pub fn set_user_member_count(&mut self, members: usize) {
        todo!()
    }
    /// Drops the user broadcasts beyond `messages_max` from the end of a queue's order (5.16);
    /// returns how many. Those with ids are reported as finished.
    pub fn prune_queue(&mut self, queue: UserQueue, messages_max: usize) -> usize {
        todo!()
    }
    /// How this node wraps and unwraps: the ring may be changed.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        todo!()
    }

    // --- what is known -----------------------------------------------------------------------

    /// The local node.
    pub fn local(&self) -> &Node {
        todo!()
    }
    /// A node by its name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        todo!()
    }
    /// All records, in byte order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        [].iter()
    }
    /// The number of records, dead and left ones included (n of the formulas).
    pub fn node_count(&self) -> usize {
        todo!()
    }
    /// The number of records that are alive or suspect, the local node included.
    pub fn live_node_count(&self) -> usize {
        todo!()
    }
    /// Health score, 0 (healthy) to 7 (4.6).
    pub fn health_score(&self) -> u32 {
        todo!()
    }
    /// Messages waiting in a user queue.
    pub fn queue_len(&self, queue: UserQueue) -> usize {
        todo!()
    }
    /// Messages waiting in the membership queue.
    pub fn membership_queue_len(&self) -> usize {
        todo!()
    }
    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        todo!()
    }
    /// Panics (in debug builds and tests) if the tables contradict each other.
    pub fn check_invariants(&self) {
        todo!()
    }
}
