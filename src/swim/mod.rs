//! Membership and failure detection: SWIM with Lifeguard (gossip spec 4).
//!
//! A pure state machine: input is bytes, time and a seeded random generator, output is one ordered queue of
//! [`Output`]s. It knows nothing of Serf: user messages, user state and node meta are opaque bytes.

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
mod metas;
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
pub use broadcast::{
    BroadcastQueue, Packing, Selection, Ticket, decimal_digits, retransmit_limit,
    transmissions_to_all,
};
pub use bucket::TokenBucket;
pub use config::Config;
pub use output::{
    Announcement, Audience, BroadcastId, Counters, Encounter, JoinId, Node, NodeState, Output,
    Priority, StreamEnd, StreamId, Transmit,
};
pub use sample::{Sample, Samples};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::{Envelope, NodeName};

use announce::Announcements;
use awareness::Awareness;
use extra_ping::ExtraPings;
use gossip::Gossip;
use lag::Lag;
use metas::SharedMetas;
use probe::Probing;
use relay::Relays;
use stream::Streams;
use suspicion::Suspicions;
use sync::SyncTimer;
use table::{NodeId, Table};

/// First protocol version with the checksum wrapper (gossip spec 4.9).
const PROTOCOL_WITH_CHECKSUM: u8 = 5;
/// Rate limit of replies and pings to addresses that no member advertises (gossip spec 8.6): burst size,
/// refilled by one per [`STRANGER_INTERVAL`].
const STRANGERS_AT_ONCE: u32 = 64;
/// See [`STRANGERS_AT_ONCE`].
const STRANGER_INTERVAL: Duration = Duration::from_millis(10);

/// Capacity above which the empty output queue releases its memory.
const IDLE_OUTPUTS: usize = 256;

/// The membership layer of one node.
pub struct Swim {
    config: Config,
    envelope: Envelope,
    /// Networks that gossip is restricted to; empty: no restriction.
    allowed_networks: Vec<Network>,
    rng: Rng,
    table: Table,
    awareness: Awareness,
    /// The running suspicions.
    suspicions: Suspicions,
    shared_metas: SharedMetas,
    /// Sequence number of the last ping.
    sequence: u32,
    ack_payload: Option<Vec<u8>>,
    /// Payload of acks to pings with an extension.
    extended_ack_payload: Option<Vec<u8>>,
    /// Extension of this node's probes.
    probe_extension: Vec<u8>,
    extra_pings: ExtraPings,
    last_lost_datagram: Option<Instant>,
    gossip: Gossip,
    lag: Lag,
    probing: Probing,
    relays: Relays,
    streams: Streams,
    sync: SyncTimer,
    announcements: Announcements,
    strangers: TokenBucket,
    /// Earliest time of the next warning about a foreign label.
    next_label_warning: Instant,
    /// Origin of the message that is being handled.
    encounter: Encounter,
    /// Whether all nodes that this node knows already have the state that is being merged.
    is_known_to_all: bool,
    outputs: VecDeque<Output>,
    counters: Counters,
    samples: Samples<Sample>,
}

impl Swim {
    /// Creates a node that announces itself with incarnation 1; outputs its own [`Output::Joined`].
    pub fn new(
        config: Config,
        local: Announcement,
        envelope: Envelope,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let local = Node {
            announced: Arc::new(local),
            incarnation: 1,
            state: NodeState::Alive,
        };
        let mut swim = Swim {
            envelope,
            allowed_networks: Vec::new(),
            awareness: Awareness::new(config.awareness_max),
            suspicions: Suspicions::default(),
            shared_metas: SharedMetas::default(),
            sequence: rng.next_u32(),
            ack_payload: None,
            extended_ack_payload: None,
            probe_extension: Vec::new(),
            extra_pings: ExtraPings::default(),
            last_lost_datagram: None,
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
                alive_accepted: 1,
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

    /// Handles a datagram.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        self.receive_datagram(from, bytes, now);
        self.arm(now);
    }
    /// Handles a stream that the shell accepted.
    pub fn handle_stream_accepted(&mut self, stream: StreamId, peer: SocketAddr, now: Instant) {
        self.accept_stream(stream, peer, now);
    }
    /// Handles the connection of a stream that the core opened.
    pub fn handle_stream_connected(&mut self, stream: StreamId, now: Instant) {
        self.stream_connected(stream, now);
    }
    /// Handles bytes received on a stream.
    pub fn handle_stream_data(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        self.stream_data(stream, bytes, now);
        self.arm(now);
    }
    /// Handles a stream that was closed by the peer, could not be connected, or broke. After an orderly close
    /// this side may still write; it ends with [`Transmit::Close`] or [`Transmit::Abort`], at once or after
    /// some work.
    pub fn handle_stream_closed(&mut self, stream: StreamId, end: StreamEnd, _now: Instant) {
        self.stream_closed(stream, end);
    }
    /// Does whatever is due. Afterwards `poll_timeout() > now`.
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

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > IDLE_OUTPUTS {
            // Release the memory that outputs about thousands of nodes took.
            self.outputs = VecDeque::new();
        }
        output
    }
    /// Returns when [`Self::handle_timeout`] is due. Every `handle_*` and every command may change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.relays.deadline(),
            self.probing.deadline(),
            self.streams.deadline(),
            self.suspicions.first().map(|(deadline, _)| deadline),
            self.announcements.deadline(),
            self.sync.deadline(),
            self.gossip_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Starts the timers that are needed and stops the others, so that an idle node sleeps.
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
    /// Provides the user state for an [`Output::UserStateWanted`].
    pub fn send_push_pull(&mut self, stream: StreamId, user_state: &[u8], now: Instant) {
        self.answer_push_pull(stream, user_state, now);
        self.arm(now);
    }
    /// Announces a graceful leave (4.13); ends in [`Output::LeaveEnded`], after `timeout` at the latest.
    pub fn leave(&mut self, timeout: Duration, now: Instant) {
        self.announce_leave(timeout, now);
        self.arm(now);
    }
    /// Announces new meta (4.14); ends in [`Output::MetaUpdated`], after `timeout` at the latest.
    pub fn update_meta(&mut self, meta: Arc<[u8]>, timeout: Duration, now: Instant) {
        self.announce_meta(meta, timeout, now);
        self.arm(now);
    }
    /// Queues a user broadcast (without the type byte 8); its first transmissions start at once. With an id,
    /// its end is reported by [`Output::BroadcastFinished`]. A message too large for a packet is not queued
    /// and is reported as finished.
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
    /// Sends a user message directly to an address, over UDP and without checksum (query replies, relays).
    pub fn send_user_message(&mut self, to: SocketAddr, message: &[u8]) {
        self.send_datagram(to, &[gossip::as_user_message(message)], false);
    }
    /// Sends user messages directly to an address, in order and in few datagrams. Each must fit into a packet
    /// by itself.
    pub fn send_user_messages(&mut self, to: SocketAddr, messages: &[Vec<u8>]) {
        self.send_packed(to, messages);
    }
    /// Pings a live member outside the probe cycle and without effect on it; returns false if none has this
    /// name. `extension` follows the ping's body, where other implementations ignore it. An ack within the
    /// probe timeout is reported by [`Output::Acked`].
    pub fn ping_member(&mut self, node: &NodeName, extension: &[u8], now: Instant) -> bool {
        let sent = self.send_extra_ping(node, extension, now);
        self.arm(now);
        sent
    }
    /// Starts a push/pull (not a join) with a live member; returns false if none has this name. Ends in
    /// [`Output::ExchangeEnded`].
    pub fn exchange_with(&mut self, node: &NodeName, now: Instant) -> bool {
        self.start_exchange(node, now)
    }
    /// Returns the names of up to `count` random alive members, without the local node.
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
    /// Sets the extension of UDP pings of the probe cycle.
    pub fn set_probe_extension(&mut self, extension: Vec<u8>) {
        self.probe_extension = extension;
    }
    /// Sets the number of Serf members, which determines the retransmission limit of user broadcasts (4.11).
    pub fn set_user_member_count(&mut self, members: usize) {
        self.gossip.user_members = members;
    }
    /// Truncates a queue of user broadcasts to `messages_max` (5.16). Returns how many messages were dropped,
    /// and how many of them were never sent. Those with ids are reported as finished.
    pub fn prune_queue(&mut self, priority: Priority, messages_max: usize) -> (usize, usize) {
        self.prune_user_queue(priority, messages_max)
    }
    /// Restricts gossip to these networks; an empty list removes the restriction.
    pub fn allow_networks(&mut self, networks: Vec<Network>) {
        self.allowed_networks = networks;
    }
    /// Returns the envelope, for example to change the keyring.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.envelope
    }

    // --- what is known -----------------------------------------------------------------------

    /// Returns the local node.
    pub fn local(&self) -> &Node {
        self.table.local()
    }
    /// Returns a node by name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        let id = self.table.find(name)?;
        Some(&self.table.record(id).node)
    }
    /// Iterates over all nodes in byte order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.table.records().map(|record| &record.node)
    }
    /// Iterates over the names of the nodes that are alive or suspect, in byte order.
    pub fn live_names(&self) -> impl Iterator<Item = &NodeName> {
        let live = self.nodes().filter(|node| table::is_live(node.state));
        live.map(|node| &node.name)
    }
    /// Returns the number of records, including dead and left ones (n in the formulas).
    pub fn node_count(&self) -> usize {
        self.table.len()
    }
    /// Returns the number of records that are alive or suspect, including the local node.
    pub fn live_node_count(&self) -> usize {
        self.table.live()
    }
    /// Returns when the network was last seen to lose a datagram: a node that did not answer a ping in time
    /// answered through a relay, over TCP, or a later ping.
    pub fn last_lost_datagram(&self) -> Option<Instant> {
        self.last_lost_datagram
    }
    /// Returns an interval that grows with the cluster as that of periodic push/pulls does (4.2).
    pub fn scaled_interval(&self, base: Duration) -> Duration {
        sync::scaled_interval(base, self.table.len())
    }
    /// Returns the health score, 0 (healthy) to 7 (4.6).
    pub fn health_score(&self) -> u32 {
        self.awareness.score()
    }
    /// Returns the number of queued user broadcasts of a priority.
    pub fn queue_len(&self, priority: Priority) -> usize {
        self.gossip.user_queue(priority).len()
    }
    /// Returns the number of messages in the membership queue.
    pub fn membership_queue_len(&self) -> usize {
        self.gossip.membership.len()
    }
    /// Takes the values measured since the last call.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        self.samples.take()
    }
    /// Returns the counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    /// Panics (in debug builds and tests) if internal state is inconsistent.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.gossip.check_invariants();
        self.streams.check_invariants();
        let is_suspect = |node: &Node| node.state == NodeState::Suspect;
        let suspects = self.nodes().filter(|node| is_suspect(node));
        assert_eq!(self.suspicions.len(), suspects.count());
        self.suspicions
            .check_invariants(|id| is_suspect(&self.table.record(id).node));
    }
}
