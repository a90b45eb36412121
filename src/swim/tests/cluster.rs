//! Simulates small clusters in virtual time at the level of bytes.

use std::collections::BTreeMap;

use super::*;

enum Arrival {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Accepted(StreamId, SocketAddr),
    Connected(StreamId),
    Data(StreamId, Vec<u8>),
    Closed(StreamId, StreamEnd),
}

/// Nodes n1, n2 … at `addr(1)`, `addr(2)` …, and the network between them.
pub struct Cluster {
    pub nodes: Vec<Swim>,
    pub now: Instant,
    pub latency: Duration,
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Hosts that receive no datagrams.
    pub deaf_to_udp: Vec<u8>,
    /// Hosts that are down.
    pub down: Vec<u8>,
    /// Outputs to the Serf layer, by node.
    pub events: Vec<Vec<Output>>,
    /// Received user messages, each with its number of copies and the arrival of the first, by node.
    pub heard: Vec<BTreeMap<Vec<u8>, (u32, Instant)>>,
    pub datagrams: u64,
    pub datagram_bytes: u64,
    rng: Rng,
    arrivals: BTreeMap<(Instant, u64), (usize, Arrival)>,
    next: u64,
    /// The remote end of each stream.
    pairs: BTreeMap<(usize, StreamId), (usize, StreamId)>,
}

impl Cluster {
    pub fn new(size: u8, config: &Config, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let now = Instant::from_millis(1);
        let nodes = (1..=size)
            .map(|host| {
                let local = local_node(&format!("n{host}"), host);
                Swim::new(config.clone(), local, plain_envelope(), rng.fork(), now)
            })
            .collect();
        let mut cluster = Cluster {
            nodes,
            now,
            latency: Duration::from_micros(200),
            loss: 0.0,
            deaf_to_udp: Vec::new(),
            down: Vec::new(),
            events: (0..size).map(|_| Vec::new()).collect(),
            heard: (0..size).map(|_| BTreeMap::new()).collect(),
            datagrams: 0,
            datagram_bytes: 0,
            rng,
            arrivals: BTreeMap::new(),
            next: 0,
            pairs: BTreeMap::new(),
        };
        (0..size.into()).for_each(|index| cluster.flush(index));
        cluster
    }

    /// Joins each node in turn to the first, until all nodes see each other.
    pub fn joined(size: u8, config: &Config, seed: u64) -> Self {
        let mut cluster = Cluster::new(size, config, seed);
        for index in 1..usize::from(size) {
            let now = cluster.now;
            cluster.nodes[index].join(addr(1), now);
            cluster.flush(index);
            cluster.run_for(Duration::from_millis(20));
        }
        let all = usize::from(size);
        cluster.run_while(Duration::from_secs(60), |cluster| {
            cluster
                .nodes
                .iter()
                .any(|node| node.live_node_count() < all)
        });
        cluster
    }

    fn host(index: usize) -> u8 {
        index as u8 + 1
    }

    fn index(addr: SocketAddr) -> usize {
        match addr.ip() {
            std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
            std::net::IpAddr::V6(_) => panic!("no such node"),
        }
    }

    fn send(&mut self, to: usize, arrival: Arrival) {
        self.next += 1;
        let at = self.now + self.latency;
        self.arrivals.insert((at, self.next), (to, arrival));
    }

    /// Executes the outputs of a node.
    pub fn flush(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(index, transmit),
                Output::UserStateWanted { stream, .. } => {
                    let state = format!("state of {}", Self::host(index));
                    let now = self.now;
                    self.nodes[index].send_push_pull(stream, state.as_bytes(), now);
                }
                Output::UserMessage { bytes, .. } => self.hear(index, bytes),
                other => self.events[index].push(other),
            }
        }
    }

    /// Rebroadcasts new user messages, as the Serf layer does.
    fn hear(&mut self, index: usize, bytes: Vec<u8>) {
        let now = self.now;
        let heard = self.heard[index].entry(bytes.clone()).or_insert((0, now));
        heard.0 += 1;
        if heard.0 == 1 {
            self.nodes[index].broadcast(
                Priority::Third,
                Audience::Present,
                bytes.into(),
                None,
                now,
            );
        }
    }

    /// Fires an event at a node.
    pub fn fire(&mut self, index: usize, bytes: Vec<u8>) {
        self.hear(index, bytes);
        self.flush(index);
    }

    fn transmit(&mut self, index: usize, transmit: Transmit) {
        let from = addr(Self::host(index));
        match transmit {
            Transmit::Datagram { to, bytes } => {
                self.datagrams += 1;
                self.datagram_bytes += bytes.len() as u64;
                let deaf = self.deaf_to_udp.contains(&Self::host(Self::index(to)));
                if !deaf && !self.rng.chance(self.loss) {
                    self.send(Self::index(to), Arrival::Datagram { from, bytes });
                }
            }
            Transmit::Open { stream, to } => {
                let other = Self::index(to);
                if self.down.contains(&Self::host(other)) || other >= self.nodes.len() {
                    return; // The deadline ends it.
                }
                self.next += 1;
                let accepted = StreamId::Inbound(self.next);
                self.pairs.insert((index, stream), (other, accepted));
                self.pairs.insert((other, accepted), (index, stream));
                self.send(other, Arrival::Accepted(accepted, from));
                self.send(index, Arrival::Connected(stream));
            }
            Transmit::Write { stream, bytes } => {
                if let Some(&(other, there)) = self.pairs.get(&(index, stream)) {
                    self.send(other, Arrival::Data(there, bytes));
                }
            }
            Transmit::Close { stream } | Transmit::Abort { stream } => {
                if let Some((other, there)) = self.pairs.remove(&(index, stream)) {
                    self.send(other, Arrival::Closed(there, StreamEnd::Eof));
                }
            }
        }
    }

    fn arrive(&mut self, index: usize, arrival: Arrival) {
        if self.down.contains(&Self::host(index)) {
            return;
        }
        let now = self.now;
        let node = &mut self.nodes[index];
        match arrival {
            Arrival::Datagram { from, bytes } => node.handle_datagram(from, &bytes, now),
            Arrival::Accepted(stream, peer) => node.handle_stream_accepted(stream, peer, now),
            Arrival::Connected(stream) => node.handle_stream_connected(stream, now),
            Arrival::Data(stream, bytes) => node.handle_stream_data(stream, &bytes, now),
            Arrival::Closed(stream, end) => {
                self.pairs.remove(&(index, stream));
                node.handle_stream_closed(stream, end, now);
            }
        }
        self.flush(index);
    }

    /// Executes the next arrival or timeout up to `limit`; returns false if there is none.
    fn step(&mut self, limit: Instant) -> bool {
        let arrival = self.arrivals.first_key_value().map(|(&(at, _), _)| at);
        let timeout = (0..self.nodes.len())
            .filter(|&index| !self.down.contains(&Self::host(index)))
            .filter_map(|index| Some((self.nodes[index].poll_timeout()?, index)))
            .min();
        if arrival.is_some_and(|at| at <= limit && timeout.is_none_or(|(due, _)| at <= due)) {
            if let Some(((at, _), (index, arrival))) = self.arrivals.pop_first() {
                self.now = self.now.max(at);
                self.arrive(index, arrival);
            }
            return true;
        }
        let Some((due, index)) = timeout.filter(|&(due, _)| due <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.now = self.now.max(due);
        self.nodes[index].handle_timeout(self.now);
        assert!(
            self.nodes[index]
                .poll_timeout()
                .is_none_or(|due| due > self.now)
        );
        self.flush(index);
        true
    }

    pub fn run_for(&mut self, duration: Duration) {
        let limit = self.now + duration;
        while self.step(limit) {}
        self.nodes.iter().for_each(Swim::check_invariants);
    }

    /// Runs while a condition holds; panics if it still holds after `limit`.
    pub fn run_while(&mut self, limit: Duration, condition: impl Fn(&Cluster) -> bool) {
        let limit = self.now + limit;
        while condition(self) {
            assert!(self.step(limit), "waited in vain");
        }
        self.nodes.iter().for_each(Swim::check_invariants);
    }

    pub fn states_of(&self, host: u8) -> Vec<Option<NodeState>> {
        self.nodes
            .iter()
            .map(|node| Some(node.node(&peer(host))?.state))
            .collect()
    }
}

#[test]
fn ten_nodes_find_each_other_and_stay_together() {
    let mut cluster = Cluster::joined(10, &Config::lan(), 1);
    cluster.run_for(Duration::from_secs(600));
    for node in &cluster.nodes {
        assert_eq!(node.live_node_count(), 10);
        assert_eq!(node.health_score(), 0);
        assert_eq!(node.membership_queue_len(), 0);
    }
    for events in &cluster.events {
        let joined = events.iter().filter(|e| matches!(e, Output::Joined(_)));
        assert_eq!(joined.count(), 10);
        let gone = events.iter().filter(|e| matches!(e, Output::Gone(_)));
        assert_eq!(gone.count(), 0);
    }
}

#[test]
fn a_crash_is_noticed_by_all_within_the_bound() {
    let mut cluster = Cluster::joined(6, &Config::lan(), 2);
    cluster.down.push(3);
    // A round of probes, the maximum suspicion timeout, and a margin for gossip.
    cluster.run_while(Duration::from_secs(6 + 24 + 5), |cluster| {
        let mut others = cluster.states_of(3);
        others.remove(2);
        others.iter().any(|state| *state != Some(NodeState::Dead))
    });
    for host in [1, 2, 4, 5, 6] {
        let states = cluster.states_of(host);
        assert!(states.iter().all(|state| *state == Some(NodeState::Alive)));
    }
}

#[test]
fn a_node_without_udp_is_kept_alive_by_tcp() {
    let mut cluster = Cluster::joined(4, &Config::lan(), 3);
    cluster.deaf_to_udp.push(2);
    // The deaf node receives no acks and suspects the others, who refute. No node must be declared dead.
    cluster.run_for(Duration::from_secs(60));
    for host in [1, 3, 4] {
        for index in [0, 2, 3] {
            let events = &cluster.events[index];
            let dead = |e: &Output| matches!(e, Output::Gone(node) if node.name == peer(host));
            assert!(!events.iter().any(dead));
        }
    }
    let states = cluster.states_of(2);
    for index in [0, 2, 3] {
        assert_eq!(states[index], Some(NodeState::Alive));
    }
}

#[test]
fn a_paused_node_comes_back_by_refuting() {
    let mut cluster = Cluster::joined(5, &Config::lan(), 4);
    cluster.down.push(5);
    cluster.run_while(Duration::from_secs(60), |cluster| {
        cluster.states_of(5)[..4].contains(&Some(NodeState::Alive))
            || cluster.states_of(5)[..4].contains(&Some(NodeState::Suspect))
    });
    cluster.down.clear();
    cluster.run_while(Duration::from_secs(60), |cluster| {
        cluster
            .states_of(5)
            .iter()
            .any(|state| *state != Some(NodeState::Alive))
    });
    assert!(cluster.nodes[4].local().incarnation > 1);
}

#[test]
fn the_seed_decides_the_run() {
    let run = |seed| {
        let mut cluster = Cluster::joined(7, &Config::lan(), seed);
        cluster.run_for(Duration::from_secs(20));
        (cluster.datagrams, cluster.datagram_bytes, cluster.now)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
