//! What happened in a run, for the checkers.

use std::net::SocketAddr;

use cottar::serf::{CommandId, Event, LamportTime, Member, MemberStatus, QueryRecord};
use cottar::swim::NodeState;
use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use crate::cluster::{NodeId, Twist};

/// One line of the history.
#[derive(Clone, Debug)]
pub struct Record {
    pub at: Instant,
    pub node: NodeId,
    /// Counts the node's starts from 0.
    pub life: u32,
    pub what: What,
}

/// Why a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Crashed,
    Left,
    LostItsName,
}

/// How deep the node's queues are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    pub membership: usize,
    pub intent: usize,
    pub query: usize,
    pub event: usize,
}

/// What is promised while nobody comes, goes or is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    /// Chance that a datagram is lost.
    pub loss: f64,
    /// By then an event has reached everybody, if that is promised.
    pub bound: Option<Duration>,
    /// And nearly always by then.
    pub hoped: Duration,
    /// Whether each query reaches everybody by its deadline, not only nearly always.
    pub queries_reach_all: bool,
    /// Whether the events of one node come in order.
    pub in_order: bool,
}

/// What a node has done in this life because of what others say of events and queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub datagrams: u64,
    /// Exchanges of states to repair.
    pub exchanges: u64,
    /// Pings to repair.
    pub pings: u64,
    /// Repeated queries that it has answered again.
    pub answers: u64,
}

/// What happened. Some of it is only for who reads a history.
#[derive(Clone, Debug)]
#[allow(dead_code)]
pub enum What {
    Started {
        name: NodeName,
        addr: SocketAddr,
        /// With a memory of the life before this one.
        continues: bool,
    },
    /// The node behaves as another program would, in all its lives.
    Twisted(Twist),
    Stopped(Stop),
    Paused,
    Resumed,
    /// A record of the membership layer is new or changed.
    Known {
        about: NodeName,
        addr: SocketAddr,
        incarnation: u32,
        state: NodeState,
    },
    /// A record of the membership layer is gone.
    Dropped {
        about: NodeName,
    },
    /// A member is new or has another status; `None`: it is gone.
    Status {
        about: NodeName,
        status: Option<MemberStatus>,
    },
    /// The core gave an event to handlers; `order` counts those of a life.
    Delivered {
        order: u64,
        event: Event,
    },
    HandlerStarted {
        order: u64,
    },
    HandlerEnded {
        order: u64,
    },
    /// A join reached somebody. Events before this time of the event clock may have been skipped,
    /// as it asked for.
    Joined {
        skipped_before: u64,
        /// Who answered.
        contacts: Vec<NodeId>,
        asked_at: Instant,
        ignores_old: bool,
        /// Somebody opened a stream to it before.
        called: bool,
    },
    /// A liar has told somebody of a user event of this time.
    Invented {
        ltime: LamportTime,
    },
    /// A user event was accepted from a command.
    Fired {
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    /// A query was accepted from a command.
    Asked {
        command: CommandId,
        ltime: LamportTime,
        id: u32,
        deadline: Instant,
        /// Who should acknowledge it, as far as it runs; nobody if the asker does not care.
        acks: Vec<NodeId>,
    },
    /// Something came back for a query.
    Returned {
        command: CommandId,
        record: QueryRecord,
    },
    /// A handler answered; `sent` is false if the answer came too late or was refused.
    Answered {
        ltime: LamportTime,
        id: u32,
        deadline: Instant,
        sent: bool,
    },
    /// The chaos is over: no loss, no cuts, nobody crashes any more.
    Calm,
    /// From here on, or no more, events and queries are all that happens.
    Steady(Option<Steady>),
    /// What a node has spent so far. `quiet`: since the last such record nobody fired or asked anything.
    Spent {
        spent: Spent,
        quiet: bool,
    },
    /// A queue got deeper than ever, or this is the end.
    Queues {
        depths: Depths,
        end: bool,
    },
    /// A stream ended after this time.
    StreamAge {
        age: Duration,
    },
    /// At the end: a living node's list.
    Members(Vec<Member>),
}
