//! Queries by this node: sending them and collecting responses (gossip spec 5.8.1, 5.8.4).

use std::sync::Arc;

use super::filters;
use super::key_report::KeyReport;
use super::receive::INTERNAL_PREFIX;
use super::repeat::{Awaited, Repetition};
use super::vote::Vote;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::events::Source;
use crate::serf::gossip::QUERIES;
use crate::serf::{CommandId, CommandResult, LamportTime, Output, QueryParams, QueryRecord, Serf};
use crate::swim::{Encounter, decimal_digits};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;
use crate::wire::serf::{
    Filter, QueryMessage, QueryResponseMessage, RESPONSE_FLAG_ACK, RESPONSE_FLAG_PENDING,
    SerfMessage, query_flag,
};

/// Limit for the queries of this node that collect responses at a time.
const RUNNING_MAX: usize = 1024;
/// Limit for the acks and replies to a query from nodes that are not members here. They may have just joined,
/// but forged names must not take the room of members.
const STRANGERS_MAX: usize = 64;

/// Purpose of a query.
#[derive(Debug)]
pub(in crate::serf) enum Purpose {
    Command(CommandId),
    Conflict(Vote),
    Keys(CommandId, Box<KeyReport>),
}

/// A query that collects responses.
#[derive(Debug)]
pub(in crate::serf) struct RunningQuery {
    id: u32,
    purpose: Purpose,
    pub(in crate::serf) deadline: Instant,
    wants_acks: bool,
    /// Number of acks and replies from nodes that were not members.
    strangers: usize,
    pub(in crate::serf) acks: OrderedSet<NodeName>,
    pub(in crate::serf) replies: OrderedSet<NodeName>,
    /// `None` if the query is not repeated.
    pub(in crate::serf) repetition: Option<Repetition>,
}

/// The queries that collect responses, by time.
#[derive(Debug, Default)]
pub(in crate::serf) struct RunningQueries {
    by_time: OrderedMap<LamportTime, RunningQuery>,
    by_deadline: OrderedSet<(Instant, LamportTime)>,
    by_repetition: OrderedSet<(Instant, LamportTime)>,
}

impl RunningQueries {
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    fn insert(&mut self, ltime: LamportTime, query: RunningQuery) {
        self.by_deadline.insert((query.deadline, ltime));
        if let Some(due) = query.repetition.as_ref().and_then(Repetition::due) {
            self.by_repetition.insert((due, ltime));
        }
        self.by_time.insert(ltime, query);
    }

    /// Notes how this node met the other claimant of its name while the vote runs.
    pub(super) fn note_encounter(&mut self, encounter: Encounter) {
        self.by_time.for_each_mut(|_, query| {
            if let Purpose::Conflict(vote) = &mut query.purpose {
                vote.note(encounter);
            }
        });
    }

    pub(in crate::serf) fn get(&self, ltime: LamportTime) -> Option<&RunningQuery> {
        self.by_time.get(&ltime)
    }

    pub(in crate::serf) fn get_mut(&mut self, ltime: LamportTime) -> Option<&mut RunningQuery> {
        self.by_time.get_mut(&ltime)
    }

    /// Returns the time of the next repetition of a query.
    pub(super) fn first_repetition(&self) -> Option<Instant> {
        self.by_repetition.first().map(|(due, _)| *due)
    }

    /// Takes the query whose repetition is due first out of the schedule; [`Self::put_repetition`] puts it
    /// back.
    pub(super) fn take_first_repetition(&mut self, now: Instant) -> Option<(Instant, LamportTime)> {
        let first = self.by_repetition.first().copied();
        let (due, ltime) = first.filter(|(due, _)| *due <= now)?;
        self.by_repetition.remove(&(due, ltime));
        Some((due, ltime))
    }

    /// Schedules the next repetition of a query, if there is one.
    pub(super) fn put_repetition(&mut self, ltime: LamportTime, due: Option<Instant>) {
        if let Some(due) = due {
            self.by_repetition.insert((due, ltime));
        }
    }

    fn remove(&mut self, ltime: LamportTime) -> Option<RunningQuery> {
        let query = self.by_time.remove(&ltime)?;
        self.by_deadline.remove(&(query.deadline, ltime));
        if let Some(due) = query.repetition.as_ref().and_then(Repetition::due) {
            self.by_repetition.remove(&(due, ltime));
        }
        Some(query)
    }

    fn take_due(&mut self, now: Instant) -> Option<RunningQuery> {
        let (deadline, ltime) = *self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.remove(ltime)
    }

    pub(in crate::serf) fn check_invariants(&self) {
        assert_eq!(self.by_time.len(), self.by_deadline.len());
        assert!(self.by_time.len() <= RUNNING_MAX);
        let repeated = self.by_time.iter().filter_map(|(ltime, query)| {
            let due = query.repetition.as_ref()?.due()?;
            Some((due, *ltime))
        });
        let repeated: OrderedSet<_> = repeated.collect();
        assert!(repeated.iter().eq(self.by_repetition.iter()));
    }
}

/// A query that was sent.
pub(in crate::serf) struct Sent {
    pub(in crate::serf) ltime: LamportTime,
    pub(in crate::serf) id: u32,
    pub(in crate::serf) deadline: Instant,
}

impl Serf {
    /// Returns the default timeout of a query (gossip spec 5.8.1).
    fn default_query_timeout(&self) -> Duration {
        let scale = decimal_digits(self.swim.live_node_count());
        let factor = self.config.query_timeout_multiplier.saturating_mul(scale);
        self.config.swim.gossip_interval.saturating_mul(factor)
    }

    /// Starts a query for a command.
    pub(in crate::serf) fn start_query(
        &mut self,
        command: CommandId,
        params: QueryParams,
        now: Instant,
    ) {
        let reserved = params.name.starts_with(INTERNAL_PREFIX);
        let has_payload = params.payload.as_ref().is_some_and(|p| !p.is_empty());
        if reserved && (params.name != b"_serf_ping" || has_payload) {
            let why = "Queries cannot contain the '_serf_' prefix".to_owned();
            self.end_command(command, CommandResult::Failed(why));
            return;
        }
        let (message, sent) = match self.ask(params, Purpose::Command(command), now) {
            Ok(query) => query,
            Err(why) => {
                self.end_command(command, CommandResult::Failed(why));
                return;
            }
        };
        let Sent {
            ltime,
            id,
            deadline,
        } = sent;
        let result = CommandResult::Queried {
            ltime,
            id,
            deadline,
        };
        self.end_command(command, result);
        self.spread_query(message, now);
    }

    /// Registers a query. The caller must call [`Self::spread_query`] afterwards.
    ///
    /// # Errors
    /// Returns an error text, and changes nothing, if the protocol is below 4, a filter is invalid, the
    /// query is too large, or too many queries are running.
    pub(in crate::serf) fn ask(
        &mut self,
        params: QueryParams,
        purpose: Purpose,
        now: Instant,
    ) -> Result<(QueryMessage, Sent), String> {
        if self.config.protocol < 4 {
            return Err("Feature not supported".to_owned());
        }
        filters::check(&params.filter_tags)?;
        let timeout = params.timeout.unwrap_or(self.default_query_timeout());
        let wants_acks = params.request_ack;
        let message = self.query_message(params, timeout);
        let limit = self.config.query_size_limit_bytes;
        let encoded_bytes = SerfMessage::Query(message.clone()).encode().len();
        if encoded_bytes > limit {
            return Err(format!("query exceeds limit of {limit} bytes"));
        }
        if self.running_queries.by_time.len() >= RUNNING_MAX {
            return Err(format!("{RUNNING_MAX} queries are already pending"));
        }
        let QueryMessage { ltime, id, .. } = message;
        let deadline = now + timeout;
        // A time is used twice only if the clock is saturated.
        self.end_query_at(ltime, now);
        let awaited = match purpose {
            Purpose::Conflict(_) | Purpose::Keys(..) => Some(Awaited::Answer),
            Purpose::Command(_) => wants_acks.then_some(Awaited::Ack),
        };
        // Queries too large for gossip are not sent in any other way either.
        let awaited = awaited.filter(|_| self.fits_gossip(encoded_bytes));
        let repetition = awaited.map(|awaited| Repetition::new(&message, awaited, now, deadline));
        let query = RunningQuery {
            id,
            purpose,
            deadline,
            wants_acks,
            strangers: 0,
            acks: OrderedSet::new(),
            replies: OrderedSet::new(),
            repetition,
        };
        self.running_queries.insert(ltime, query);
        let sent = Sent {
            ltime,
            id,
            deadline,
        };
        Ok((message, sent))
    }

    fn query_message(&mut self, params: QueryParams, timeout: Duration) -> QueryMessage {
        let mut filters = Vec::new();
        if !params.filter_nodes.is_empty() {
            filters.push(Filter::Nodes(params.filter_nodes).encode());
        }
        for (tag, expression) in params.filter_tags {
            filters.push(Filter::Tag { tag, expression }.encode());
        }
        let flags = if params.request_ack {
            query_flag::ACK
        } else {
            0
        };
        QueryMessage {
            ltime: self.query_clock.now(),
            // The reference uses 31 random bits.
            id: self.rng.next_u32() >> 1,
            addr: self.swim.local().addr,
            source_node: Some(self.local_name().clone()),
            filters: (!filters.is_empty()).then_some(filters),
            flags,
            relay_factor: params.relay_factor,
            timeout_nanos: i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX),
            name: params.name,
            payload: params.payload,
        }
    }

    /// Delivers a query by this node locally and broadcasts it.
    pub(super) fn spread_query(&mut self, message: QueryMessage, now: Instant) {
        let encoded: Arc<[u8]> = SerfMessage::Query(message.clone()).encode().into();
        self.handle_query(message, Source::Own, now);
        if !self.broadcast(QUERIES, encoded, None, now) {
            log::warn!(target: "serf", "Query is too large for a gossip packet: not sent");
        }
    }

    /// Handles an ack or a reply.
    pub(in crate::serf) fn handle_query_response(
        &mut self,
        message: QueryResponseMessage,
        now: Instant,
    ) {
        let QueryResponseMessage { ltime, id, .. } = message;
        let is_member = self.members.record(message.from.as_bytes()).is_some();
        let query = self.running_queries.by_time.get_mut(&ltime);
        let Some(query) = query.filter(|query| query.id == id && now <= query.deadline) else {
            log::debug!(target: "serf", "No pending query for the response from {} at {ltime}", message.from);
            self.counters.late_responses += 1;
            return;
        };
        let is_ack = message.flags & RESPONSE_FLAG_ACK != 0;
        if is_ack && !query.wants_acks {
            return;
        }
        let has_room = is_member || query.strangers < STRANGERS_MAX;
        let pending = has_room && message.flags & RESPONSE_FLAG_PENDING != 0;
        if let Some(repetition) = &mut query.repetition {
            if !is_ack || !pending {
                repetition.settled(&message.from);
            } else if !query.acks.contains(&message.from) {
                let answered = query.replies.contains(&message.from);
                repetition.acked(&message.from, pending, answered);
            }
        }
        let seen = if is_ack {
            &mut query.acks
        } else {
            &mut query.replies
        };
        if !has_room || !seen.insert(message.from.clone()) {
            log::debug!(target: "serf", "Dropping a further response from {} at {ltime}", message.from);
            self.counters.duplicate_responses += 1;
            self.counters.duplicate_acks += u64::from(is_ack);
            return;
        }
        query.strangers += usize::from(!is_member);
        match is_ack {
            true => self.counters.acks += 1,
            false => self.counters.responses += 1,
        }
        let QueryResponseMessage { from, payload, .. } = message;
        match &mut query.purpose {
            Purpose::Conflict(_) | Purpose::Keys(..) if is_ack => {}
            Purpose::Conflict(vote) => {
                vote.count(
                    payload.as_deref().unwrap_or_default(),
                    self.swim.local().addr,
                );
            }
            Purpose::Keys(_, report) => {
                if report.count(from, payload.as_deref()) {
                    self.end_query_at(ltime, now);
                }
            }
            Purpose::Command(id) => {
                let record = if is_ack {
                    QueryRecord::Ack { from }
                } else {
                    QueryRecord::Response { from, payload }
                };
                self.outputs
                    .push_back(Output::QueryRecord { id: *id, record });
            }
        }
    }

    pub(in crate::serf) fn end_due_queries(&mut self, now: Instant) {
        while let Some(query) = self.running_queries.take_due(now) {
            self.end_query(query, now);
        }
    }

    fn end_query(&mut self, query: RunningQuery, now: Instant) {
        match query.purpose {
            Purpose::Command(id) => {
                let record = QueryRecord::Done;
                self.outputs.push_back(Output::QueryRecord { id, record });
            }
            Purpose::Conflict(vote) => self.end_vote(vote, now),
            Purpose::Keys(id, report) => self.end_key_query(id, *report),
        }
    }

    fn end_query_at(&mut self, ltime: LamportTime, now: Instant) {
        if let Some(query) = self.running_queries.remove(ltime) {
            self.end_query(query, now);
        }
    }

    /// Drops a query whose responses are no longer wanted.
    pub(in crate::serf) fn forget_query(&mut self, command: CommandId) {
        let is_its =
            |query: &RunningQuery| matches!(query.purpose, Purpose::Command(id) if id == command);
        let mut queries = self.running_queries.by_time.iter();
        if let Some(ltime) = queries.find(|(_, query)| is_its(query)).map(|(t, _)| *t) {
            self.running_queries.remove(ltime);
        }
    }
}
