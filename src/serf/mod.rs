//! A Serf node: members, intents, tags, Lamport clocks, user events, queries (gossip spec 5). Owns a
//! [`Swim`].
//!
//! Contract of the core: call [`Serf::handle_input`] with the current time, then [`Serf::poll_output`] until
//! it is empty; [`Serf::poll_timeout`] returns the next deadline. There are no callbacks.
//!
//! Each call handles all outputs of the membership layer, in order, before it returns.
//!
//! | module | content |
//! |---|---|
//! | [`config`] | timings and limits, with their defaults |
//! | `command`, [`event`], [`gossip`] | inputs, outputs, counters, events, measured values |
//! | `lamport`, `messages` | Lamport clocks, dispatch of messages |
//! | `membership` | members, intents, join, leave, tags, state exchange, reaping and reconnecting |
//! | `events` | user events: duplicates, order, coalescing, repair of missed events |
//! | `query` | queries: sending, receiving, filters, repetition, relays, keys, name conflicts |
//! | [`coordinates`] | network coordinates |
//! | [`snapshot`] | lines of the snapshot, rejoin |

#![forbid(unsafe_code)]

mod command;
pub mod config;
pub mod coordinates;
pub mod event;
mod events;
pub mod gossip;
mod lamport;
mod limits;
mod membership;
mod messages;
mod query;
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use crate::swim::{StreamEnd, StreamId, Transmit};
pub use crate::wire::serf::{LamportTime, Tags};
pub use command::{
    Command, CommandId, CommandResult, Counters, Input, JoinTarget, Output, QueryParams,
    QueryRecord, State, Stats,
};
pub use config::Config;
pub use event::{Event, Member, MemberEvent, MemberEventKind, MemberStatus, Query, UserEvent};
pub use events::{SeenEvents, event_hash};
pub use query::expression::rewrite_expression;
pub use query::filters::tag_matches;
pub use query::handlers::QueryHandlers;
pub use query::key_report::{KeyReport, KeyringChange, RawKey};
pub use query::receive::{INTERNAL_PREFIX, encode_response};

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ordered::{OrderedMap, OrderedSet};
use crate::rng::Rng;
use crate::swim::{Announcement, BroadcastId, Samples, Swim, TokenBucket};
use crate::time::Instant;
use crate::wire::coordinate::Coordinate;
use crate::wire::{Envelope, NodeName, VersionVector};
use coordinates::store::Coordinates;
use events::coalesce::{MemberCoalescer, UserCoalescer};
use events::user;
use gossip::{EVENTS, INTENTS, QUERIES, Sample};
use lamport::Clock;
use membership::{intents, join, leave, members, push_pull, reaper, stale_leave, tags};
use query::{ask, internal, key_answer, rate_limit, receive};
use snapshot::{recorder, rejoin};

/// A node of a Serf cluster.
pub struct Serf {
    config: Config,
    swim: Swim,
    samples: Samples<Sample>,
    rng: Rng,
    state: State,
    /// Whether a keyring is in use; constant during a run.
    encrypted: bool,

    member_clock: Clock,
    event_clock: Clock,
    query_clock: Clock,

    members: members::Members,
    intents: intents::IntentBuffer,
    events: user::UserEventRing,
    event_order: events::InOrder<UserEvent>,
    queries: receive::QueryRing,
    query_order: events::InOrder<Query>,
    received_queries: query::kept::ReceivedQueries,
    query_handlers: QueryHandlers,
    running_queries: ask::RunningQueries,
    pace: query::schedule::Pace,
    member_coalescer: MemberCoalescer,
    user_coalescer: UserCoalescer,

    joins: Vec<join::Join>,
    user_states: push_pull::UserStates,
    tag_changes: tags::TagChanges,
    /// Intents whose transmission is waited for, with their deadlines.
    waiters: OrderedMap<BroadcastId, (Instant, leave::Waiter)>,
    last_broadcast_id: u64,
    challenges: membership::forced_leave::Challenges,
    leave_phase: Option<leave::LeavePhase>,
    leave_commands: Vec<CommandId>,
    /// Members to prune, ordered by time.
    prunes: VecDeque<(Instant, NodeName)>,
    conflicts: internal::Conflicts,
    writes: key_answer::Writes,
    coordinates: Option<Coordinates>,
    repair: events::Repair,
    recorder: Option<recorder::Recorder>,
    rejoin: Option<rejoin::Rejoin>,
    lost: snapshot::lost::LostMembers,
    /// The snapshot shows that this node was a member of a cluster before.
    continues: bool,
    /// It continues as a member, has merged the state of its own join, or has merged another state while no
    /// join that ignores old events was running.
    is_member: bool,
    /// Addresses of the members in the snapshot.
    restored_addrs: OrderedSet<SocketAddr>,
    join_hold: events::JoinHold,
    periodic: reaper::PeriodicTasks,
    stale_leaves: stale_leave::StaleLeaves,
    reconnect: reaper::Reconnect,
    relays_in: TokenBucket,
    strangers: TokenBucket,

    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Serf {
    /// Creates a node that is not in a cluster yet. Outputs its own member-join, through the coalescer.
    ///
    /// `seed` determines all random choices.
    ///
    /// # Errors
    /// Returns the reference's error text (agent spec 4.4) if the tags are too long, the event size limit
    /// exceeds 9216, or the protocol is out of range.
    pub fn new(
        mut config: Config,
        envelope: Envelope,
        seed: u64,
        now: Instant,
    ) -> Result<Self, String> {
        config.check()?;
        let meta = tags::encode_meta(&config.tags, config.protocol)?;
        let mut rng = Rng::new(seed);
        let encrypted = envelope.keyring.is_some();
        let local = Announcement {
            name: config.name.clone(),
            addr: config.addr,
            meta: meta.into(),
            versions: VersionVector::serf(config.protocol),
        };
        let mut swim = Swim::new(config.swim.clone(), local, envelope, rng.fork(), now);
        swim.allow_networks(config.allowed_networks.clone());
        let snapshot = config.snapshot.take();
        let mut serf = Serf::at_rest(config, swim, rng, encrypted, now);
        serf.publish_coordinate();
        let known = snapshot.map(|snapshot| serf.restore(snapshot, now));
        serf.settle(now);
        serf.start_rejoin(known.unwrap_or_default(), now);
        serf.settle(now);
        Ok(serf)
    }

    /// Creates a node that knows no other node.
    fn at_rest(config: Config, swim: Swim, rng: Rng, encrypted: bool, now: Instant) -> Self {
        let member_coalescer =
            MemberCoalescer::new(config.coalesce_period, config.quiescent_period);
        let user_coalescer =
            UserCoalescer::new(config.user_coalesce_period, config.user_quiescent_period);
        let coordinates = config.coordinates.then(Coordinates::default);
        let repair = events::Repair::new(&config, Clock::new().now(), now);
        Serf {
            config,
            swim,
            samples: Samples::default(),
            rng,
            state: State::Alive,
            encrypted,
            member_clock: Clock::new(),
            event_clock: Clock::new(),
            query_clock: Clock::new(),
            members: members::Members::default(),
            intents: intents::IntentBuffer::default(),
            events: user::UserEventRing::default(),
            event_order: events::InOrder::default(),
            queries: receive::QueryRing::default(),
            query_order: events::InOrder::default(),
            received_queries: query::kept::ReceivedQueries::default(),
            query_handlers: QueryHandlers::default(),
            running_queries: ask::RunningQueries::default(),
            pace: query::schedule::Pace::default(),
            member_coalescer,
            user_coalescer,
            joins: Vec::new(),
            user_states: push_pull::UserStates::default(),
            tag_changes: tags::TagChanges::default(),
            waiters: OrderedMap::new(),
            last_broadcast_id: 0,
            challenges: membership::forced_leave::Challenges::default(),
            leave_phase: None,
            leave_commands: Vec::new(),
            prunes: VecDeque::new(),
            conflicts: internal::Conflicts::default(),
            writes: key_answer::Writes::default(),
            coordinates,
            repair,
            recorder: None,
            rejoin: None,
            lost: snapshot::lost::LostMembers::default(),
            continues: false,
            is_member: false,
            restored_addrs: OrderedSet::new(),
            join_hold: events::JoinHold::default(),
            periodic: reaper::PeriodicTasks::default(),
            stale_leaves: stale_leave::StaleLeaves::default(),
            reconnect: reaper::Reconnect::default(),
            relays_in: rate_limit::relays(),
            strangers: rate_limit::strangers(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Handles an input. Poll outputs until empty afterwards. After [`Input::Timeout`] the next timeout is
    /// later than `now`.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let is_timeout = matches!(input, Input::Timeout);
        match input {
            Input::Datagram { from, bytes } => {
                self.renew_digests(now);
                self.swim.handle_datagram(from, bytes, now);
            }
            Input::StreamAccepted { stream, peer } => {
                self.swim.handle_stream_accepted(stream, peer, now);
            }
            Input::StreamConnected(stream) => self.swim.handle_stream_connected(stream, now),
            Input::StreamData { stream, bytes } => {
                self.swim.handle_stream_data(stream, bytes, now);
            }
            Input::StreamClosed { stream, end } => {
                self.swim.handle_stream_closed(stream, end, now);
            }
            Input::Timeout => {
                self.renew_digests(now);
                self.swim.handle_timeout(now);
                // An output of the membership layer may cancel something that is due here.
                self.handle_swim_outputs(now);
                self.do_what_is_due(now);
            }
            Input::KeyringWritten { change, result } => {
                self.handle_keyring_written(change, result, now);
            }
            Input::QueryHandlers(handlers) => self.query_handlers = handlers,
            Input::QueryHandled { ltime, id } => self.handle_query_handled(ltime, id),
            Input::Journalled {
                event,
                is_coalescing,
            } => self.take_back(event, is_coalescing, now),
            Input::Shutdown => self.record_clock(),
            Input::Command { id, command } => self.handle_command(id, command, now),
        }
        self.settle(now);
        debug_assert!(!is_timeout || self.poll_timeout().is_none_or(|due| due > now));
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the time of the next [`Input::Timeout`]. Only [`Self::handle_input`] changes it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = [
            self.running_queries.deadline(),
            self.repetition_deadline(),
            self.received_queries.deadline(),
            self.waiters.first_key_value().map(|(_, (due, _))| *due),
            self.challenges.deadline(),
            self.leave_deadline(),
            self.prunes.front().map(|(due, _)| *due),
            self.event_order.deadline(),
            self.query_order.deadline(),
            self.coalescers_deadline(),
            self.periodic_deadline(),
            self.recorder_deadline(),
            self.join_hold.deadline(),
            self.stale_leaves.deadline(),
            self.user_states.deadline(),
            self.repair_deadline(),
            self.swim.poll_timeout(),
        ];
        own.into_iter().flatten().min()
    }

    /// Whether the node continues from a snapshot in which it was a member of a cluster. If so, joins that no
    /// operator requested do not ignore old user events.
    pub fn continues(&self) -> bool {
        self.continues
    }

    /// Whether the node tries to rejoin a member from the snapshot.
    pub fn is_rejoining(&self) -> bool {
        self.rejoin.is_some()
    }

    /// Returns the local node's name.
    pub fn local_name(&self) -> &NodeName {
        &self.config.name
    }

    /// Returns the local node's tags.
    pub fn tags(&self) -> &Tags {
        &self.config.tags
    }

    /// Returns the lifecycle state of the node.
    pub fn state(&self) -> State {
        self.state
    }

    /// Iterates over all members in byte order of their names.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|record| &record.member)
    }

    /// Returns a number that increases with each change of [`Self::members`].
    pub fn members_version(&self) -> u64 {
        self.members.version()
    }

    /// Returns a member by name.
    pub fn member(&self, name: &[u8]) -> Option<&Member> {
        self.members.member(name)
    }

    /// Returns the coordinate of a node, if known: the local node's, or that of a node which this node has
    /// probed. Always `None` if coordinates are disabled.
    pub fn coordinate(&self, name: &[u8]) -> Option<&Coordinate> {
        self.coordinates.as_ref()?.get(name, self.local_name())
    }

    /// Returns the statistics for `info`.
    pub fn stats(&self) -> Stats {
        Stats {
            members: self.members.len(),
            failed: self.members.failed(),
            left: self.members.left(),
            health_score: self.swim.health_score(),
            member_time: self.member_clock.now().0,
            event_time: self.event_clock.now().0,
            query_time: self.query_clock.now().0,
            intent_queue: self.swim.queue_len(INTENTS),
            event_queue: self.swim.queue_len(EVENTS),
            query_queue: self.swim.queue_len(QUERIES),
            encrypted: self.encrypted,
            coordinate_resets: self.coordinates.as_ref().map(Coordinates::resets),
        }
    }

    /// Takes the values measured since the last call, including those of the membership layer.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        let mut samples = self.samples.take();
        samples.extend(self.swim.take_samples().into_iter().map(Sample::Swim));
        samples
    }

    /// Returns the counters of this layer since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the membership layer for inspection.
    pub fn swim(&self) -> &Swim {
        &self.swim
    }

    /// Panics (in debug builds and tests) if internal state is inconsistent.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.swim.check_invariants();
        self.members.check_invariants();
        self.intents.check_invariants();
        self.events.check_invariants();
        self.event_order.check_invariants();
        self.query_order.check_invariants();
        self.running_queries.check_invariants();
        self.received_queries.check_invariants();
        self.stale_leaves
            .check_invariants(&self.members, self.local_name());
        assert!(self.members.record(self.local_name().as_bytes()).is_some());
        let mut records = self.members.iter();
        assert!(!records.any(|record| self.intents.contains(&record.member.name)));
        assert!(self.prunes.iter().is_sorted_by_key(|(due, _)| *due));
        if let Some(coordinates) = &self.coordinates {
            coordinates.check_invariants(&self.members);
        }
        let is_member = |name: &NodeName| self.members.record(name.as_bytes()).is_some();
        self.repair.check_invariants(is_member);
    }

    fn handle_command(&mut self, id: CommandId, command: Command, now: Instant) {
        let ended = match command {
            Command::Join {
                targets,
                ignore_old_events,
                announce,
            } => return self.start_join(id, targets, ignore_old_events, announce, now),
            Command::Leave => return self.start_leave(id, now),
            Command::ForceLeave { node, prune } => return self.force_leave(id, &node, prune, now),
            Command::Query(params) => return self.start_query(id, params, now),
            Command::SetTags(tags) => return self.set_tags(id, tags, now),
            Command::InstallKey(key) => {
                return self.start_key_query(id, key_answer::INSTALL, key, now);
            }
            Command::UseKey(key) => return self.start_key_query(id, key_answer::USE, key, now),
            Command::RemoveKey(key) => {
                return self.start_key_query(id, key_answer::REMOVE, key, now);
            }
            Command::ListKeys => {
                return self.start_key_query(id, key_answer::LIST, RawKey(Vec::new()), now);
            }
            Command::UserEvent {
                name,
                payload,
                coalesce,
            } => {
                let fired = self.fire_user_event(name, payload, coalesce, now);
                let result = fired.map_or_else(CommandResult::Failed, CommandResult::Fired);
                return self.end_command(id, result);
            }
            Command::Respond { ltime, id, payload } => self.respond(ltime, id, payload, now),
            Command::ForgetQuery(query) => {
                self.forget_query(query);
                Ok(())
            }
        };
        let result = ended.map_or_else(CommandResult::Failed, |()| CommandResult::Done);
        self.end_command(id, result);
    }

    fn do_what_is_due(&mut self, now: Instant) {
        self.continue_user_state(now);
        self.end_due_queries(now);
        self.repeat_due_queries(now);
        self.received_queries.forget_due(now);
        self.end_overdue_waits(now);
        self.end_due_challenges(now);
        self.finish_due_prunes(now);
        self.run_periodic_tasks(now);
        self.ask_leaving_members(now);
        self.release_overdue_events(now);
        self.hand_over_ready(now);
        self.repair_due_events(now);
        self.flush_due_events(now);
        self.finish_due_leave(now);
        self.record_due_clock(now);
    }

    /// Finishes a call: handles pending outputs of the membership layer and updates the timers.
    fn settle(&mut self, now: Instant) {
        self.handle_swim_outputs(now);
        self.hand_over_excess();
        self.arm_periodic_tasks(now);
        self.arm_recorder(now);
        self.note_event_clock(now);
    }

    fn end_command(&mut self, id: CommandId, result: CommandResult) {
        self.outputs.push_back(Output::CommandEnded { id, result });
    }

    /// Counts and logs a well-formed message that a rule forbids.
    fn refuse(&mut self, what: &str) {
        log::debug!(target: "serf", "Refusing a {what}");
        self.counters.dropped_refused += 1;
    }
}
