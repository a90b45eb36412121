//! Repair: reactions to acks and pings, and to timers.

use std::net::SocketAddr;

use super::digest::{DIGEST_TIMES, compare, complete, digest, digest_from, summary};
use super::exchanges::{Cause, Current, EXCHANGE_INTERVAL};
use super::peers::Peer;
use super::{ANSWER_PACKETS_MAX, CANDIDATES, DIGEST_TIME, JUMP_TIMES, Repair};
use crate::count::Count;
use crate::serf::{LamportTime, Serf, State};
use crate::time::{Duration, Instant};
use crate::wire::coordinate::Coordinate;
use crate::wire::event_digest::{EventDigest, EventSummary};
use crate::wire::serf::SerfMessage;
use crate::wire::{DecodeError, NodeName};

/// Bytes of a user message in a packet in addition to its content: type byte and two bytes of length.
const USER_MESSAGE_OVERHEAD_BYTES: usize = 3;

impl Repair {
    /// Expects no events below `ltime` any more: a join skips them.
    pub(in crate::serf) fn skip_below(&mut self, ltime: LamportTime) {
        self.gaps.skip_below(ltime);
    }

    /// Counts the new events in a state that was just merged and that this node had asked for.
    pub(in crate::serf) fn note_brought(&mut self, events: u64) {
        self.exchanges.note_brought(events);
    }

    /// Drops what is known of a member that left, failed or was reaped: another program may come back in its
    /// place.
    pub(in crate::serf) fn forget_peer(&mut self, name: &NodeName) {
        self.peers.forget(name);
    }
}

/// Splits the payload of an ack into the coordinate (or the error of decoding it), if there is one, and the
/// rest.
fn take_apart(payload: &[u8]) -> (Option<Result<Coordinate, DecodeError>>, &[u8]) {
    if payload.is_empty() || EventDigest::is_at_start(payload) {
        return (None, payload);
    }
    match Coordinate::decode_first(payload) {
        Ok((coordinate, rest)) => (Some(Ok(coordinate)), rest),
        Err(error) => (Some(Err(error)), &[]),
    }
}

impl Serf {
    /// Whether a member has shown that it runs cottar.
    pub(in crate::serf) fn is_known_cottar(&self, name: &NodeName) -> bool {
        self.repair.peers.is_cottar(name)
    }

    pub(in crate::serf) fn repair_deadline(&self) -> Option<Instant> {
        let is_alive = self.state == State::Alive;
        is_alive.then(|| self.repair.deadline()).flatten()
    }

    /// Notes a newly accepted event.
    pub(in crate::serf) fn note_event_for_repair(&mut self, ltime: LamportTime, now: Instant) {
        let is_alone = self.swim.live_node_count() < 2;
        self.repair.note_event(ltime, &mut self.rng, now);
        if is_alone {
            self.repair.next_ping = None;
            self.repair.next_watch = None;
        }
    }

    /// Adds the event clock to the history, if it has changed.
    pub(in crate::serf) fn note_event_clock(&mut self, now: Instant) {
        self.repair.history.note(self.event_clock.now(), now);
    }

    /// Schedules exchanges if the event clock has just caught up with another node's clock by more than
    /// [`JUMP_TIMES`].
    pub(in crate::serf) fn note_event_clock_jump(&mut self, before: LamportTime, now: Instant) {
        if self.event_clock.now().0.saturating_sub(before.0) > JUMP_TIMES {
            let jitter = self.rng.duration_below(self.repair.pace.ping);
            let due = now + Duration::from_nanos(1) + jitter;
            self.repair.exchanges.note_jump(due);
        }
    }

    // --- acks --------------------------------------------------------------------------------

    /// Recomputes the digests for acks and probes if they are out of date. Called before datagrams and timers
    /// are handled, so it needs no timer.
    pub(in crate::serf) fn renew_digests(&mut self, now: Instant) {
        if self.repair.acks_due.is_none_or(|due| due > now) {
            return;
        }
        self.note_event_clock(now);
        let repair = &mut self.repair;
        let reached = repair.history.at_age(repair.pace.digest_age, now);
        let upto = LamportTime(reached.0.saturating_sub(1));
        let digest = digest(&self.events, upto);
        let mut extended = repair.coordinate.clone().unwrap_or_default();
        digest.encode(&mut extended);
        let ends = repair.last_event.map(|last| last + DIGEST_TIME);
        let ends = ends.filter(|ends| *ends > now);
        let plain = match repair.coordinate {
            Some(_) if ends.is_some() => Some(extended.clone()),
            _ => repair.coordinate.clone(),
        };
        repair.acks_due = match repair.history.is_quiet(repair.pace.digest_age, now) {
            true => ends,
            false => Some(now + repair.pace.resolution()),
        };
        self.swim.set_ack_payload(plain);
        let in_probes = ends.map(|_| digest.encode_for_ping());
        self.swim.set_probe_extension(in_probes.unwrap_or_default());
        self.swim.set_extended_ack_payload(Some(extended));
    }

    /// Processes the ack of a ping.
    pub(in crate::serf) fn handle_acked(
        &mut self,
        node: &NodeName,
        rtt: Duration,
        payload: Option<&[u8]>,
        extra: bool,
        now: Instant,
    ) {
        // Nothing is stored for nodes that are not members.
        if self.members.record(node.as_bytes()).is_none() {
            return;
        }
        let (place, rest) = take_apart(payload.unwrap_or_default());
        if let Some(place) = place {
            self.learn_coordinate(node, rtt, place);
        }
        let Some(addr) = self.swim.node(node).map(|node| node.addr) else {
            return;
        };
        let digest = EventDigest::decode(rest);
        if digest.is_some() || extra {
            // A cottar node acks a ping that has a summary with a digest.
            self.repair.peers.learn(node, addr, digest.is_some());
        }
        if let Some(digest) = digest.filter(|_| self.state == State::Alive) {
            self.compare_digest(node, digest, now);
        }
    }

    fn compare_digest(&mut self, node: &NodeName, theirs: EventDigest, now: Instant) {
        let upto = complete(theirs.upto, self.event_clock);
        if digest_from(upto) < self.events.certain_from(self.event_clock) {
            return;
        }
        let ours = digest(&self.events, upto);
        let others = self.swim.live_node_count().saturating_sub(1);
        let Some(peer) = self.repair.peers.get_mut(node) else {
            return;
        };
        if ours == theirs {
            peer.mismatches = 0;
            peer.follow_up.reset();
            if upto >= self.repair.gaps.highest() {
                self.repair.note_agreement(node, others, now);
            }
            return;
        }
        peer.mismatches = peer.mismatches.saturating_add(1);
        let mismatches = peer.mismatches;
        let pair = (theirs, ours);
        if peer.left_alone == Some(pair) {
            return;
        }
        let may_exchange = peer.exchange.is_over(now);
        let may_ping = peer.follow_up.is_over(now);
        self.note_difference(upto, now);
        if mismatches > 2 && may_exchange && self.repair.exchanges.may_start(now) {
            self.start_repair_exchange(node, Cause::Digest(pair), now);
        } else if may_ping && self.repair.pings.take(now) {
            let (base, max) = (self.repair.pace.ping, self.repair.pace.backoff_max);
            if let Some(peer) = self.repair.peers.get_mut(node) {
                peer.follow_up.extend(base, max, now);
            }
            log::debug!(
                target: "serf",
                "Event digest of {node} up to {upto} differs: sending a summary"
            );
            let last = upto.max(self.summary_last(now));
            self.ping_with_summary(node, digest_from(upto), last, false, now);
        }
    }

    /// Notes that another member has different events up to a time.
    fn note_difference(&mut self, upto: LamportTime, now: Instant) {
        // Before its first exchange a node cannot tell missing events from those older than its join.
        if self.join_hold.is_settled() {
            // Limit the time: a peer that claims one far ahead of this node's clock is lying, or an exchange
            // will bring it.
            let reach = self.event_clock.now().0.saturating_add(DIGEST_TIMES);
            self.repair
                .note_difference(upto.min(LamportTime(reach)), now);
        }
    }

    // --- summaries ---------------------------------------------------------------------------

    /// Returns the last time that a summary covers.
    fn summary_last(&self, now: Instant) -> LamportTime {
        let repair = &self.repair;
        let reached = repair.history.at_age(repair.pace.summary_age, now);
        LamportTime(reached.0.saturating_sub(1))
    }

    fn ping_with_summary(
        &mut self,
        node: &NodeName,
        first: LamportTime,
        last: LamportTime,
        is_answer: bool,
        now: Instant,
    ) {
        let first = first.max(self.events.certain_from(self.event_clock));
        let salt = self.rng.next_u32() as u8;
        let summary = EventSummary {
            is_answer,
            ..summary(&self.events, first, last, salt)
        };
        if self.swim.ping_member(node, &summary.encode(), now) {
            self.counters.repair_pings += 1;
        }
    }

    /// Processes the digest or summary in a member's ping. The ping came from the member's own address.
    pub(in crate::serf) fn handle_ping_extension(
        &mut self,
        node: &NodeName,
        addr: SocketAddr,
        extension: &[u8],
        now: Instant,
    ) {
        let is_member = self.members.record(node.as_bytes()).is_some();
        if self.state != State::Alive || !is_member {
            return;
        }
        if let Some(digest) = EventDigest::decode_of_ping(extension) {
            self.repair.peers.learn(node, addr, true);
            self.compare_digest(node, digest, now);
            return;
        }
        let theirs = match EventSummary::decode(extension) {
            Ok(summary) => summary,
            Err(error) => {
                log::debug!(target: "serf", "Ignoring the data after a ping from {node}: {error}");
                return;
            }
        };
        self.repair.peers.learn(node, addr, true);
        let found = compare(&self.events, self.event_clock, &theirs);
        if !found.they_lack.is_empty() {
            self.send_lacking_events(node, addr, &found.they_lack, now);
        }
        if found.we_lack.is_empty() {
            let covers_all = !theirs.marks.is_empty() && found.last >= self.repair.gaps.highest();
            if found.they_lack.is_empty() && covers_all {
                let others = self.swim.live_node_count().saturating_sub(1);
                self.repair.note_agreement(node, others, now);
            }
            return;
        }
        self.repair.is_hurried = true;
        self.note_difference(found.last, now);
        let wants = self.join_hold.is_settled() && !theirs.is_answer;
        let may_ask = wants && self.may_react(node, |peer| &mut peer.asked, now);
        if may_ask && self.repair.pings.take(now) {
            log::debug!(
                target: "serf",
                "Asking {node} for user events at {}", Count(found.we_lack.len() as u64, "time")
            );
            self.ping_with_summary(node, found.first, found.last, true, now);
        }
    }

    /// Limits reactions to a member's summaries: returns whether the last reaction of this kind is old
    /// enough, and if so notes this one.
    fn may_react(
        &mut self,
        node: &NodeName,
        last: for<'a> fn(&'a mut Peer) -> &'a mut Option<Instant>,
        now: Instant,
    ) -> bool {
        let distance = self.repair.pace.hurried_ping / 2;
        let Some(last) = self.repair.peers.get_mut(node).map(last) else {
            return false;
        };
        if last.is_some_and(|last| now.since(last) < distance) {
            return false;
        }
        *last = Some(now);
        true
    }

    /// Sends the events of these times to a member, oldest first, as far as they fit packets and limits.
    fn send_lacking_events(
        &mut self,
        node: &NodeName,
        addr: SocketAddr,
        times: &[LamportTime],
        now: Instant,
    ) {
        if !self.may_react(node, |peer| &mut peer.answered, now) {
            return;
        }
        let budget = self.swim.envelope_mut().packet_budget_bytes();
        let (mut messages, mut space, mut packets) = (Vec::new(), 0, 0);
        let events = times.iter().flat_map(|time| self.events.messages(*time));
        for event in events {
            let message = SerfMessage::UserEvent(event).encode();
            let bytes = message.len() + USER_MESSAGE_OVERHEAD_BYTES;
            if bytes > budget {
                continue; // such events are only sent in state exchanges
            }
            if bytes > space {
                if packets >= ANSWER_PACKETS_MAX || !self.repair.answers.take(now) {
                    break;
                }
                (space, packets) = (budget, packets + 1);
            }
            space -= bytes;
            messages.push(message);
        }
        if messages.is_empty() {
            return;
        }
        log::debug!(
            target: "serf",
            "Sending {node} user events that it lacks: {} of {}",
            messages.len(),
            Count(times.len() as u64, "time")
        );
        self.counters.repair_events_sent += messages.len() as u64;
        self.swim.send_user_messages(addr, &messages);
    }

    // --- timers and exchanges ----------------------------------------------------------------

    pub(in crate::serf) fn repair_due_events(&mut self, now: Instant) {
        if self.state != State::Alive {
            return;
        }
        if self.repair.next_ping.is_some_and(|due| due <= now) {
            self.ping_for_repair(now);
        }
        // Before the exchange for gaps, which may be due at the same time: while nodes are watched, their events
        // come back anyway.
        if self.repair.next_watch.is_some_and(|due| due <= now) {
            self.watch_for_losses(now);
        }
        // Starting an exchange postpones all others; causes for which no exchange can start are dropped.
        while let Some(cause) = self.repair.due_cause(now) {
            if cause == Cause::Gap {
                self.exchange_for_gaps(now);
                continue;
            }
            let node = self.swim.sample_members(1).pop();
            if !node.is_some_and(|node| self.start_repair_exchange(&node, cause, now)) {
                self.repair.exchanges.forget_jump();
            }
        }
    }

    /// Sends a summary of recent events to another member.
    fn ping_for_repair(&mut self, now: Instant) {
        let pace = self.repair.pace;
        if self.repair.active_until().is_none_or(|until| until < now) {
            self.repair.next_ping = None;
            self.repair.is_hurried = false;
            self.repair.chases.give_up(pace.backoff_max, now);
            return;
        }
        let wait = match self.repair.is_hurried {
            true => pace.hurried_ping,
            false => pace.ping,
        };
        self.repair.next_ping = Some(now + wait + self.rng.duration_below(wait / 8));
        if !self.join_hold.is_settled() {
            return;
        }
        let members = self.swim.sample_members(CANDIDATES);
        if let Some(node) = self.repair.partner(&members) {
            self.note_event_clock(now);
            let mut last = self.summary_last(now);
            let mut first = self.repair.history.at_age(pace.settled_age, now);
            if let Some(upto) = self.repair.chases.upto() {
                last = last.max(upto);
                first = digest_from(last);
            }
            self.ping_with_summary(&node, first, last, false, now);
        }
    }

    /// Exchanges states with a member that does not run cottar, to get the missing times. Cottar nodes
    /// compare summaries instead.
    fn exchange_for_gaps(&mut self, now: Instant) {
        let members = self.swim.sample_members(CANDIDATES);
        let node = members.iter().find(|name| !self.is_known_cottar(name));
        if !node.is_some_and(|node| self.start_repair_exchange(node, Cause::Gap, now)) {
            let age = self.repair.pace.digest_age;
            self.repair.gaps.forget_due(age, now);
        }
    }

    /// Starts an exchange with a member; returns false if the member is not live.
    pub(super) fn start_repair_exchange(
        &mut self,
        node: &NodeName,
        cause: Cause,
        now: Instant,
    ) -> bool {
        if !self.swim.exchange_with(node, now) {
            return false;
        }
        match &cause {
            Cause::Gap => {
                self.counters.repair_exchanges_for_gaps += 1;
                let times = self.repair.gaps.ranges();
                log::debug!(target: "serf", "No user event at {times}: exchanging states with {node}");
            }
            Cause::Digest(_) => {
                self.counters.repair_exchanges_for_digests += 1;
                log::debug!(target: "serf", "Event digest of {node} still differs: exchanging states");
            }
            Cause::Jump => {
                self.counters.repair_exchanges_for_jumps += 1;
                log::debug!(target: "serf", "The event clock jumped: exchanging states with {node}");
            }
            Cause::Loss => {
                self.counters.repair_exchanges_for_losses += 1;
                log::debug!(target: "serf", "Datagrams are being lost: exchanging states with {node}");
            }
        }
        if let Some(peer) = self.repair.peers.get_mut(node) {
            peer.mismatches = 0;
        }
        let jitter = self.rng.duration_below(self.repair.pace.ping);
        self.repair
            .exchanges
            .start(cause, node.clone(), jitter, now);
        true
    }

    /// Ends the exchange, unless its user state is still being merged.
    pub(in crate::serf) fn handle_exchange_ended(&mut self, now: Instant) {
        if !self.user_states.has_asked() {
            self.end_repair_exchange(now);
        }
    }

    /// Ends the exchange after its user state is merged.
    pub(in crate::serf) fn end_repair_exchange(&mut self, now: Instant) {
        let pace = self.repair.pace;
        let Some(current) = self.repair.exchanges.end(now + pace.summary_age) else {
            return;
        };
        let Current {
            cause,
            node,
            started,
            brought,
        } = current;
        log::debug!(target: "serf", "Exchange with {node} brought {}", Count(brought, "user event"));
        self.counters.repair_events_fetched += brought;
        let repair = &mut self.repair;
        let backoff = match &cause {
            Cause::Gap => {
                let given_up = repair.gaps.count_try(pace.digest_age, started);
                self.counters.repair_times_given_up += given_up;
                Some(&mut repair.exchanges.for_gaps)
            }
            Cause::Jump => Some(&mut repair.exchanges.for_jumps),
            // Without a backoff: no member's claim is a cause, and the exchanges end with the events.
            Cause::Loss => None,
            Cause::Digest(pair) => repair.peers.get_mut(&node).map(|peer| {
                peer.left_alone = (brought == 0).then_some(*pair);
                &mut peer.exchange
            }),
        };
        if let Some(backoff) = backoff {
            if brought > 0 {
                backoff.reset();
            } else {
                backoff.extend(EXCHANGE_INTERVAL, pace.backoff_max, now);
            }
        }
    }
}
