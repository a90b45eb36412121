//! Queries that nodes ask each other on their own behalf (gossip spec 5.10), and the vote on who
//! may keep a name (5.11).

use std::net::SocketAddr;

use super::asking::Purpose;
use super::query::kept::Route;
use super::relay::{RateLimit, same_addr};
use super::{Output, QueryParams, Serf, State};
use crate::swim::{Node, Swim};
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;
use crate::wire::serf::{ConflictMember, QueryMessage};

const PING: &[u8] = b"_serf_ping";
const CONFLICT: &[u8] = b"_serf_conflict";

/// Time after a vote in which conflicts start no further one (gossip spec 8.7).
const VOTE_PAUSE: Duration = Duration::from_secs(10);

/// Ballots of a vote on the own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vote {
    responses: usize,
    matching: usize,
}

impl Vote {
    /// Counts a ballot: the member that another node has under the name.
    pub(super) fn count(&mut self, payload: Option<&[u8]>, swim: &Swim) {
        self.count_for(payload.unwrap_or_default(), swim.local().addr);
    }

    fn count_for(&mut self, payload: &[u8], own: SocketAddr) {
        let Ok(member) = ConflictMember::decode(payload) else {
            log::debug!(target: "serf", "Ignoring a conflict response that does not decode");
            return;
        };
        self.responses += 1;
        self.matching += usize::from(member.is_some_and(|member| same_addr(member.addr, own)));
    }

    fn is_won(self) -> bool {
        self.matching > self.responses / 2
    }
}

/// Whether and when votes on the own name may run.
#[derive(Debug)]
pub(super) struct Conflicts {
    running: bool,
    paused_until: Instant,
    lines: RateLimit,
}

impl Default for Conflicts {
    fn default() -> Self {
        Conflicts {
            running: false,
            paused_until: Instant::ORIGIN,
            lines: RateLimit::conflict_lines(),
        }
    }
}

impl Serf {
    /// A query with a reserved name. Its ack, if wanted, is already on its way.
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

    /// Says who has the name here.
    fn answer_conflict(&mut self, query: &QueryMessage, route: &Route, now: Instant) {
        let name = query.payload.as_deref().unwrap_or_default();
        if name == self.local_name().as_bytes() {
            return;
        }
        log::debug!(target: "serf", "Got conflict resolution query for '{}'", Escaped(name));
        let member = self.members.member(name).map(|member| ConflictMember {
            name: member.name.clone(),
            addr: member.addr,
            tags: member.tags.clone(),
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

    /// Two nodes claim one name.
    pub(super) fn handle_conflict(&mut self, existing: &Node, other: SocketAddr, now: Instant) {
        let (name, addr) = (&existing.name, existing.addr);
        let may_log = self.conflicts.lines.allows(now);
        if name != self.local_name() {
            if may_log {
                log::warn!(target: "serf", "Name conflict for '{name}': both {addr} and {other} claim it");
            }
            return;
        }
        if may_log {
            log::error!(target: "serf", "Node name conflicts with another node at {other}. Names must be unique!");
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
        match self.ask(params, Purpose::Conflict(Vote::default()), now) {
            Ok((message, _)) => {
                self.conflicts.running = true;
                self.spread_query(message, now);
            }
            Err(why) => {
                log::error!(target: "serf", "Failed to start name conflict resolution: {why}")
            }
        }
    }

    /// The time for ballots is over.
    pub(super) fn end_vote(&mut self, vote: Vote, now: Instant) {
        self.conflicts.running = false;
        self.conflicts.paused_until = now + VOTE_PAUSE;
        let Vote {
            responses,
            matching,
        } = vote;
        if self.state != State::Alive {
            return;
        }
        if vote.is_won() {
            log::info!(target: "serf", "majority in name conflict resolution [{matching} / {responses}]");
            return;
        }
        log::error!(target: "serf", "minority in name conflict resolution, quitting [{matching} / {responses}]");
        self.end_for_good();
        self.outputs.push_back(Output::Stop);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::serf::Tags;
    use crate::wire::{NodeName, VersionVector};

    fn ballot(addr: &str) -> Vec<u8> {
        ConflictMember::encode(Some(&ConflictMember {
            name: NodeName::new(b"n1").unwrap(),
            addr: addr.parse().unwrap(),
            tags: Tags::new(),
            status: 1,
            versions: VersionVector::serf(5),
        }))
    }

    #[test]
    fn a_majority_of_valid_ballots_keeps_the_name() {
        for (matching, responses, won) in [
            (0, 0, false),
            (0, 1, false),
            (1, 1, true),
            (1, 2, false),
            (2, 2, true),
            (2, 3, true),
            (2, 4, false),
            (3, 4, true),
        ] {
            let vote = Vote {
                responses,
                matching,
            };
            assert_eq!(vote.is_won(), won, "{matching} of {responses}");
        }
    }

    #[test]
    fn only_valid_ballots_count() {
        let own = "10.0.0.1:7946".parse().unwrap();
        let mut vote = Vote::default();
        vote.count_for(&ballot("10.0.0.1:7946"), own);
        vote.count_for(&ballot("[::ffff:10.0.0.1]:7946"), own);
        vote.count_for(&ballot("10.0.0.1:7947"), own);
        vote.count_for(&ballot("10.0.0.2:7946"), own);
        vote.count_for(&ConflictMember::encode(None), own);
        for bad in [&b""[..], b"\x05\xc0", b"\x06", b"\x06\x81"] {
            vote.count_for(bad, own);
        }
        let expected = Vote {
            responses: 5,
            matching: 2,
        };
        assert_eq!(vote, expected);
    }
}
