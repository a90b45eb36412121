//! Internal queries (gossip spec 5.10), and votes on name conflicts (5.11), which are counted in
//! [`super::vote`].

use std::net::SocketAddr;

use super::ask::Purpose;
use super::kept::Route;
use super::rate_limit;
use super::vote::{Outcome, Vote};
use crate::serf::{Output, QueryParams, Serf, State};
use crate::swim::{Encounter, Node, TokenBucket};
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;
use crate::wire::serf::{ConflictMember, QueryMessage};

const PING: &[u8] = b"_serf_ping";
const CONFLICT: &[u8] = b"_serf_conflict";

/// Time after a vote in which conflicts start no new vote (gossip spec 8.7).
const VOTE_PAUSE: Duration = Duration::from_secs(10);

/// State of the votes on this node's name.
#[derive(Debug)]
pub(in crate::serf) struct Conflicts {
    running: bool,
    paused_until: Instant,
    lines: TokenBucket,
}

impl Default for Conflicts {
    fn default() -> Self {
        Conflicts {
            running: false,
            paused_until: Instant::ORIGIN,
            lines: rate_limit::conflict_lines(),
        }
    }
}

impl Serf {
    /// Handles a query with a reserved name. Its ack, if requested, was already sent.
    pub(super) fn handle_internal_query(
        &mut self,
        query: &QueryMessage,
        route: &Route,
        deadline: Instant,
        now: Instant,
    ) {
        match &query.name[..] {
            PING => {}
            CONFLICT => self.answer_conflict(query, route, now),
            _ if self.answer_key_query(query, route, deadline, now) => {}
            other => {
                log::warn!(target: "serf", "Unhandled internal query '{}'", Escaped(other));
            }
        }
    }

    /// Answers a conflict query with the member that has the name in this node's view.
    fn answer_conflict(&mut self, query: &QueryMessage, route: &Route, now: Instant) {
        let name = query.payload.as_deref().unwrap_or_default();
        if name == self.local_name().as_bytes() {
            return;
        }
        log::debug!(target: "serf", "Got conflict resolution query for '{}'", Escaped(name));
        let member = self.members.member(name).map(|member| ConflictMember {
            name: member.name.clone(),
            addr: member.addr,
            tags: member.tags(),
            status: member.status as u8,
            versions: member.versions,
        });
        let payload = ConflictMember::encode(member.as_ref());
        let reply = self.response(query.ltime, query.id, 0, Some(payload));
        match self.encode_response(&reply) {
            Ok(encoded) => self.send_response(route, reply, encoded, now),
            Err(why) => log::error!(target: "serf", "Failed to respond to conflict query: {why}"),
        }
    }

    /// Handles a conflict of two nodes that claim the same name.
    pub(in crate::serf) fn handle_conflict(
        &mut self,
        existing: &Node,
        other: SocketAddr,
        encounter: Encounter,
        now: Instant,
    ) {
        let (name, addr) = (&existing.name, existing.addr);
        let may_log = self.conflicts.lines.take(now);
        if name != self.local_name() {
            if may_log {
                log::warn!(target: "serf", "Name conflict for '{name}': both {addr} and {other} claim it");
            }
            return;
        }
        if may_log {
            log::error!(target: "serf", "Node name conflicts with another node at {other}. Names must be unique!");
        }
        if self.conflicts.running {
            self.running_queries.note_encounter(encounter);
        }
        let quiet = self.conflicts.running || now < self.conflicts.paused_until;
        if quiet || !self.config.name_conflict_resolution || self.state != State::Alive {
            return;
        }
        let params = QueryParams {
            name: CONFLICT.to_vec(),
            payload: Some(name.as_bytes().to_vec()),
            ..QueryParams::default()
        };
        match self.ask(params, Purpose::Conflict(Vote::new(other, encounter)), now) {
            Ok((message, _)) => {
                self.conflicts.running = true;
                self.spread_query(message, now);
            }
            Err(why) => {
                log::error!(target: "serf", "Failed to start name conflict resolution: {why}")
            }
        }
    }

    /// Evaluates a vote after its deadline.
    pub(super) fn end_vote(&mut self, vote: Vote, now: Instant) {
        self.conflicts.running = false;
        self.conflicts.paused_until = now + VOTE_PAUSE;
        if self.state != State::Alive {
            return;
        }
        let (matching, responses) = vote.figures();
        match vote.outcome(self.swim.local().addr) {
            Outcome::Won => {
                log::info!(target: "serf", "majority in name conflict resolution [{matching} / {responses}]");
                return;
            }
            Outcome::KeptUnopposed => {
                log::warn!(target: "serf", "no votes in name conflict resolution, keeping the name");
                return;
            }
            Outcome::GivenWay => {
                log::error!(target: "serf", "no votes in name conflict resolution, quitting");
            }
            Outcome::Lost => {
                log::error!(target: "serf", "minority in name conflict resolution, quitting [{matching} / {responses}]");
            }
        }
        self.record_clock();
        self.outputs.push_back(Output::Stop);
    }
}
