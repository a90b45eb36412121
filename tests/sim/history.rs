//! The history of a run, for the checkers.

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

/// The promises of a steady period, in which no node starts, stops or is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// The time by which an event must reach all nodes, if that is promised.
    pub bound: Option<Duration>,
    /// The time by which an event should nearly always reach all nodes.
    pub hoped: Duration,
    /// Whether each query must reach all its nodes by its deadline, instead of nearly always.
    pub queries_reach_all: bool,
    /// Whether the events of one node must arrive in order.
    pub in_order: bool,
}

/// The work that messages of others about events and queries have caused in this life of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub datagrams: u64,
    /// Exchanges of states for repair.
    pub exchanges: u64,
    /// Pings for repair.
    pub pings: u64,
    /// Repeated queries that the node has answered again.
    pub answers: u64,
}

/// What happened. Some variants only help the reader of a history.
#[derive(Clone, Debug)]
#[allow(dead_code)]
pub enum What {
    Started {
        name: NodeName,
        addr: SocketAddr,
        /// Whether it continues from the snapshot of the previous life.
        continues: bool,
    },
    /// The node simulates another program, in all its lives.
    Twisted(Twist),
    Stopped(Stop),
    Paused,
    Resumed,
    /// A record of the membership layer was added or changed.
    Known {
        about: NodeName,
        addr: SocketAddr,
        incarnation: u32,
        state: NodeState,
    },
    /// A record of the membership layer was dropped.
    Dropped {
        about: NodeName,
    },
    /// A member was added or changed its status; `None`: it was removed.
    Status {
        about: NodeName,
        status: Option<MemberStatus>,
    },
    /// The core handed an event to handlers; `order` counts the events of a life.
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
    /// A join succeeded. As requested by the join, events below this time of the event clock may have
    /// been skipped.
    Joined {
        skipped_before: u64,
        /// Who answered.
        contacts: Vec<NodeId>,
        asked_at: Instant,
        ignores_old: bool,
        /// Whether another node had opened a stream to it before.
        called: bool,
    },
    /// A liar has sent a user event with this time to a node.
    Invented {
        ltime: LamportTime,
    },
    /// One of the member, event and query clocks of a node moved far by one input.
    ClockLeapt {
        clock: usize,
        by: u64,
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
        /// The nodes that must acknowledge it if they run; empty if the query does not ask for acks.
        acks: Vec<NodeId>,
    },
    /// An ack or an answer to a query arrived.
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
    /// The end of the chaos: no more loss, cuts or crashes.
    Calm,
    /// The beginning or the end (`None`) of a steady period, in which only events and queries happen.
    Steady(Option<Steady>),
    /// The beginning or the end of a period in which a forger slanders members, and nothing else happens.
    Slander(bool),
    /// The work of a node so far. `quiet`: no events or queries were sent since the last such record.
    Spent {
        spent: Spent,
        quiet: bool,
    },
    /// A queue reached a new maximum depth, or the run ended.
    Queues {
        depths: Depths,
        end: bool,
    },
    /// A stream ended at this age.
    StreamAge {
        age: Duration,
    },
    /// At the end: the member list of a running node.
    Members(Vec<Member>),
}
