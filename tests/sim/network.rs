//! The simulated network: links that lose, duplicate and delay datagrams or are cut, and streams.

use std::collections::{BTreeMap, VecDeque};

use cottar::rng::Rng;
use cottar::serf::StreamId;
use cottar::time::{Duration, Instant};

use crate::cluster::NodeId;

/// The quality of all links.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Minimum delay of a datagram or a piece of a stream.
    pub latency: Duration,
    /// Maximum additional delay, drawn for each.
    pub jitter: Duration,
    /// Probability that a datagram is lost, or that a piece of a stream must be retransmitted.
    pub loss: f64,
    /// Probability that a datagram arrives twice.
    pub duplication: f64,
    /// Probability that a datagram is delayed, so that later ones overtake it.
    pub reordering: f64,
    /// The maximum of that delay.
    pub hold_up: Duration,
    /// Probability that a piece of a stream breaks the connection.
    pub stream_break: f64,
    /// Probability that a connection is refused although the peer listens.
    pub refusal: f64,
    /// Streams arrive in pieces of at most this size.
    pub piece_bytes_max: usize,
}

impl Weather {
    /// A good local network.
    pub fn fair() -> Self {
        Weather {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(800),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            hold_up: Duration::ZERO,
            stream_break: 0.0,
            refusal: 0.0,
            piece_bytes_max: 16 << 10,
        }
    }

    /// Anything from slightly to very bad.
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut sometimes = |chance: f64, most: f64| {
            if rng.chance(chance) {
                rng.unit_f64() * most
            } else {
                0.0
            }
        };
        let loss = sometimes(0.8, 0.25);
        let duplication = sometimes(0.5, 0.2);
        let reordering = sometimes(0.5, 0.3);
        let stream_break = sometimes(0.3, 0.05);
        let refusal = sometimes(0.3, 0.1);
        Weather {
            latency: Duration::from_micros(100) + rng.duration_below(Duration::from_millis(20)),
            jitter: rng.duration_below(Duration::from_millis(60)),
            loss,
            duplication,
            reordering,
            hold_up: rng.duration_below(Duration::from_millis(1500)),
            stream_break,
            refusal,
            piece_bytes_max: 1 + rng.below(3000),
        }
    }
}

/// A connection between two nodes.
pub struct Connection {
    /// Side 0 opened it, side 1 accepted it.
    pub ends: [End; 2],
    /// Lane `s` carries what side `s` wrote.
    pub lanes: [Lane; 2],
}

/// One side of a connection, as its kernel sees it.
#[derive(Clone, Debug)]
pub struct End {
    /// The node; `None` if there is no such host.
    pub node: Option<NodeId>,
    /// The life of the node to which this end belongs.
    pub life: u32,
    /// The stream's id in the core; `None` before the connection is accepted.
    pub stream: Option<StreamId>,
    /// Neither closed by its owner nor ended by the other side.
    pub open: bool,
    /// Whether the owner may write to it.
    pub connected: bool,
    /// When the owner opened or accepted it.
    pub since: Instant,
}

/// One direction of a connection, which keeps the order of its data.
#[derive(Default)]
pub struct Lane {
    /// Data in flight, with the earliest time of arrival.
    pub pieces: VecDeque<(Instant, Piece)>,
    /// No later piece arrives before this.
    pub last_due: Instant,
    /// An arrival is scheduled.
    pub scheduled: bool,
    /// Since when nothing has arrived.
    pub stuck_since: Option<Instant>,
}

/// What travels on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Syn,
    SynAck,
    Refused,
    Data(Vec<u8>),
    Eof,
    Reset,
}

/// The time without an answer after which a kernel gives a connection up.
pub const KERNEL_TIMEOUT: Duration = Duration::from_secs(127);
/// The time after which a kernel retransmits a piece.
pub const RETRANSMISSION: Duration = Duration::from_millis(200);

/// All links and connections.
pub struct Network {
    pub weather: Weather,
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    /// While the network is partitioned: nodes below this number, and all others.
    partition: Option<NodeId>,
    pub connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Network {
            weather,
            cuts: BTreeMap::new(),
            partition: None,
            connections: BTreeMap::new(),
            next_connection: 0,
        }
    }

    /// Cuts the link from one node to the other; cuts are counted.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        *self.cuts.entry((from, to)).or_insert(0) += 1;
    }

    /// Removes one cut.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if let Some(count) = self.cuts.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&(from, to));
            }
        }
    }

    /// Removes all cuts.
    pub fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Cuts all links between nodes below this number and all others, until `None` heals the partition.
    pub fn partition(&mut self, at: Option<NodeId>) {
        self.partition = at;
    }

    /// Returns whether a link is cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let apart = self.partition.is_some_and(|at| (from < at) != (to < at));
        apart || (!self.cuts.is_empty() && self.cuts.contains_key(&(from, to)))
    }

    /// The delays with which copies of a datagram arrive; none if it is lost.
    pub fn datagram_delays(
        &self,
        rng: &mut Rng,
        from: NodeId,
        to: NodeId,
    ) -> [Option<Duration>; 2] {
        let weather = &self.weather;
        if from == to {
            return [Some(Duration::from_micros(20)), None];
        }
        if self.is_cut(from, to) || (weather.loss > 0.0 && rng.chance(weather.loss)) {
            return [None, None];
        }
        let first = Some(self.datagram_delay(rng));
        let twice = weather.duplication > 0.0 && rng.chance(weather.duplication);
        let second = twice.then(|| self.datagram_delay(rng));
        [first, second]
    }

    fn datagram_delay(&self, rng: &mut Rng) -> Duration {
        let weather = &self.weather;
        let mut delay = weather.latency + rng.duration_below(weather.jitter);
        if weather.reordering > 0.0 && rng.chance(weather.reordering) {
            delay += rng.duration_below(weather.hold_up);
        }
        delay
    }

    /// The delay of a piece of a stream, including retransmissions.
    pub fn piece_delay(&self, rng: &mut Rng) -> Duration {
        let weather = &self.weather;
        let mut delay = weather.latency + rng.duration_below(weather.jitter);
        let mut wait = RETRANSMISSION;
        while weather.loss > 0.0 && rng.chance(weather.loss) {
            delay += wait;
            wait *= 2;
        }
        delay
    }

    /// Begins a connection.
    pub fn connect(&mut self, from: End, to: End) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let connection = Connection {
            ends: [from, to],
            lanes: [Lane::default(), Lane::default()],
        };
        self.connections.insert(id, connection);
        id
    }

    /// Removes a connection whose two ends are closed.
    pub fn forget_if_over(&mut self, id: u64) {
        let over = self.connections.get(&id).is_some_and(|connection| {
            connection.ends.iter().all(|end| !end.open)
                && connection.lanes.iter().all(|lane| lane.pieces.is_empty())
        });
        if over {
            self.connections.remove(&id);
        }
    }
}
