//! SWIM with Lifeguard: who is in the cluster and who answers (gossip spec 4).
//!
//! A pure state machine: bytes, time and choices come in, [`Output`]s come out in one ordered queue.
//! It knows nothing of Serf: user messages, user state and node meta are bytes to it.

#![forbid(unsafe_code)]

mod announce;
mod awareness;
mod border;
mod broadcast;
mod bucket;
pub mod config;
mod datagram;
mod extra_ping;
mod gossip;
mod lag;
mod merge;
mod output;
mod probe;
mod relay;
mod sample;
mod stream;
mod suspicion;
mod sync;
mod table;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use border::Network;
pub use broadcast::{BroadcastQueue, Packing, Selection, Ticket, decimal_digits, retransmit_limit};
pub use bucket::TokenBucket;
pub use config::Config;
pub use output::{
    Audience, BroadcastId, Counters, Encounter, JoinId, Node, NodeState, Output, Priority,
    StreamEnd, StreamId, Transmit,
};
pub use sample::{Sample, Samples};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::ordered::OrderedSet;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::{Envelope, NodeName, VersionVector};

use announce::Announcements;
use awareness::Awareness;
use extra_ping::ExtraPings;
use gossip::Gossip;
use lag::Lag;
use probe::Probing;
use relay::Relays;
use stream::Streams;
use sync::SyncTimer;
use table::{NodeId, Table};

/// First protocol that knows the checksum wrapper (gossip spec 4.9).
const PROTOCOL_WITH_CHECKSUM: u8 = 5;
/// Answers and pings to addresses that no member has advertised (gossip spec 8.6): as many at once,
/// and one more after each [`STRANGER_INTERVAL`].
const STRANGERS_AT_ONCE: u32 = 64;
/// See [`STRANGERS_AT_ONCE`].
const STRANGER_INTERVAL: Duration = Duration::from_millis(10);

/// An empty queue of outputs gives back more room than this.
const IDLE_OUTPUTS: usize = 256;

/// The membership layer of one node.
pub struct Swim {
    config: Config,
    envelope: Envelope,
    /// Gossip is exchanged with addresses in these only; empty: with all.
    allowed_networks: Vec<Network>,
    rng: Rng,
    table: Table,
    awareness: Awareness,
    /// When which suspect is to be declared dead.
    suspicions: OrderedSet<(Instant, NodeId)>,
    /// Number of the last ping.
    sequence: u32,
    ack_payload: Option<Vec<u8>>,
    /// Of acks to pings with an extension.
    extended_ack_payload: Option<Vec<u8>>,
    /// What follows the bodies of this node's probes.
    probe_extension: Vec<u8>,
    extra_pings: ExtraPings,
    gossip: Gossip,
    lag: Lag,
    probing: Probing,
    relays: Relays,
    streams: Streams,
    sync: SyncTimer,
    announcements: Announcements,
    strangers: TokenBucket,
    /// From when on a foreign label is worth a warning again.
    next_label_warning: Instant,
    /// Where the message that is being handled came from.
    encounter: Encounter,
    /// What is being merged is known to everybody whom this node knows.
    is_known_to_all: bool,
    outputs: VecDeque<Output>,
    counters: Counters,
    samples: Samples<Sample>,
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
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let local = Node {
            name: local.name,
            addr: local.addr,
            meta: local.meta,
            versions: local.versions,
            incarnation: 1,
            state: NodeState::Alive,
        };
        let mut swim = Swim {
            envelope,
            allowed_networks: Vec::new(),
            awareness: Awareness::new(config.awareness_max),
            suspicions: OrderedSet::new(),
            sequence: rng.next_u32(),
            ack_payload: None,
            extended_ack_payload: None,
            probe_extension: Vec::new(),
            extra_pings: ExtraPings::default(),
            gossip: Gossip::new(&config, &mut rng, now),
            lag: Lag::new(&config),
            probing: Probing::new(&config, &mut rng, now),
            relays: Relays::default(),
            streams: Streams::default(),
            sync: SyncTimer::default(),
            announcements: Announcements::default(),
            strangers: TokenBucket::new(STRANGERS_AT_ONCE, STRANGER_INTERVAL),
            next_label_warning: now,
            encounter: Encounter::Elsewhere,
            is_known_to_all: false,
            outputs: VecDeque::from([Output::Joined(local.clone())]),
            counters: Counters {
                alive_news: 1,
                ..Counters::default()
            },
            samples: Samples::default(),
            table: Table::new(local, now),
            config,
            rng,
        };
        swim.announce(None, now);
        swim
    }

    // --- input -------------------------------------------------------------------------------

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        self.receive_datagram(from, bytes, now);
        self.arm(now);
    }
    /// The shell accepted a stream.
    pub fn handle_stream_accepted(&mut self, stream: StreamId, peer: SocketAddr, now: Instant) {
        self.accept_stream(stream, peer, now);
    }
    /// A stream that was asked for is connected.
    pub fn handle_stream_connected(&mut self, stream: StreamId, now: Instant) {
        self.stream_connected(stream, now);
    }
    /// Bytes arrived on a stream.
    pub fn handle_stream_data(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        self.stream_data(stream, bytes, now);
        self.arm(now);
    }
    /// A stream ended on the other side, could not be connected, or broke. Where it ended in an orderly
    /// way this side may still write, and says when it is done: [`Transmit::Close`] or
    /// [`Transmit::Abort`] follow, at once or after some work.
    pub fn handle_stream_closed(&mut self, stream: StreamId, end: StreamEnd, _now: Instant) {
        self.stream_closed(stream, end);
    }
    /// Time has passed: does whatever is due. Afterwards `poll_timeout() > now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(due) = self.poll_timeout() {
            self.lag.note(due, now);
        }
        self.continue_work(now);
        self.expire_relays(now);
        self.advance_probe(now);
        self.expire_streams(now);
        self.expire_suspicions(now);
        self.expire_announcements(now);
        self.tick_probe(now);
        self.tick_sync(now);
        self.arm(now);
        self.tick_gossip(now);
        self.arm(now);
        debug_assert!(self.poll_timeout().is_none_or(|due| due > now));
    }

    // --- output ------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > IDLE_OUTPUTS {
            // What the news of thousands have taken is not needed any more.
            self.outputs = VecDeque::new();
        }
        output
    }
    /// When [`Self::handle_timeout`] is due next. Changed by every `handle_*` and by every command.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.relays.deadline(),
            self.probing.deadline(),
            self.streams.deadline(),
            self.suspicions.first().map(|&(deadline, _)| deadline),
            self.announcements.deadline(),
            self.sync.deadline(),
            self.gossip_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Starts the timers that now have something to do, stops the others: an idle node sleeps.
    fn arm(&mut self, now: Instant) {
        self.probing.arm(self.table.len() > 1, now);
        self.arm_sync(now);
        self.arm_gossip(now);
    }

    // --- commands ----------------------------------------------------------------------------

    /// Starts a push/pull with `Join` set; ends in [`Output::JoinEnded`].
    pub fn join(&mut self, addr: SocketAddr, now: Instant) -> JoinId {
        self.start_join(addr, now)
    }
    /// Answers [`Output::UserStateWanted`].
    pub fn send_push_pull(&mut self, stream: StreamId, user_state: &[u8], now: Instant) {
        self.answer_push_pull(stream, user_state, now);
        self.arm(now);
    }
    /// Spreads a farewell (4.13); ends in [`Output::LeaveEnded`], at the latest after `timeout`.
    pub fn leave(&mut self, timeout: Duration, now: Instant) {
        self.say_farewell(timeout, now);
        self.arm(now);
    }
    /// Announces new meta (4.14); ends in [`Output::MetaUpdated`], at the latest after `timeout`.
    pub fn update_meta(&mut self, meta: Arc<[u8]>, timeout: Duration, now: Instant) {
        self.announce_meta(meta, timeout, now);
        self.arm(now);
    }
    /// Queues a user broadcast (without the type byte 8). It starts its first transmission at once
    /// (DESIGN "News does not wait"). With an id, its end is told by [`Output::BroadcastFinished`].
    /// What fits into no packet is not queued, and reported as finished.
    pub fn broadcast(
        &mut self,
        priority: Priority,
        audience: Audience,
        message: Arc<[u8]>,
        id: Option<BroadcastId>,
        now: Instant,
    ) {
        self.queue_user_message(priority, audience, &message, id, now);
        self.arm(now);
    }
    /// Sends a user message directly to an address, by UDP, without checksum (query replies, relays).
    pub fn send_user_message(&mut self, to: SocketAddr, message: &[u8]) {
        self.send_datagram(to, &[gossip::as_user_message(message)], false);
    }
    /// Sends user messages directly to an address, in as few datagrams as their order allows. Each must
    /// fit into a packet by itself.
    pub fn send_user_messages(&mut self, to: SocketAddr, messages: &[Vec<u8>]) {
        self.send_packed(to, messages);
    }
    /// Pings a member that lives, beside the probe cycle and without any effect on it; `false`: there is
    /// none of that name. `extension` follows the ping's body, where other implementations do not look.
    /// An ack within the probe timeout is told by [`Output::Acked`].
    pub fn ping_member(&mut self, node: &NodeName, extension: &[u8], now: Instant) -> bool {
        let sent = self.send_extra_ping(node, extension, now);
        self.arm(now);
        sent
    }
    /// Starts a push/pull with a member that lives; not a join. `false`: there is none of that name.
    /// Ends in [`Output::ExchangeEnded`].
    pub fn exchange_with(&mut self, node: &NodeName, now: Instant) -> bool {
        self.start_exchange(node, now)
    }
    /// Names of up to `count` random other members that are alive.
    pub fn sample_members(&mut self, count: usize) -> Vec<NodeName> {
        let ids = self.table.sample_alive(count, None, &mut self.rng);
        let name = |id: NodeId| self.table.record(id).node.name.clone();
        ids.into_iter().map(name).collect()
    }
    /// Sets the payload of acks to UDP pings (5.13); `None`: nil.
    pub fn set_ack_payload(&mut self, payload: Option<Vec<u8>>) {
        self.ack_payload = payload;
    }
    /// Sets the payload of acks to UDP pings that have an extension; `None`: nil.
    pub fn set_extended_ack_payload(&mut self, payload: Option<Vec<u8>>) {
        self.extended_ack_payload = payload;
    }
    /// Sets what follows the bodies of UDP pings of the probe cycle.
    pub fn set_probe_extension(&mut self, extension: Vec<u8>) {
        self.probe_extension = extension;
    }
    /// The number of Serf members, which sets the retransmission limit of user broadcasts (4.11).
    pub fn set_user_member_count(&mut self, members: usize) {
        self.gossip.user_members = members;
    }
    /// Drops the user broadcasts beyond `messages_max` from the end of a queue's order (5.16);
    /// returns how many, and how many of these had not been sent to anybody. Those with ids are
    /// reported as finished.
    pub fn prune_queue(&mut self, priority: Priority, messages_max: usize) -> (usize, usize) {
        self.prune_user_queue(priority, messages_max)
    }
    /// Confines gossip to these networks from now on; none: to no network in particular.
    pub fn allow_networks(&mut self, networks: Vec<Network>) {
        self.allowed_networks = networks;
    }
    /// How this node wraps and unwraps: the ring may be changed.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.envelope
    }

    // --- what is known -----------------------------------------------------------------------

    /// The local node.
    pub fn local(&self) -> &Node {
        self.table.local()
    }
    /// A node by its name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        let id = self.table.find(name)?;
        Some(&self.table.record(id).node)
    }
    /// All records, in byte order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.table.records().map(|record| &record.node)
    }
    /// The number of records, dead and left ones included (n of the formulas).
    pub fn node_count(&self) -> usize {
        self.table.len()
    }
    /// The number of records that are alive or suspect, the local node included.
    pub fn live_node_count(&self) -> usize {
        self.table.live()
    }
    /// Health score, 0 (healthy) to 7 (4.6).
    pub fn health_score(&self) -> u32 {
        self.awareness.score()
    }
    /// User broadcasts of a class that wait.
    pub fn queue_len(&self, priority: Priority) -> usize {
        self.gossip.user_queue(priority).len()
    }
    /// Messages waiting in the membership queue.
    pub fn membership_queue_len(&self) -> usize {
        self.gossip.membership.len()
    }
    /// Values since the last call.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        self.samples.take()
    }
    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    /// Panics (in debug builds and tests) if the tables contradict each other.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.gossip.check_invariants();
        self.streams.check_invariants();
        let suspects = self
            .table
            .records()
            .filter(|record| record.node.state == NodeState::Suspect);
        assert_eq!(self.suspicions.len(), suspects.count());
        for &(deadline, id) in &self.suspicions {
            let suspicion = self.table.record(id).suspicion.as_deref();
            assert_eq!(suspicion.map(|s| s.deadline()), Some(deadline));
        }
    }
}
