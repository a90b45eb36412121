//! Connects a few nodes: bytes take one millisecond, and nothing is lost unless a test cuts a node off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::serf::snapshot::SnapshotLine;
use crate::serf::*;
use crate::swim;
use crate::time::{Duration, Instant};
use crate::wire::{Key, Keyring, NonceSource};

const LATENCY: Duration = Duration::from_millis(1);
/// Time in which the loop of a node comes to its timeouts.
const TURN: Duration = Duration::from_nanos(1);

enum Parcel {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Accepted { stream: StreamId, peer: SocketAddr },
    Connected { stream: StreamId },
    Data { stream: StreamId, bytes: Vec<u8> },
    Closed { stream: StreamId, end: StreamEnd },
}

/// A node and its collected outputs.
pub(super) struct Host {
    pub(super) serf: Serf,
    pub(super) events: Vec<Event>,
    pub(super) results: BTreeMap<CommandId, CommandResult>,
    pub(super) records: Vec<(CommandId, QueryRecord)>,
    /// If set, the response that is sent at once to every delivered query.
    pub(super) answer: Option<Vec<u8>>,
    pub(super) stopped: bool,
    pub(super) taken: Vec<UserEvent>,
    /// All snapshot lines.
    pub(super) snapshot: Vec<SnapshotLine>,
    /// The keyrings to be written, oldest first.
    pub(super) keyrings: Vec<(KeyringChange, Vec<Key>)>,
    /// All datagrams that it sent, concatenated.
    pub(super) sent: Vec<u8>,
    /// Isolated: it receives and sends nothing, but its time goes on.
    pub(super) cut: bool,
}

/// The nodes and the network between them.
pub(super) struct Net {
    pub(super) now: Instant,
    hosts: BTreeMap<SocketAddr, Host>,
    parcels: VecDeque<(Instant, SocketAddr, Parcel)>,
    /// The remote end of each stream.
    ends: BTreeMap<(SocketAddr, StreamId), (SocketAddr, StreamId)>,
    last_stream: u64,
    last_command: u64,
}

pub(super) fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7000 + n))
}

pub(super) fn config(n: u16) -> Config {
    let name = NodeName::new(format!("n{n}").as_bytes()).unwrap();
    Config::new(name, addr(n), swim::Config::lan())
}

pub(super) fn start(config: Config, now: Instant) -> Serf {
    start_with(config, &[], now)
}

/// Starts a node with a keyring of these keys, or without one if there are none.
pub(super) fn start_with(config: Config, keys: &[Key], now: Instant) -> Serf {
    let seed = u64::from(config.addr.port());
    let mut envelope = Envelope::plain(NonceSource::new([7; 32]));
    // Lets tests inspect the bytes.
    envelope.compression = false;
    if let Some((primary, others)) = keys.split_first() {
        let mut ring = Keyring::new(primary.clone());
        others.iter().for_each(|key| ring.install(key.clone()));
        envelope.keyring = Some(ring);
    }
    Serf::new(config, envelope, seed, now).unwrap()
}

impl Net {
    /// Makes nodes n1 to n`count`, not joined.
    pub(super) fn new(count: u16) -> Self {
        let mut net = Net {
            now: Instant::from_millis(1),
            hosts: BTreeMap::new(),
            parcels: VecDeque::new(),
            ends: BTreeMap::new(),
            last_stream: 0,
            last_command: 0,
        };
        for n in 1..=count {
            net.add(config(n));
        }
        net
    }

    /// Makes nodes n1 to n`count`, all joined with each other.
    pub(super) fn joined(count: u16) -> Self {
        let mut net = Net::new(count);
        for n in 2..=count {
            net.join(n, 1);
        }
        net.run_until("all know all", Duration::from_secs(10), |net| {
            (1..=count).all(|n| net.alive_in(n) == usize::from(count))
        });
        net
    }

    /// Adds a node at its configured address; replaces the one that was there.
    pub(super) fn add(&mut self, config: Config) {
        self.add_with(config, &[]);
    }

    /// As [`Self::add`], with a keyring of these keys, or without one if there are none.
    pub(super) fn add_with(&mut self, config: Config, keys: &[Key]) {
        let at = config.addr;
        let serf = start_with(config, keys, self.now);
        let host = Host {
            serf,
            events: Vec::new(),
            results: BTreeMap::new(),
            records: Vec::new(),
            answer: None,
            stopped: false,
            taken: Vec::new(),
            snapshot: Vec::new(),
            keyrings: Vec::new(),
            sent: Vec::new(),
            cut: false,
        };
        self.hosts.insert(at, host);
        self.drain(at);
    }

    pub(super) fn remove(&mut self, n: u16) {
        self.hosts.remove(&addr(n));
        self.ends.retain(|(at, _), _| *at != addr(n));
    }

    pub(super) fn host(&mut self, n: u16) -> &mut Host {
        self.hosts.get_mut(&addr(n)).unwrap()
    }

    pub(super) fn serf(&self, n: u16) -> &Serf {
        &self.hosts[&addr(n)].serf
    }

    pub(super) fn status(&self, n: u16, of: u16) -> MemberStatus {
        let name = format!("n{of}");
        let member = self.serf(n).member(name.as_bytes());
        member.map_or(MemberStatus::None, |member| member.status)
    }

    pub(super) fn alive_in(&self, n: u16) -> usize {
        let members = self.serf(n).members();
        members.filter(|m| m.status == MemberStatus::Alive).count()
    }

    pub(super) fn command(&mut self, n: u16, command: Command) -> CommandId {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        let now = self.now;
        let input = Input::Command { id, command };
        self.host(n).serf.handle_input(input, now);
        self.drain(addr(n));
        id
    }

    /// Runs a command that ends at once.
    pub(super) fn command_now(&mut self, n: u16, command: Command) -> CommandResult {
        let id = self.command(n, command);
        self.host(n).results.remove(&id).expect("ended at once")
    }

    /// Runs a command to its end; returns its result and duration.
    pub(super) fn command_to_end(&mut self, n: u16, command: Command) -> (CommandResult, Duration) {
        let started = self.now;
        let id = self.command(n, command);
        self.run_until("the command ends", Duration::from_secs(60), |net| {
            net.hosts[&addr(n)].results.contains_key(&id)
        });
        let result = self.host(n).results.remove(&id).unwrap();
        (result, self.now.since(started))
    }

    pub(super) fn join(&mut self, n: u16, to: u16) {
        let join = Command::Join {
            targets: vec![target(to)],
            ignore_old_events: false,
            announce: true,
        };
        let (result, _) = self.command_to_end(n, join);
        let failures = Vec::new();
        let expected = CommandResult::Joined {
            contacted: 1,
            failures,
        };
        assert_eq!(result, expected);
    }

    pub(super) fn input(&mut self, n: u16, input: Input<'_>) {
        let now = self.now;
        self.host(n).serf.handle_input(input, now);
        self.drain(addr(n));
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    pub(super) fn run_until(
        &mut self,
        what: &str,
        at_most: Duration,
        condition: impl Fn(&Net) -> bool,
    ) {
        let end = self.now + at_most;
        while !condition(self) {
            assert!(self.step(end), "not within {at_most:?}: {what}");
        }
    }

    /// Processes the next parcel or timer before `end`; returns false if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let parcel = self.parcels.front().map(|(due, ..)| *due);
        let timers = self.hosts.iter();
        let timer = timers
            .filter_map(|(at, host)| host.serf.poll_timeout().map(|due| (due, *at)))
            .min();
        let next = [parcel, timer.map(|(due, _)| due)].into_iter().flatten();
        let Some(next) = next.min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if parcel == Some(next) {
            let (_, to, parcel) = self.parcels.pop_front().unwrap();
            self.deliver(to, parcel);
        } else {
            let (_, at) = timer.unwrap();
            let now = self.now;
            let host = self.hosts.get_mut(&at).unwrap();
            host.serf.handle_input(Input::Timeout, now);
            let next = host.serf.poll_timeout();
            assert!(next > Some(now) || next.is_none(), "a timer spins");
            self.drain(at);
        }
        true
    }

    fn deliver(&mut self, to: SocketAddr, parcel: Parcel) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&to).filter(|host| !host.cut) else {
            return;
        };
        let known = |stream: &StreamId| self.ends.contains_key(&(to, *stream));
        let input = match &parcel {
            Parcel::Datagram { from, bytes } => Input::Datagram { from: *from, bytes },
            Parcel::Accepted { stream, peer } => Input::StreamAccepted {
                stream: *stream,
                peer: *peer,
            },
            Parcel::Connected { stream } if known(stream) => Input::StreamConnected(*stream),
            Parcel::Data { stream, bytes } if known(stream) => Input::StreamData {
                stream: *stream,
                bytes,
            },
            Parcel::Closed { stream, end } if known(stream) => {
                self.ends.remove(&(to, *stream));
                Input::StreamClosed {
                    stream: *stream,
                    end: end.clone(),
                }
            }
            _ => return,
        };
        host.serf.handle_input(input, now);
        self.drain(to);
    }

    /// Takes and processes all outputs of a node, and ends the turn if something waits for that.
    pub(super) fn drain(&mut self, at: SocketAddr) {
        loop {
            let turn_end = self.now + TURN;
            let host = self.hosts.get_mut(&at).unwrap();
            let Some(output) = host.serf.poll_output() else {
                host.serf.check_invariants();
                let waits = [
                    host.serf.event_order.deadline(),
                    host.serf.query_order.deadline(),
                ];
                if waits.into_iter().flatten().all(|due| due > turn_end) {
                    return;
                }
                host.serf.handle_input(Input::Timeout, turn_end);
                continue;
            };
            match output {
                Output::Transmit(transmit) if !host.cut => {
                    if let Transmit::Datagram { bytes, .. } = &transmit {
                        host.sent.extend(bytes);
                    }
                    self.transmit(at, transmit);
                }
                Output::Transmit(transmit) => self.refuse(at, &transmit),
                Output::Event(event) => self.note_event(at, event),
                Output::CommandEnded { id, result } => {
                    let before = host.results.insert(id, result);
                    assert_eq!(before, None, "a command ended twice");
                }
                Output::QueryRecord { id, record } => host.records.push((id, record)),
                Output::Snapshot(line) => host.snapshot.push(line),
                Output::KeyringChanged { change, keys } => host.keyrings.push((change, keys)),
                Output::Accepted(event) => host.taken.push(event),
                Output::MemberChanged { .. } => unreachable!("nobody has asked for it"),
                Output::Stop => host.stopped = true,
            }
        }
    }

    fn note_event(&mut self, at: SocketAddr, event: Event) {
        let now = self.now;
        let host = self.hosts.get_mut(&at).unwrap();
        if let (Event::Query(query), Some(answer)) = (&event, &host.answer) {
            let command = Command::Respond {
                ltime: query.ltime,
                id: query.id,
                payload: answer.clone(),
            };
            let id = CommandId(u64::MAX - host.events.len() as u64);
            let input = Input::Command { id, command };
            host.serf.handle_input(input, now);
        }
        host.events.push(event);
    }

    fn send(&mut self, to: SocketAddr, parcel: Parcel) {
        self.parcels.push_back((self.now + LATENCY, to, parcel));
    }

    fn refuse(&mut self, at: SocketAddr, transmit: &Transmit) {
        if let Transmit::Open { stream, .. } = transmit {
            let stream = *stream;
            self.ends.insert((at, stream), (at, stream));
            let end = StreamEnd::Failed("connect: connection refused".to_owned());
            self.send(at, Parcel::Closed { stream, end });
        }
    }

    fn transmit(&mut self, from: SocketAddr, transmit: Transmit) {
        match transmit {
            Transmit::Datagram { to, bytes } => self.send(to, Parcel::Datagram { from, bytes }),
            Transmit::Open { stream, to } => {
                if self.hosts.get(&to).is_none_or(|host| host.cut) {
                    self.refuse(from, &Transmit::Open { stream, to });
                    return;
                }
                self.last_stream += 1;
                let inbound = StreamId::Inbound(self.last_stream);
                self.ends.insert((from, stream), (to, inbound));
                self.ends.insert((to, inbound), (from, stream));
                let (stream_there, peer) = (inbound, from);
                let accepted = Parcel::Accepted {
                    stream: stream_there,
                    peer,
                };
                self.send(to, accepted);
                self.send(from, Parcel::Connected { stream });
            }
            Transmit::Write { stream, bytes } => {
                if let Some((to, stream)) = self.ends.get(&(from, stream)).copied() {
                    self.send(to, Parcel::Data { stream, bytes });
                }
            }
            Transmit::Close { stream } | Transmit::Abort { stream } => {
                if let Some((to, stream)) = self.ends.remove(&(from, stream)) {
                    let end = StreamEnd::Eof;
                    self.send(to, Parcel::Closed { stream, end });
                }
            }
        }
    }
}

pub(super) fn target(n: u16) -> JoinTarget {
    JoinTarget {
        name: None,
        addr: addr(n),
    }
}

impl Host {
    /// Takes the member events so far; returns their kinds and names in order.
    pub(super) fn take_member_events(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.events.retain(|event| {
            let Event::Member(event) = event else {
                return true;
            };
            let names: BTreeSet<_> = event.members.iter().map(|m| m.name.to_string()).collect();
            assert_eq!(names.len(), event.members.len());
            let names: Vec<_> = names.into_iter().collect();
            lines.push(format!("{} {}", event.kind.as_str(), names.join(",")));
            false
        });
        lines
    }

    /// Takes the user events so far; returns name, payload and time of each.
    pub(super) fn take_user_events(&mut self) -> Vec<(String, String, u64)> {
        let mut events = Vec::new();
        self.events.retain(|event| {
            let Event::User(event) = event else {
                return true;
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            events.push((text(&event.name), text(&event.payload), event.ltime.0));
            false
        });
        events
    }

    /// Takes the queries delivered so far.
    pub(super) fn take_queries(&mut self) -> Vec<Query> {
        let mut queries = Vec::new();
        self.events.retain(|event| {
            let Event::Query(query) = event else {
                return true;
            };
            queries.push(query.clone());
            false
        });
        queries
    }
}

impl Net {
    pub(super) fn is_stopped(&self, n: u16) -> bool {
        self.hosts[&addr(n)].stopped
    }

    /// Isolates all nodes but one.
    pub(super) fn cut_all_but(&mut self, n: u16) {
        for (at, host) in &mut self.hosts {
            host.cut = *at != addr(n);
        }
    }
}
