//! A node and its RPC server in virtual time, without sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use cottar::agent::observe::logger::Logger;
use cottar::agent::rpc::{
    Action, Config as RpcConfig, Peer as Caller, RequestId, RpcServer, SessionId, View,
};
use cottar::handler::HandlerQueue;
use cottar::rpc::ByteQueue;
use cottar::serf::{
    Command, CommandId, Config, Input, JoinTarget, Output, Serf, StreamEnd, Transmit,
};
use cottar::time::{Duration, Instant};
use cottar::wire::msgpack::Boundary;
use cottar::wire::{Envelope, Key, Keyring, NodeName, NonceSource};

use crate::value::{Value, decode};

/// The client's end of a session.
#[derive(Default)]
pub struct Peer {
    /// Bytes that the agent sent and the test has not taken.
    pub bytes: ByteQueue,
    /// Whether the agent closed the connection.
    pub closed: bool,
    /// Whether the client does not read.
    pub stalled: bool,
}

/// A client over TCP.
pub fn remote() -> Caller {
    Caller::Remote("127.0.0.1:5".parse().unwrap())
}

/// A client over a Unix socket.
pub fn local(may_control: bool) -> Caller {
    Caller::Local {
        pid: 77,
        uid: 1000,
        may_control,
    }
}

/// An agent.
pub struct Agent {
    pub serf: Serf,
    pub rpc: RpcServer,
    pub now: Instant,
    pub peers: BTreeMap<SessionId, Peer>,
    /// Whether the agent was requested to end.
    pub shutdown: bool,
    /// Whether joins are not started.
    pub hold_joins: bool,
    pub held: Vec<(RequestId, Vec<String>)>,
    pub handlers: HandlerQueue,
    /// The requests for which commands were run, by the commands' ids.
    pub commands: Vec<RequestId>,
    /// Sessions that the server wants to read again.
    pub read_again: BTreeSet<SessionId>,
    /// Its log, to which tests write.
    pub logger: Logger,
    own: SocketAddr,
    next_session: u64,
}

impl Agent {
    pub fn new(auth_key: Option<&str>) -> Self {
        Self::with_keyring(auth_key, None)
    }

    /// With encryption.
    pub fn with_keyring(auth_key: Option<&str>, key: Option<&[u8]>) -> Self {
        let own: SocketAddr = "127.0.0.1:28001".parse().unwrap();
        let name = NodeName::new(b"n1").unwrap();
        let mut config = Config::new(name, own, cottar::swim::Config::lan());
        config.tags.set(b"role", b"web");
        // Events reach streams at once.
        config.user_coalesce_period = Duration::ZERO;
        config.coalesce_period = Duration::ZERO;
        let mut envelope = Envelope::plain(NonceSource::new([1; 32]));
        envelope.keyring = key.map(|key| Keyring::new(Key::new(key).unwrap()));
        let serf = Serf::new(config, envelope, 7, Instant::ORIGIN).unwrap();
        let mut agent = Agent {
            serf,
            rpc: RpcServer::new(RpcConfig {
                auth_key: auth_key.map(str::to_owned),
                control_group: None,
            }),
            now: Instant::ORIGIN,
            peers: BTreeMap::new(),
            shutdown: false,
            hold_joins: false,
            held: Vec::new(),
            handlers: HandlerQueue::new(Vec::new()),
            commands: Vec::new(),
            read_again: BTreeSet::new(),
            logger: Logger::silent(),
            own,
            next_session: 0,
        };
        agent.run();
        agent
    }

    pub fn connect(&mut self) -> SessionId {
        self.connect_as(remote())
    }

    fn connect_as(&mut self, caller: Caller) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        assert!(self.rpc.accept(session, caller, self.now));
        self.peers.insert(session, Peer::default());
        session
    }

    /// Connects a client and performs the handshake.
    pub fn client(&mut self) -> SessionId {
        self.client_as(remote())
    }

    /// The same for another kind of client.
    pub fn client_as(&mut self, caller: Caller) -> SessionId {
        let session = self.connect_as(caller);
        let handshake = b"\x82\xa7Command\xa9handshake\xa3Seq\x01\x81\xa7Version\x01";
        self.send(session, handshake);
        assert_eq!(self.take(session).len(), 1);
        session
    }

    pub fn send(&mut self, session: SessionId, bytes: &[u8]) {
        self.rpc.received(session, bytes);
        self.run();
    }

    pub fn disconnect(&mut self, session: SessionId) {
        self.peers.remove(&session);
        self.rpc.closed(session);
        self.run();
    }

    /// Takes all values that the client has received.
    pub fn take(&mut self, session: SessionId) -> Vec<Value> {
        let peer = self.peers.get_mut(&session).unwrap();
        let mut values = Vec::new();
        while let Some(length) = Boundary::default()
            .find(peer.bytes.as_slice(), usize::MAX)
            .unwrap()
        {
            values.push(decode(&peer.bytes.as_slice()[..length]));
            peer.bytes.consume(length);
        }
        values
    }

    /// The same as bytes.
    pub fn take_bytes(&mut self, session: SessionId) -> Vec<u8> {
        let peer = self.peers.get_mut(&session).unwrap();
        let bytes = peer.bytes.as_slice().to_vec();
        peer.bytes.clear();
        bytes
    }

    /// Makes the client read again.
    pub fn resume(&mut self, session: SessionId) {
        self.peers.get_mut(&session).unwrap().stalled = false;
        self.flush(session);
        self.run();
    }

    /// Processes everything that is due now.
    pub fn run(&mut self) {
        let mut datagrams = VecDeque::new();
        loop {
            let mut busy = false;
            while let Some(output) = self.serf.poll_output() {
                busy = true;
                match output {
                    Output::Transmit(Transmit::Datagram { to, bytes }) if to == self.own => {
                        datagrams.push_back(bytes);
                    }
                    Output::Transmit(Transmit::Open { stream, .. }) => {
                        let why = "connect: connection refused".to_owned();
                        let end = StreamEnd::Failed(why);
                        self.input(Input::StreamClosed { stream, end });
                    }
                    Output::Transmit(_)
                    | Output::Snapshot(_)
                    | Output::KeyringChanged { .. }
                    | Output::Accepted(_)
                    | Output::MemberChanged { .. }
                    | Output::Stop => {}
                    Output::Event(event) => self.rpc.event(&event, None),
                    Output::CommandEnded { id, result } => {
                        if let Some(request) = self.request(id) {
                            self.rpc.command_ended(request, result);
                        }
                    }
                    Output::QueryRecord { id, record } => {
                        let request = self.request(id).expect("somebody has asked");
                        self.rpc.query_record(request, record);
                    }
                }
            }
            while let Some(bytes) = datagrams.pop_front() {
                busy = true;
                let from = self.own;
                self.input(Input::Datagram {
                    from,
                    bytes: &bytes,
                });
            }
            while let Some(action) = self.action() {
                busy = true;
                self.perform(action);
            }
            // The turn of the loop ends.
            let turn_end = self.now + Duration::from_nanos(1);
            if !busy && self.serf.poll_timeout().is_some_and(|due| due <= turn_end) {
                busy = true;
                self.serf.handle_input(Input::Timeout, turn_end);
            }
            if !busy {
                self.serf.check_invariants();
                return;
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.serf.handle_input(input, self.now);
    }

    fn command(&mut self, request: RequestId, command: Command) {
        let id = CommandId(self.commands.len() as u64);
        self.commands.push(request);
        self.input(Input::Command { id, command });
    }

    /// The request for which a command was run.
    fn request(&self, id: CommandId) -> Option<RequestId> {
        self.commands.get(usize::try_from(id.0).unwrap()).copied()
    }

    fn action(&mut self) -> Option<Action> {
        self.rpc.poll_action(&View {
            now: self.now,
            unix_micros: 0,
            serf: &self.serf,
            handlers: &self.handlers,
            logger: &self.logger,
            lost: Default::default(),
        })
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Flush(session) => self.flush(session),
            Action::Read(session) => {
                assert!(self.rpc.wants_input(session));
                self.read_again.insert(session);
            }
            Action::Close(session) => {
                if let Some(peer) = self.peers.get_mut(&session) {
                    peer.closed = true;
                }
            }
            Action::Run { request, command } => self.command(request, command),
            Action::Forget(requests) => {
                for index in 0..self.commands.len() {
                    if requests.contains(&self.commands[index]) {
                        let (id, query) = (CommandId(u64::MAX), CommandId(index as u64));
                        let command = Command::ForgetQuery(query);
                        self.input(Input::Command { id, command });
                    }
                }
            }
            Action::Tags { request, change } => {
                let tags = change.apply(self.serf.tags());
                self.command(request, Command::SetTags(tags));
            }
            Action::Join {
                request, addresses, ..
            } if self.hold_joins => {
                self.held.push((request, addresses));
            }
            Action::Join {
                request,
                addresses,
                replay,
            } => {
                let target = |address: &String| JoinTarget {
                    name: None,
                    addr: address.parse().unwrap(),
                };
                let command = Command::Join {
                    targets: addresses.iter().map(target).collect(),
                    ignore_old_events: !replay,
                    announce: true,
                };
                self.command(request, command);
            }
            Action::ListHandlers { request } => {
                self.rpc.list_handlers(request, &self.handlers);
            }
            Action::Queue { request, change } => {
                let result = change.apply(&mut self.handlers);
                self.rpc.queue_changed(request, result);
            }
            Action::RunHandlers { request, runs } => {
                let (queue, at) = (&mut self.handlers, self.now.into());
                self.rpc.run_handlers(request, runs, queue, at);
            }
            Action::Shutdown => self.shutdown = true,
        }
    }

    fn flush(&mut self, session: SessionId) {
        let peer = self.peers.get_mut(&session).unwrap();
        if !peer.stalled {
            let output = self.rpc.output(session);
            peer.bytes.push(output);
            let count = output.len();
            self.rpc.sent(session, count);
        }
    }

    /// Advances to the next deadline; returns false if it is later than `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        let due = [self.serf.poll_timeout(), self.rpc.poll_timeout()];
        match due.into_iter().flatten().min() {
            Some(due) if due <= until => {
                self.now = self.now.max(due);
                if self.serf.poll_timeout().is_some_and(|t| t <= self.now) {
                    self.input(Input::Timeout);
                }
                self.rpc.handle_timeout(self.now);
                self.run();
                true
            }
            _ => false,
        }
    }

    /// Advances the virtual time.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
        self.run();
    }
}
