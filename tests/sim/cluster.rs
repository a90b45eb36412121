//! Nodes in virtual time: drives each core as the agent does, and transports its bytes.

mod bytes;
mod forger;
mod inspect;
mod liar;
mod slander;
mod spread;
mod turn;
mod twist;

pub use forger::{GHOSTS, Slander};
pub use inspect::clocks;
pub use liar::Inventions;
pub use twist::{Twist, Twisted};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cottar::rng::Rng;
use cottar::serf::snapshot::Snapshot;
use cottar::serf::{
    Command, CommandId, CommandResult, Config, Input, JoinTarget, KeyringChange, MemberStatus,
    QueryParams, QueryRecord, Serf, StreamEnd, StreamId, Tags,
};
use cottar::swim::{self, NodeState};
use cottar::time::{Duration, Instant};
use cottar::wire::{Envelope, Key, Keyring, NodeName, NonceSource};

use crate::handlers::{Handlers, Pace};
use crate::history::{Depths, Record, Stop, What};
use crate::network::{Network, Piece, Weather};
use crate::trace;

/// Index of a host of the simulation, whose node may stop and start again.
pub type NodeId = usize;

/// The configuration of a node.
#[derive(Clone)]
pub struct Spec {
    pub config: Config,
    pub key: Option<Vec<u8>>,
    pub compression: bool,
    /// Whether incoming gossip must be encrypted, and outgoing gossip is (gossip spec 6.3).
    pub verify_incoming: bool,
    pub verify_outgoing: bool,
    pub pace: Pace,
    /// Whether the snapshot keeps its content at a leave.
    pub rejoin_after_leave: bool,
}

impl Spec {
    /// A LAN node without coalescing, so that stories see events at once.
    pub fn lan(name: &str, addr: SocketAddr) -> Self {
        let mut config = Config::new(node_name(name), addr, swim::Config::lan());
        config.coalesce_period = Duration::ZERO;
        config.user_coalesce_period = Duration::ZERO;
        Spec {
            config,
            key: None,
            compression: true,
            verify_incoming: true,
            verify_outgoing: true,
            pace: Pace::Fixed(Duration::from_millis(5)),
            rejoin_after_leave: false,
        }
    }
}

/// The files of a host, which survive restarts of its node.
#[derive(Default)]
pub struct Disk {
    /// The snapshot file, if the node has one.
    pub snapshot: Option<Vec<u8>>,
    /// The content of the keyring file, if the configuration has one.
    pub keyring: Option<Vec<Key>>,
    /// Whether all writes fail.
    pub full: bool,
}

/// How long a write of the keyring file takes.
const WRITE_TIME: Duration = Duration::from_millis(3);

/// Makes a node name from text that is known to be valid.
pub fn node_name(name: &str) -> NodeName {
    NodeName::new(name.as_bytes()).unwrap()
}

/// The address of the host with this number.
pub fn host_addr(number: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 7, (number / 250) as u8, (number % 250 + 1) as u8);
    SocketAddr::new(IpAddr::V4(ip), 7946)
}

/// An input of a node, which is delivered when the node is not paused.
enum Incoming {
    Datagram {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Accepted {
        stream: StreamId,
        peer: SocketAddr,
    },
    Connected(StreamId),
    Data {
        stream: StreamId,
        bytes: Vec<u8>,
    },
    Closed {
        stream: StreamId,
        end: StreamEnd,
    },
    Command {
        id: CommandId,
        command: Command,
    },
    KeyringWritten {
        change: KeyringChange,
        result: Result<(), String>,
    },
    HandlerEnded,
}

/// The kind of a pending command.
enum Asked {
    Join {
        retry: Option<Command>,
        targets: Vec<SocketAddr>,
        ignore_old: bool,
        at: Instant,
    },
    Leave,
    UserEvent {
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    Query {
        acks: Vec<NodeId>,
    },
    Respond(cottar::serf::Query),
    Other,
}

/// A host and the node on it.
pub struct Node {
    pub spec: Spec,
    pub serf: Option<Serf>,
    pub life: u32,
    pub host_up: bool,
    pub paused: bool,
    pub stopped: Option<Stop>,
    /// How the previous life ended.
    pub before: Option<Stop>,
    pub handlers: Handlers,
    pub disk: Disk,
    inbox: VecDeque<Incoming>,
    wake: Option<Instant>,
    /// The connection and side of each stream of this life.
    streams: BTreeMap<StreamId, (u64, usize)>,
    next_inbound: u64,
    /// Whether another node has opened a stream to it.
    called: bool,
    /// The nodes that it tries to join until one answers.
    pub calling: Vec<NodeId>,
    /// Datagrams that it has sent in this life.
    datagrams: u64,
    started_at: Instant,
    resumed_at: Instant,
    stopping: Option<Stop>,
    known: BTreeMap<NodeName, (SocketAddr, u32, NodeState)>,
    statuses: BTreeMap<NodeName, MemberStatus>,
    deepest: Depths,
    /// The member, event and query clocks.
    clocks: [u64; 3],
}

impl Node {
    /// The ring that the node starts with.
    fn keyring(&self) -> Option<Keyring> {
        let given = self.spec.key.as_ref().map(|key| Key::new(key).unwrap());
        let mut keys = self
            .disk
            .keyring
            .clone()
            .unwrap_or(given.into_iter().collect());
        (!keys.is_empty()).then(|| {
            let mut ring = Keyring::new(keys.remove(0));
            keys.into_iter().for_each(|key| ring.install(key));
            ring
        })
    }
}

/// A scheduled occurrence.
enum Happening {
    Datagram {
        to: NodeId,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Lane {
        connection: u64,
        side: usize,
    },
    Wake {
        node: NodeId,
    },
    /// The next gossip tick of a node that sends user events and queries only at ticks.
    Tick {
        node: NodeId,
        life: u32,
    },
    /// A liar invents a message.
    Invention {
        node: NodeId,
        life: u32,
    },
    HandlerEnd {
        node: NodeId,
        life: u32,
    },
    KeyringWritten {
        node: NodeId,
        life: u32,
        change: KeyringChange,
        result: Result<(), String>,
    },
    RetryJoin {
        node: NodeId,
        life: u32,
        command: Box<Command>,
    },
}

struct Scheduled {
    at: Instant,
    /// 0: an arrival; 1: a deadline, which comes after all arrivals of the same instant.
    class: u8,
    sequence: u64,
    what: Happening,
}

impl Scheduled {
    fn key(&self) -> (Instant, u8, u64) {
        (self.at, self.class, self.sequence)
    }
}
impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    pub inputs: u64,
    pub timeouts: u64,
    pub datagrams: u64,
    pub datagram_bytes: u64,
    pub streams: u64,
    pub stream_bytes: u64,
}

/// Time between attempts of a join that has to succeed.
pub const RETRY_JOIN: Duration = Duration::from_secs(5);

/// A whole cluster.
pub struct Sim {
    pub now: Instant,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub history: Vec<Record>,
    pub results: BTreeMap<CommandId, (Instant, CommandResult)>,
    pub returned: BTreeMap<CommandId, Vec<(Instant, QueryRecord)>>,
    pub traffic: Traffic,
    /// Whether to keep a history and inspect the nodes after each input. Off for very large clusters.
    pub observing: bool,
    /// Run handlers for events. Off for very large clusters.
    pub handling: bool,
    /// Nodes that behave as another program would.
    pub twisted: BTreeMap<NodeId, Twisted>,
    by_addr: BTreeMap<SocketAddr, NodeId>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    next_command: u64,
    asked: BTreeMap<CommandId, Asked>,
    fingerprint: u64,
}

impl Sim {
    pub fn new(seed: u64, weather: Weather) -> Self {
        trace::init();
        Sim {
            now: Instant::from_millis(1_000),
            rng: Rng::new(seed),
            nodes: Vec::new(),
            network: Network::new(weather),
            history: Vec::new(),
            results: BTreeMap::new(),
            returned: BTreeMap::new(),
            traffic: Traffic::default(),
            observing: true,
            handling: true,
            twisted: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            next_command: 0,
            asked: BTreeMap::new(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    // --- building ----------------------------------------------------------------------------

    /// Adds a host; [`Self::start`] starts its node.
    pub fn add(&mut self, spec: Spec) -> NodeId {
        let id = self.nodes.len();
        self.by_addr.insert(spec.config.addr, id);
        self.nodes.push(Node {
            handlers: Handlers::new(spec.pace),
            spec,
            serf: None,
            life: 0,
            host_up: true,
            paused: false,
            stopped: None,
            disk: Disk::default(),
            before: None,
            inbox: VecDeque::new(),
            wake: None,
            streams: BTreeMap::new(),
            next_inbound: 0,
            called: false,
            calling: Vec::new(),
            datagrams: 0,
            started_at: self.now,
            resumed_at: self.now,
            stopping: None,
            known: BTreeMap::new(),
            statuses: BTreeMap::new(),
            deepest: Depths::default(),
            clocks: [0; 3],
        });
        id
    }

    /// Starts the node of a host.
    pub fn start(&mut self, id: NodeId) {
        let seed = self.rng.next_u64();
        let mut nonce_seed = [0; 32];
        for chunk in nonce_seed.chunks_mut(8) {
            chunk.copy_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        let now = self.now;
        let node = &mut self.nodes[id];
        assert!(node.serf.is_none(), "node {id} runs already");
        trace::at(now, &node.spec.config.name.to_string());
        let mut envelope = Envelope::plain(NonceSource::new(nonce_seed));
        envelope.compression = node.spec.compression;
        envelope.verify_incoming = node.spec.verify_incoming;
        envelope.verify_outgoing = node.spec.verify_outgoing;
        envelope.keyring = node.keyring();
        let mut config = node.spec.config.clone();
        let rejoin = node.spec.rejoin_after_leave;
        let twisted = self.twisted.get(&id);
        config.snapshot = node.disk.snapshot.as_ref().map(|file| {
            let file = twisted.map_or(file.clone(), |twisted| twisted.reads(file));
            Snapshot::decode(&file, rejoin).0
        });
        let continues = config.snapshot.as_ref().is_some_and(Snapshot::continues);
        let serf = Serf::new(config, envelope, seed, now).unwrap();
        node.before = node.stopped.take();
        if node.before.is_some() {
            node.life += 1;
        }
        let mut serf = serf;
        node.clocks = clocks(&serf);
        node.handlers = Handlers::new(node.spec.pace);
        let handlers = Input::QueryHandlers(node.handlers.wanted_queries());
        serf.handle_input(handlers, now);
        node.serf = Some(serf);
        node.host_up = true;
        node.datagrams = 0;
        node.started_at = now;
        node.resumed_at = now;
        let (name, addr) = (node.spec.config.name.clone(), node.spec.config.addr);
        self.by_addr.insert(addr, id);
        let started = What::Started {
            name,
            addr,
            continues,
        };
        self.record(id, started);
        self.arm_invention(id);
        self.after_input(id);
    }

    /// Makes a node simulate another program, from now on and in all its lives.
    pub fn twist(&mut self, id: NodeId, twist: Twist) {
        let twisted = Twisted::new(twist, &self.nodes[id].spec);
        self.twisted.insert(id, twisted);
        self.record(id, What::Twisted(twist));
    }

    /// Whether a node simulates the reference.
    fn is_reference(&self, id: NodeId) -> bool {
        let twist = self.twisted.get(&id).map(|twisted| twisted.twist);
        twist == Some(Twist::Reference)
    }

    /// Gives a stopped node another address.
    pub fn move_to(&mut self, id: NodeId, addr: SocketAddr) {
        let node = &mut self.nodes[id];
        assert!(node.serf.is_none(), "node {id} runs");
        self.by_addr.remove(&node.spec.config.addr);
        node.spec.config.addr = addr;
        self.by_addr.insert(addr, id);
    }

    // --- commands ----------------------------------------------------------------------------

    /// Gives a node a command; its end is found in [`Self::results`].
    pub fn command(&mut self, id: NodeId, command: Command) -> CommandId {
        let asked = match &command {
            Command::Join { .. } => self.asked_join(&command, false),
            Command::Leave => Asked::Leave,
            Command::UserEvent { name, payload, .. } => Asked::UserEvent {
                name: name.clone(),
                payload: payload.clone().unwrap_or_default(),
            },
            Command::Query(params) => Asked::Query {
                acks: self.who_acks(params),
            },
            _ => Asked::Other,
        };
        self.command_as(id, command, asked)
    }

    fn command_as(&mut self, id: NodeId, command: Command, asked: Asked) -> CommandId {
        let command_id = CommandId(self.next_command);
        self.next_command += 1;
        self.asked.insert(command_id, asked);
        let input = Incoming::Command {
            id: command_id,
            command,
        };
        self.feed(id, input);
        command_id
    }

    /// Joins other hosts' nodes; with `retry` until one of them answered.
    pub fn join(
        &mut self,
        id: NodeId,
        others: &[NodeId],
        ignore_old: bool,
        retry: bool,
    ) -> CommandId {
        // Like the agent's `-retry-join`, and unlike the reference's.
        let goes_on =
            retry && self.is_up(id) && self.serf(id).continues() && !self.is_reference(id);
        let ignore_old = ignore_old && !goes_on;
        let targets = others.iter().map(|&other| JoinTarget {
            name: None,
            addr: self.nodes[other].spec.config.addr,
        });
        let command = Command::Join {
            targets: targets.collect(),
            ignore_old_events: ignore_old,
            announce: true,
        };
        if retry {
            self.nodes[id].calling.extend(others);
        }
        let asked = self.asked_join(&command, retry);
        self.command_as(id, command, asked)
    }

    fn asked_join(&self, command: &Command, retry: bool) -> Asked {
        let Command::Join {
            targets,
            ignore_old_events,
            ..
        } = command
        else {
            return Asked::Other;
        };
        Asked::Join {
            retry: retry.then(|| command.clone()),
            targets: targets.iter().map(|target| target.addr).collect(),
            ignore_old: *ignore_old_events,
            at: self.now,
        }
    }

    pub fn user_event(&mut self, id: NodeId, name: &str, payload: &str) -> CommandId {
        self.command(
            id,
            Command::UserEvent {
                name: name.into(),
                payload: Some(payload.into()),
                coalesce: false,
            },
        )
    }

    pub fn query(&mut self, id: NodeId, params: QueryParams) -> CommandId {
        self.command(id, Command::Query(params))
    }

    pub fn set_tag(&mut self, id: NodeId, key: &str, value: &str) -> CommandId {
        let mut tags = self.nodes[id].spec.config.tags.clone();
        tags.set(key.as_bytes(), value.as_bytes());
        self.set_tags(id, tags)
    }

    fn set_tags(&mut self, id: NodeId, tags: Tags) -> CommandId {
        self.nodes[id].spec.config.tags = tags.clone();
        self.command(id, Command::SetTags(tags))
    }

    // --- fate --------------------------------------------------------------------------------

    /// Kills the process; its kernel resets its connections. If the whole host goes down, the peers get no
    /// reset.
    pub fn crash(&mut self, id: NodeId, host_too: bool) {
        if host_too {
            self.nodes[id].host_up = false;
        }
        self.stop(id, Stop::Crashed);
    }

    fn stop(&mut self, id: NodeId, why: Stop) {
        let node = &mut self.nodes[id];
        if node.serf.take().is_none() {
            return;
        }
        node.stopped = Some(why);
        node.stopping = None;
        node.paused = false;
        node.wake = None;
        node.inbox.clear();
        node.known.clear();
        node.statuses.clear();
        node.deepest = Depths::default();
        node.next_inbound = 0;
        node.called = false;
        node.calling.clear();
        if let Some(twisted) = self.twisted.get_mut(&id) {
            twisted.forget();
        }
        let streams = std::mem::take(&mut node.streams);
        let host_up = node.host_up;
        self.record(id, What::Stopped(why));
        for (connection, side) in streams.into_values() {
            let Some(found) = self.network.connections.get_mut(&connection) else {
                continue;
            };
            let was_open = std::mem::take(&mut found.ends[side].open);
            if !host_up {
                found.lanes[side].pieces.clear();
            } else if was_open {
                self.send_piece(connection, side, Piece::Reset);
            }
            self.network.forget_if_over(connection);
        }
    }

    /// Stops the process, as SIGSTOP does: arriving data waits in the kernel.
    pub fn pause(&mut self, id: NodeId) {
        if self.nodes[id].serf.is_some() && !self.nodes[id].paused {
            self.nodes[id].paused = true;
            self.record(id, What::Paused);
        }
    }

    /// Continues the process, as SIGCONT does.
    pub fn resume(&mut self, id: NodeId) {
        if !std::mem::take(&mut self.nodes[id].paused) {
            return;
        }
        self.nodes[id].resumed_at = self.now;
        self.record(id, What::Resumed);
        // The first turn of the loop reads all waiting data before anything else.
        while let Some(input) = self.nodes[id].inbox.pop_front() {
            self.give(id, input);
        }
        self.after_input(id);
    }

    // --- time --------------------------------------------------------------------------------

    /// Advances time by a duration.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Advances time up to an instant.
    pub fn run_to(&mut self, end: Instant) {
        while self.queue.peek().is_some_and(|next| next.0.at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Advances time until a condition holds, checked every 10 ms; returns false if it does not hold in time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Sim) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(10));
        }
    }

    fn schedule(&mut self, at: Instant, class: u8, what: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at: at.max(self.now),
            class,
            sequence: self.sequence,
            what,
        }));
    }

    fn step(&mut self) {
        let Some(Reverse(next)) = self.queue.pop() else {
            return;
        };
        self.now = next.at;
        match next.what {
            Happening::Datagram { to, from, bytes } => {
                let bytes = match self.twisted.get_mut(&to) {
                    Some(twisted) => twisted.incoming(bytes),
                    None => Some(bytes),
                };
                if let Some(bytes) = bytes {
                    self.feed(to, Incoming::Datagram { from, bytes });
                }
            }
            Happening::Lane { connection, side } => self.advance_lane(connection, side),
            Happening::Wake { node } => self.wake(node),
            Happening::Tick { node, life } => self.tick(node, life),
            Happening::Invention { node, life } => self.invent(node, life),
            Happening::HandlerEnd { node, life } => {
                if self.nodes[node].life == life {
                    self.feed(node, Incoming::HandlerEnded);
                }
            }
            Happening::KeyringWritten {
                node,
                life,
                change,
                result,
            } => {
                if self.nodes[node].life == life {
                    self.feed(node, Incoming::KeyringWritten { change, result });
                }
            }
            Happening::RetryJoin {
                node,
                life,
                command,
            } => {
                if self.nodes[node].life == life && self.is_up(node) {
                    let asked = self.asked_join(&command, true);
                    self.command_as(node, *command, asked);
                }
            }
        }
    }
}
