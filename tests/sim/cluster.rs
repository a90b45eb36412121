//! Nodes in virtual time: drives each core as the agent does, and transports its bytes.

mod bytes;
mod commands;
mod forger;
mod inspect;
mod liar;
mod schedule;
mod slander;
mod spread;
mod stops;
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
    Command, CommandId, CommandResult, Config, Input, KeyringChange, MemberStatus, QueryRecord,
    Serf, StreamEnd, StreamId,
};
use cottar::swim::{self, NodeState};
use cottar::time::{Duration, Instant};
use cottar::wire::{Envelope, Key, Keyring, NodeName, NonceSource};

use crate::handlers::{Handlers, Pace};
use crate::history::{Depths, Record, Stop, What};
use crate::network::{Network, Weather};
use crate::trace;
use commands::Asked;
use schedule::{Happening, Scheduled};

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
    /// A LAN node without coalescing, so that scenarios see events at once.
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

/// An input of a node, which is delivered when the node is neither paused nor busy.
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

/// A record of a node: address, incarnation and state.
type Known = (SocketAddr, u32, NodeState);

/// A host and the node on it.
pub struct Node {
    pub spec: Spec,
    pub serf: Option<Serf>,
    pub life: u32,
    pub host_up: bool,
    pub paused: bool,
    /// Processor time of a turn; zero: none. See [`Sim::slow_down`].
    turn_time: Duration,
    /// The end of the running turn.
    busy_until: Instant,
    /// Whether the next turn is scheduled.
    has_turn: bool,
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
    known: BTreeMap<NodeName, Known>,
    statuses: BTreeMap<NodeName, MemberStatus>,
    deepest: Depths,
    /// The member, event and query clocks.
    clocks: [u64; 3],
}

impl Node {
    /// What the node finds in its snapshot file, if it has one. The reference skips lines that it does not know
    /// (seed 14840).
    fn read_snapshot(&self, twisted: Option<&Twisted>) -> Option<Snapshot> {
        let file = self.disk.snapshot.as_ref()?;
        let file = twisted.map_or(file.clone(), |twisted| twisted.reads(file));
        Some(Snapshot::decode(&file, self.spec.rejoin_after_leave).0)
    }

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
            turn_time: Duration::ZERO,
            busy_until: self.now,
            has_turn: false,
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
        config.snapshot = node.read_snapshot(self.twisted.get(&id));
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
}
