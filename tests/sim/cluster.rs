//! Nodes in virtual time: drives each core as the shell would, and carries its bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cottar::rng::Rng;
use cottar::serf::snapshot::Snapshot;
use cottar::serf::{
    Command, CommandId, CommandResult, Config, Event, Input, JoinTarget, KeyringChange,
    MemberStatus, Output, QueryParams, QueryRecord, Serf, StreamEnd, StreamId, Tags, Transmit,
};
use cottar::swim::{self, NodeState};
use cottar::time::{Duration, Instant};
use cottar::wire::{Envelope, Key, Keyring, NodeName, NonceSource};

use crate::handlers::{Handlers, Pace};
use crate::history::{Depths, Record, Stop, What};
use crate::network::{End, KERNEL_PATIENCE, Network, Piece, RETRANSMISSION, Weather};
use crate::trace;

/// A host of the simulation; the node that runs on it may stop and start again.
pub type NodeId = usize;

/// What a node is made of.
#[derive(Clone)]
pub struct Spec {
    pub config: Config,
    pub key: Option<Vec<u8>>,
    pub compression: bool,
    /// Encryption is asked of others, and done (gossip spec 6.3).
    pub verify_incoming: bool,
    pub verify_outgoing: bool,
    pub pace: Pace,
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
        }
    }
}

/// What a host keeps over restarts of its node.
#[derive(Default)]
pub struct Disk {
    /// The snapshot file, if the node has one.
    pub snapshot: Option<Vec<u8>>,
    /// What the keyring file holds; it is written where the configuration wants one.
    pub keyring: Option<Vec<Key>>,
    /// Nothing can be written.
    pub full: bool,
}

/// Time that a write of the keyring file takes.
const WRITE_TIME: Duration = Duration::from_millis(3);

/// A name that is known to be good.
pub fn node_name(name: &str) -> NodeName {
    NodeName::new(name.as_bytes()).unwrap()
}

/// The address of the host with this number.
pub fn host_addr(number: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 7, (number / 250) as u8, (number % 250 + 1) as u8);
    SocketAddr::new(IpAddr::V4(ip), 7946)
}

/// Something that reaches a node, at once or when it is no longer paused.
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

/// What a command was, until it ends.
enum Asked {
    Join {
        retry: Option<Command>,
        ignore_old: bool,
    },
    Leave,
    UserEvent {
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    Query,
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
    /// How the life before this one ended.
    pub before: Option<Stop>,
    pub handlers: Handlers,
    pub disk: Disk,
    inbox: VecDeque<Incoming>,
    wake: Option<Instant>,
    /// Every stream of this life: connection and side.
    streams: BTreeMap<StreamId, (u64, usize)>,
    next_inbound: u64,
    started_at: Instant,
    resumed_at: Instant,
    stopping: Option<Stop>,
    known: BTreeMap<NodeName, (SocketAddr, u32, NodeState)>,
    statuses: BTreeMap<NodeName, MemberStatus>,
    deepest: Depths,
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

/// Something due at an instant.
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
        command: Command,
    },
}

struct Scheduled {
    at: Instant,
    /// 0: something arrives; 1: a deadline, which yields to all that arrives at the same instant.
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

/// Figures of a run.
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
    /// Keep a history and look into the nodes after each input. Off for very large clusters.
    pub observing: bool,
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
            started_at: self.now,
            resumed_at: self.now,
            stopping: None,
            known: BTreeMap::new(),
            statuses: BTreeMap::new(),
            deepest: Depths::default(),
        });
        id
    }

    /// Starts the node of a host, for the first time or again.
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
        config.snapshot = (node.disk.snapshot.as_ref()).map(|file| Snapshot::decode(file, false).0);
        let serf = Serf::new(config, envelope, seed, now).unwrap();
        node.before = node.stopped.take();
        if node.before.is_some() {
            node.life += 1;
        }
        node.serf = Some(serf);
        node.host_up = true;
        node.started_at = now;
        node.resumed_at = now;
        node.handlers = Handlers::new(node.spec.pace);
        let (name, addr) = (node.spec.config.name.clone(), node.spec.config.addr);
        self.by_addr.insert(addr, id);
        self.record(id, What::Started { name, addr });
        self.after_input(id);
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
            Command::Join {
                ignore_old_events, ..
            } => Asked::Join {
                retry: None,
                ignore_old: *ignore_old_events,
            },
            Command::Leave => Asked::Leave,
            Command::UserEvent { name, payload, .. } => Asked::UserEvent {
                name: name.clone(),
                payload: payload.clone().unwrap_or_default(),
            },
            Command::Query(_) => Asked::Query,
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
        let targets = others.iter().map(|&other| JoinTarget {
            name: None,
            addr: self.nodes[other].spec.config.addr,
        });
        let command = Command::Join {
            targets: targets.collect(),
            ignore_old_events: ignore_old,
            announce: true,
        };
        let retry = retry.then(|| command.clone());
        self.command_as(id, command, Asked::Join { retry, ignore_old })
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

    /// The process ends without a word; its kernel resets its connections, or, if the whole host
    /// goes down, nobody says anything any more.
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

    /// As SIGSTOP: what arrives waits in the kernel.
    pub fn pause(&mut self, id: NodeId) {
        if self.nodes[id].serf.is_some() && !self.nodes[id].paused {
            self.nodes[id].paused = true;
            self.record(id, What::Paused);
        }
    }

    /// As SIGCONT.
    pub fn resume(&mut self, id: NodeId) {
        if !std::mem::take(&mut self.nodes[id].paused) {
            return;
        }
        self.nodes[id].resumed_at = self.now;
        self.record(id, What::Resumed);
        while let Some(input) = self.nodes[id].inbox.pop_front() {
            self.feed(id, input);
        }
        self.schedule_wake(id);
    }

    // --- looking -----------------------------------------------------------------------------

    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes[id].serf.is_some()
    }

    /// Nodes that run, paused ones included.
    pub fn up(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|&id| self.is_up(id)).collect()
    }

    pub fn serf(&self, id: NodeId) -> &Serf {
        self.nodes[id].serf.as_ref().expect("the node runs")
    }

    /// The status that a node gives a member.
    pub fn status(&self, id: NodeId, of: &str) -> Option<MemberStatus> {
        self.serf(id)
            .member(of.as_bytes())
            .map(|member| member.status)
    }

    /// Why the lists of the nodes that run are not what they must become, if so.
    pub fn disagreement(&self) -> Option<String> {
        let up = self.up();
        let mut gone: BTreeMap<&NodeName, MemberStatus> = BTreeMap::new();
        for &viewer in &up {
            let serf = self.serf(viewer);
            for &other in &up {
                let name = &self.nodes[other].spec.config.name;
                let own = self.serf(other).member(name.as_bytes());
                let held = serf.member(name.as_bytes());
                let agreed =
                    held.is_some_and(|held| held.status == MemberStatus::Alive) && held == own;
                if !agreed {
                    return Some(format!(
                        "node {viewer} holds {held:?}, the node itself {own:?}"
                    ));
                }
            }
            for member in serf.members() {
                let runs = up
                    .iter()
                    .any(|&id| self.nodes[id].spec.config.name == member.name);
                let settled = matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
                if !runs
                    && (!settled
                        || *gone.entry(&member.name).or_insert(member.status) != member.status)
                {
                    return Some(format!(
                        "node {viewer} holds {member:?}, which does not run"
                    ));
                }
            }
        }
        None
    }

    pub fn result(&self, id: CommandId) -> Option<&CommandResult> {
        self.results.get(&id).map(|(_, result)| result)
    }

    /// A hash of all bytes that all nodes sent, with the times.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub fn record(&mut self, node: NodeId, what: What) {
        if self.observing {
            self.history.push(Record {
                at: self.now,
                node,
                life: self.nodes[node].life,
                what,
            });
        }
    }

    /// Writes the end into the history, in place of an earlier one: lists, queues and streams of the
    /// living.
    pub fn finish(&mut self) {
        let ending =
            |what: &What| matches!(what, What::Members(_) | What::Queues { end: true, .. });
        self.history.retain(|record| !ending(&record.what));
        for id in self.up() {
            let members = self.serf(id).members().cloned().collect();
            let depths = self.depths(id);
            let handled = self.nodes[id].handlers.counters();
            let dropped = handled.dropped_user_events + handled.dropped_queries;
            assert_eq!(
                dropped + handled.merged_members,
                0,
                "the queue has room for all"
            );
            let opened: Vec<Instant> = (self.nodes[id].streams.values())
                .filter_map(|&(connection, side)| {
                    let end = &self.network.connections.get(&connection)?.ends[side];
                    end.open.then_some(end.since)
                })
                .collect();
            for at in opened {
                self.record_age(id, at);
            }
            self.record(id, What::Members(members));
            self.record(id, What::Queues { depths, end: true });
        }
    }

    // --- time --------------------------------------------------------------------------------

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Lets time pass up to an instant.
    pub fn run_to(&mut self, end: Instant) {
        while self.queue.peek().is_some_and(|next| next.0.at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until a condition holds, looked at every 10 ms; false if it does not in time.
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
                self.feed(to, Incoming::Datagram { from, bytes });
            }
            Happening::Lane { connection, side } => self.advance_lane(connection, side),
            Happening::Wake { node } => self.wake(node),
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
                    let ignore_old = matches!(
                        command,
                        Command::Join {
                            ignore_old_events: true,
                            ..
                        }
                    );
                    let retry = Some(command.clone());
                    self.command_as(node, command, Asked::Join { retry, ignore_old });
                }
            }
        }
    }

    // --- a node's turn -----------------------------------------------------------------------

    fn wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        if node.wake != Some(now) {
            return; // a later word replaced this one
        }
        node.wake = None;
        if node.paused {
            return;
        }
        let Some(serf) = node.serf.as_mut() else {
            return;
        };
        if serf.poll_timeout().is_some_and(|due| due <= now) {
            trace::at(now, &node.spec.config.name.to_string());
            serf.handle_input(Input::Timeout, now);
            self.traffic.timeouts += 1;
            let next = serf.poll_timeout();
            assert!(
                next.is_none_or(|next| next > now),
                "{} handled its timeout at {now:?} and wants the next at {next:?}",
                node.spec.config.name
            );
            self.after_input(id);
        } else {
            self.schedule_wake(id);
        }
    }

    fn schedule_wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Some(due) = node.serf.as_ref().and_then(Serf::poll_timeout) else {
            return;
        };
        let due = due.max(now);
        // A wake that comes too early looks again; only an earlier one needs a new entry.
        if !node.paused && node.wake.is_none_or(|wake| due < wake) {
            node.wake = Some(due);
            self.schedule(due, 1, Happening::Wake { node: id });
        }
    }

    fn feed(&mut self, id: NodeId, incoming: Incoming) {
        let now = self.now;
        let node = &mut self.nodes[id];
        if node.paused {
            node.inbox.push_back(incoming);
            return;
        }
        let Some(serf) = node.serf.as_mut() else {
            return;
        };
        self.traffic.inputs += 1;
        trace::at(now, &node.spec.config.name.to_string());
        match incoming {
            Incoming::Datagram { from, bytes } => {
                let bytes = &bytes;
                serf.handle_input(Input::Datagram { from, bytes }, now);
            }
            Incoming::Accepted { stream, peer } => {
                serf.handle_input(Input::StreamAccepted { stream, peer }, now);
            }
            Incoming::Connected(stream) => serf.handle_input(Input::StreamConnected(stream), now),
            Incoming::Data { stream, bytes } => {
                let bytes = &bytes;
                serf.handle_input(Input::StreamData { stream, bytes }, now);
            }
            Incoming::Closed { stream, end } => {
                serf.handle_input(Input::StreamClosed { stream, end }, now);
            }
            Incoming::Command { id, command } => {
                serf.handle_input(Input::Command { id, command }, now);
            }
            Incoming::KeyringWritten { change, result } => {
                serf.handle_input(Input::KeyringWritten { change, result }, now);
            }
            Incoming::HandlerEnded => self.handler_ended(id),
        }
        self.after_input(id);
    }

    /// Drains the outputs, then looks at the node. Asking must change nothing.
    fn after_input(&mut self, id: NodeId) {
        let timeout = self.nodes[id].serf.as_ref().and_then(Serf::poll_timeout);
        while let Some(output) = self.nodes[id].serf.as_mut().and_then(Serf::poll_output) {
            self.perform(id, output);
        }
        if let Some(why) = self.nodes[id].stopping.take() {
            self.stop(id, why);
            return;
        }
        let Some(serf) = self.nodes[id].serf.as_mut() else {
            return;
        };
        assert_eq!(serf.poll_output(), None, "outputs appear by asking");
        assert_eq!(serf.poll_timeout(), timeout, "polling moved the deadline");
        if self.observing {
            serf.check_invariants();
            self.observe(id);
        }
        self.schedule_wake(id);
    }

    fn perform(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Transmit(transmit) => self.transmit(id, transmit),
            Output::Event(event) => {
                let order = self.nodes[id].handlers.push(event.clone(), self.now);
                self.record(id, What::Delivered { order, event });
                self.start_handler(id);
            }
            Output::CommandEnded {
                id: command,
                result,
            } => self.command_ended(id, command, result),
            Output::QueryRecord {
                id: command,
                record,
            } => {
                let records = self.returned.entry(command).or_default();
                records.push((self.now, record.clone()));
                self.record(id, What::Returned { command, record });
            }
            Output::Snapshot(line) => {
                let disk = &mut self.nodes[id].disk;
                let file = disk.snapshot.as_mut().filter(|_| !disk.full);
                if let Some(file) = file {
                    line.encode(file);
                }
            }
            Output::KeyringChanged { change, keys } => self.write_keyring(id, change, keys),
            Output::Stop => self.nodes[id].stopping = Some(Stop::LostItsName),
        }
    }

    fn write_keyring(&mut self, id: NodeId, change: KeyringChange, keys: Vec<Key>) {
        let node = &mut self.nodes[id];
        let result = if node.disk.full {
            Err("no space left on device".to_owned())
        } else {
            node.disk.keyring = Some(keys);
            Ok(())
        };
        let happening = Happening::KeyringWritten {
            node: id,
            life: node.life,
            change,
            result,
        };
        self.schedule(self.now + WRITE_TIME, 0, happening);
    }

    fn command_ended(&mut self, id: NodeId, command: CommandId, result: CommandResult) {
        let asked = self.asked.remove(&command);
        let asked = asked.unwrap_or_else(|| panic!("{command:?} ended twice: {result:?}"));
        let worked = !matches!(result, CommandResult::Failed(_));
        match (asked, &result) {
            (Asked::Join { ignore_old, .. }, CommandResult::Joined { contacted, .. })
                if *contacted > 0 =>
            {
                let event_time = self.serf(id).stats().event_time;
                let skipped_before = if ignore_old { event_time } else { 0 };
                self.record(id, What::Joined { skipped_before });
            }
            (
                Asked::Join {
                    retry: Some(command),
                    ..
                },
                _,
            ) => {
                let life = self.nodes[id].life;
                let at = self.now + RETRY_JOIN;
                let node = id;
                self.schedule(
                    at,
                    0,
                    Happening::RetryJoin {
                        node,
                        life,
                        command,
                    },
                );
            }
            (Asked::Leave, CommandResult::Done) => self.nodes[id].stopping = Some(Stop::Left),
            (Asked::UserEvent { name, payload }, CommandResult::Done) => {
                self.record(id, What::Fired { name, payload });
            }
            (
                Asked::Query,
                CommandResult::Queried {
                    ltime,
                    id: query,
                    deadline,
                },
            ) => {
                let asked = What::Asked {
                    command,
                    ltime: *ltime,
                    id: *query,
                    deadline: *deadline,
                };
                self.record(id, asked);
            }
            (Asked::Respond(query), _) => {
                let answered = What::Answered {
                    ltime: query.ltime,
                    id: query.id,
                    deadline: query.deadline,
                    sent: worked,
                };
                self.record(id, answered);
                return; // of no interest to stories
            }
            _ => {}
        }
        self.results.insert(command, (self.now, result));
    }

    // --- handlers ----------------------------------------------------------------------------

    fn start_handler(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_ref() else {
            return;
        };
        let Some((order, time)) = node.handlers.start(serf, &mut self.rng, self.now) else {
            return;
        };
        self.record(id, What::HandlerStarted { order });
        let life = self.nodes[id].life;
        let end = Happening::HandlerEnd { node: id, life };
        self.schedule(self.now + time, 0, end);
    }

    fn handler_ended(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let output = format!("answer of {}", node.spec.config.name);
        let Some((order, event, answer)) = node.handlers.end(output) else {
            return;
        };
        self.record(id, What::HandlerEnded { order });
        if let (Event::Query(query), Some(answer)) = (event, answer) {
            self.command_as(id, answer.command, Asked::Respond(query));
        }
        self.start_handler(id);
    }

    // --- bytes -------------------------------------------------------------------------------

    fn transmit(&mut self, id: NodeId, transmit: Transmit) {
        self.print(id, &transmit);
        match transmit {
            Transmit::Datagram { to, bytes } => self.send_datagram(id, to, bytes),
            Transmit::Open { stream, to } => self.open(id, stream, to),
            Transmit::Write { stream, bytes } => {
                let Some((connection, side)) = self.stream(id, stream) else {
                    return;
                };
                let end = &self.network.connections[&connection].ends[side];
                assert!(
                    end.connected,
                    "{stream:?} is written to before it is connected"
                );
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let most = self.network.weather.piece_bytes_max.min(rest.len());
                    let (piece, after) = rest.split_at(1 + self.rng.below(most));
                    self.send_piece(connection, side, Piece::Data(piece.to_vec()));
                    rest = after;
                }
            }
            Transmit::Close { stream } => self.close(id, stream, false),
            Transmit::Abort { stream } => self.close(id, stream, true),
        }
    }

    /// Adds what a node sends to the hash of the run, and to the figures.
    fn print(&mut self, id: NodeId, transmit: &Transmit) {
        let (kind, number, bytes): (u64, u64, &[u8]) = match transmit {
            Transmit::Datagram { to, bytes } => {
                self.traffic.datagrams += 1;
                self.traffic.datagram_bytes += bytes.len() as u64;
                let host = self.by_addr.get(to).map_or(u64::MAX, |&host| host as u64);
                (1, host, bytes)
            }
            Transmit::Open { stream, .. } => {
                self.traffic.streams += 1;
                (2, stream_number(*stream), &[])
            }
            Transmit::Write { stream, bytes } => {
                self.traffic.stream_bytes += bytes.len() as u64;
                (3, stream_number(*stream), bytes)
            }
            Transmit::Close { stream } => (4, stream_number(*stream), &[]),
            Transmit::Abort { stream } => (5, stream_number(*stream), &[]),
        };
        let mut hash = self.fingerprint;
        let mut add =
            |word: u64| hash = (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        for word in [
            self.now.as_nanos(),
            id as u64,
            kind,
            number,
            bytes.len() as u64,
        ] {
            add(word);
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            add(u64::from_le_bytes(word));
        }
        self.fingerprint = hash;
    }

    fn send_datagram(&mut self, id: NodeId, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= 65_507, "a datagram of {} bytes", bytes.len());
        let Some(&host) = self.by_addr.get(&to) else {
            return;
        };
        let from = self.nodes[id].spec.config.addr;
        let delays = self.network.datagram_delays(&mut self.rng, id, host);
        if let [Some(first), second] = delays {
            if let Some(second) = second {
                let bytes = bytes.clone();
                let copy = Happening::Datagram {
                    to: host,
                    from,
                    bytes,
                };
                self.schedule(self.now + second, 0, copy);
            }
            let only = Happening::Datagram {
                to: host,
                from,
                bytes,
            };
            self.schedule(self.now + first, 0, only);
        }
    }

    fn open(&mut self, id: NodeId, stream: StreamId, to: SocketAddr) {
        let now = self.now;
        let node = &self.nodes[id];
        assert!(
            matches!(stream, StreamId::Outbound(_)) && !node.streams.contains_key(&stream),
            "{stream:?} is no fresh outbound id"
        );
        let target = self.by_addr.get(&to).copied();
        let end = |node, life, stream, open| End {
            node,
            life,
            stream,
            open,
            connected: false,
            since: now,
        };
        let from = end(Some(id), node.life, Some(stream), true);
        let there = end(target, 0, None, false);
        let connection = self.network.connect(from, there);
        self.nodes[id].streams.insert(stream, (connection, 0));
        self.send_piece(connection, 0, Piece::Syn);
    }

    /// The connection of a stream, unless it is over already.
    fn stream(&self, id: NodeId, stream: StreamId) -> Option<(u64, usize)> {
        let found = self.nodes[id].streams.get(&stream);
        let &(connection, side) = found.unwrap_or_else(|| panic!("{stream:?} never existed"));
        let open = self.network.connections.get(&connection)?.ends[side].open;
        open.then_some((connection, side))
    }

    fn close(&mut self, id: NodeId, stream: StreamId, at_once: bool) {
        let Some((connection, side)) = self.stream(id, stream) else {
            return;
        };
        let found = self
            .network
            .connections
            .get_mut(&connection)
            .expect("it is open");
        found.ends[side].open = false;
        let opened = found.ends[side].since;
        let connected = found.ends[side].connected;
        if at_once {
            found.lanes[side].pieces.clear();
        }
        if !connected || at_once {
            self.send_piece(connection, side, Piece::Reset);
        } else {
            self.send_piece(connection, side, Piece::Eof);
        }
        self.record_age(id, opened);
    }

    fn record_age(&mut self, id: NodeId, opened: Instant) {
        let age = self.now.since(opened);
        let node = &self.nodes[id];
        let awake = !node.paused && opened >= node.resumed_at;
        if awake && age > Duration::from_secs(1) {
            self.record(id, What::StreamAge { age });
        }
    }

    fn send_piece(&mut self, connection: u64, side: usize, piece: Piece) {
        let delay = self.network.piece_delay(&mut self.rng);
        let now = self.now;
        let found = self
            .network
            .connections
            .get_mut(&connection)
            .expect("it exists");
        let lane = &mut found.lanes[side];
        let due = lane.last_due.max(now + delay);
        lane.last_due = due;
        lane.pieces.push_back((due, piece));
        if !std::mem::replace(&mut lane.scheduled, true) {
            self.schedule(due, 0, Happening::Lane { connection, side });
        }
    }

    /// The front piece of a lane may arrive now.
    fn advance_lane(&mut self, connection: u64, side: usize) {
        let now = self.now;
        let Some(found) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let (from, to) = (found.ends[side].node, found.ends[1 - side].node);
        let lane = &mut found.lanes[side];
        lane.scheduled = false;
        let Some(&(due, _)) = lane.pieces.front() else {
            self.network.forget_if_over(connection);
            return;
        };
        let reachable = match (from, to) {
            (Some(from), Some(to)) => self.nodes[to].host_up && !self.network.is_cut(from, to),
            _ => false,
        };
        let lane = &mut self
            .network
            .connections
            .get_mut(&connection)
            .expect("as above")
            .lanes[side];
        if due > now {
            lane.scheduled = true;
            self.schedule(due, 0, Happening::Lane { connection, side });
        } else if reachable {
            lane.stuck_since = None;
            let (_, piece) = lane.pieces.pop_front().expect("as above");
            self.deliver(connection, side, piece);
            self.continue_lane(connection, side);
        } else if now.since(*lane.stuck_since.get_or_insert(now)) < KERNEL_PATIENCE {
            lane.scheduled = true;
            let again = now + RETRANSMISSION;
            self.schedule(again, 0, Happening::Lane { connection, side });
        } else {
            lane.pieces.clear();
            self.end_stream(
                connection,
                side,
                StreamEnd::Failed("connection timed out".into()),
            );
            self.network.forget_if_over(connection);
        }
    }

    fn continue_lane(&mut self, connection: u64, side: usize) {
        let now = self.now;
        if let Some(found) = self.network.connections.get_mut(&connection) {
            let lane = &mut found.lanes[side];
            if let (Some(&(due, _)), false) = (lane.pieces.front(), lane.scheduled) {
                lane.scheduled = true;
                self.schedule(due.max(now), 0, Happening::Lane { connection, side });
            }
        }
        self.network.forget_if_over(connection);
    }

    /// A piece that `side` sent reaches the other side's kernel.
    fn deliver(&mut self, connection: u64, side: usize, piece: Piece) {
        let there = 1 - side;
        let weather = &self.network.weather;
        let breaks = weather.stream_break > 0.0 && self.rng.chance(weather.stream_break);
        if piece == Piece::Syn {
            self.accept(connection);
            return;
        }
        let end = self.network.connections[&connection].ends[there].clone();
        let Some(id) = end.node else {
            return;
        };
        let alive = self.is_up(id) && self.nodes[id].life == end.life;
        if !end.open || !alive {
            let gone = !alive && matches!(piece, Piece::Data(_) | Piece::SynAck);
            if gone && self.network.connections[&connection].ends[side].open {
                self.send_piece(connection, there, Piece::Reset);
            }
            return;
        }
        let stream = end.stream.expect("an open end has a name");
        let broken = || StreamEnd::Failed("read: connection reset by peer".into());
        match piece {
            Piece::Syn => {}
            Piece::SynAck => {
                let found = self
                    .network
                    .connections
                    .get_mut(&connection)
                    .expect("it exists");
                found.ends[there].connected = true;
                self.feed(id, Incoming::Connected(stream));
            }
            Piece::Refused => {
                let end = StreamEnd::Failed("connect: connection refused".into());
                self.end_stream(connection, there, end);
            }
            Piece::Data(_) if breaks => {
                self.end_stream(connection, there, broken());
                self.end_stream(connection, side, broken());
            }
            Piece::Data(bytes) => self.feed(id, Incoming::Data { stream, bytes }),
            Piece::Eof => self.end_stream(connection, there, StreamEnd::Eof),
            Piece::Reset => self.end_stream(connection, there, broken()),
        }
    }

    /// A connection attempt reaches the host: its kernel accepts even for a paused process.
    fn accept(&mut self, connection: u64) {
        let found = &self.network.connections[&connection];
        let (Some(from), Some(to)) = (found.ends[0].node, found.ends[1].node) else {
            return;
        };
        let refusal = self.network.weather.refusal;
        let refused = refusal > 0.0 && self.rng.chance(refusal);
        if !self.is_up(to) || refused {
            self.send_piece(connection, 1, Piece::Refused);
            return;
        }
        let peer_ip = self.nodes[from].spec.config.addr.ip();
        let peer = SocketAddr::new(peer_ip, 30_000 + (connection % 30_000) as u16);
        let node = &mut self.nodes[to];
        let stream = StreamId::Inbound(node.next_inbound);
        node.next_inbound += 1;
        node.streams.insert(stream, (connection, 1));
        let life = node.life;
        let end = End {
            node: Some(to),
            life,
            stream: Some(stream),
            open: true,
            connected: true,
            since: self.now,
        };
        self.network
            .connections
            .get_mut(&connection)
            .expect("it exists")
            .ends[1] = end;
        self.send_piece(connection, 1, Piece::SynAck);
        self.feed(to, Incoming::Accepted { stream, peer });
    }

    /// Tells one side, if it still cares, that its stream is over.
    fn end_stream(&mut self, connection: u64, side: usize, why: StreamEnd) {
        let Some(found) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let end = &mut found.ends[side];
        let opened = end.since;
        if let (true, Some(id), Some(stream)) = (end.open, end.node, end.stream) {
            end.open = false;
            if self.is_up(id)
                && self.nodes[id].life == self.network.connections[&connection].ends[side].life
            {
                self.record_age(id, opened);
                self.feed(id, Incoming::Closed { stream, end: why });
            }
        }
    }

    // --- observing ---------------------------------------------------------------------------

    fn depths(&self, id: NodeId) -> Depths {
        let serf = self.serf(id);
        let stats = serf.stats();
        Depths {
            membership: serf.swim().membership_queue_len(),
            intent: stats.intent_queue,
            query: stats.query_queue,
            event: stats.event_queue,
        }
    }

    /// Writes down what is new in the node's tables.
    fn observe(&mut self, id: NodeId) {
        let depths = self.depths(id);
        let now = self.now;
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_ref() else {
            return;
        };
        let mut news = Vec::new();
        let deepest = Depths {
            membership: node.deepest.membership.max(depths.membership),
            intent: node.deepest.intent.max(depths.intent),
            query: node.deepest.query.max(depths.query),
            event: node.deepest.event.max(depths.event),
        };
        if deepest != node.deepest {
            node.deepest = deepest;
            news.push(What::Queues { depths, end: false });
        }
        let mut seen = 0;
        for record in serf.swim().nodes() {
            seen += 1;
            let value = (record.addr, record.incarnation, record.state);
            if node.known.get(&record.name) != Some(&value) {
                node.known.insert(record.name.clone(), value);
                news.push(What::Known {
                    about: record.name.clone(),
                    addr: record.addr,
                    incarnation: record.incarnation,
                    state: record.state,
                });
            }
        }
        if seen != node.known.len() {
            node.known.retain(|name, _| {
                let kept = serf.swim().node(name).is_some();
                if !kept {
                    news.push(What::Dropped {
                        about: name.clone(),
                    });
                }
                kept
            });
        }
        let mut members = 0;
        for member in serf.members() {
            members += 1;
            if node.statuses.get(&member.name) != Some(&member.status) {
                node.statuses.insert(member.name.clone(), member.status);
                let about = member.name.clone();
                let status = Some(member.status);
                news.push(What::Status { about, status });
            }
        }
        if members != node.statuses.len() {
            node.statuses.retain(|name, _| {
                let kept = serf.member(name.as_bytes()).is_some();
                if !kept {
                    let about = name.clone();
                    news.push(What::Status {
                        about,
                        status: None,
                    });
                }
                kept
            });
        }
        let life = node.life;
        self.history.extend(news.into_iter().map(|what| Record {
            at: now,
            node: id,
            life,
            what,
        }));
    }
}

fn stream_number(stream: StreamId) -> u64 {
    match stream {
        StreamId::Inbound(number) => number << 1,
        StreamId::Outbound(number) => number << 1 | 1,
    }
}
