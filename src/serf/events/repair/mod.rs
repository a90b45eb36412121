//! Repair of what gossip has missed (delivery spec D4).
//!
//! Gossip reaches each node with high probability, not with certainty. Three signs show that an
//! event was missed, and each starts what brings it:
//!
//! * *Summaries.* For a short time after each new event a node pings a random member more often than
//!   the probe cycle does. Behind the ping's body is a summary of the events that it has seen lately.
//!   The other side sends what is lacking there as ordinary user messages; if it lacks something
//!   itself, it answers with such a ping of its own.
//! * *Digests.* Acks carry a digest of the last 256 times, for a minute after the last event. If it is
//!   not the digest of the same times here, a ping with a summary of all of them follows; if that does
//!   not help, an exchange of states.
//! * Either sign starts a *chase* ([`chase`]): for a short time a node that may lack something pings as
//!   after a new event, and more often, so that lost datagrams cost a moment each and not a probe.
//! * *Gaps.* Event times are consecutive but for concurrency. A time that stays empty while later ones
//!   arrive is looked for by an exchange of states with a member that compares nothing: with the
//!   reference.
//!
//! The reference sees nothing of it: it decodes the body and ignores what follows. Nothing is sent,
//! and no timer runs, when there are no events.

mod actions;
mod backoff;
mod chase;
mod digest;
mod exchanges;
mod gaps;
mod history;
mod peers;

use chase::Chases;
use exchanges::{Cause, Exchanges};
use gaps::Gaps;
use history::ClockHistory;
use peers::Peers;

use crate::rng::Rng;
use crate::serf::{Config, LamportTime};
use crate::swim::TokenBucket;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// How long after the last event acks carry a digest.
const DIGEST_TIME: Duration = Duration::from_secs(60);
/// How far the clock has to jump in an exchange for more members to be asked.
const JUMP_TIMES: u64 = 256;
/// Packets with events that are sent because of one summary.
const ANSWER_PACKETS_MAX: usize = 4;
/// Packets with events that may be sent at once because of summaries, and after what time there may be
/// one more: 70 kB a second at most, whoever asks.
const ANSWER_PACKETS_AT_ONCE: u32 = 32;
const ANSWER_PACKET_INTERVAL: Duration = Duration::from_millis(20);
/// Pings that may be sent at once because of what others say, and after what time one more.
const PINGS_AT_ONCE: u32 = 16;
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// Members of which a partner is chosen.
const CANDIDATES: usize = 8;
/// Gossip interval that is reckoned with if there is none.
const FALLBACK_INTERVAL: Duration = Duration::from_millis(200);
/// Longest back-off if there is no push/pull interval.
const FALLBACK_BACKOFF: Duration = Duration::from_secs(30);

/// How fast things go, by the gossip interval: what counts is how long gossip takes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two pings: 250 ms on a LAN.
    ping: Duration,
    /// The same while this node knows that it lacks something; also the least time between two
    /// reactions to one member's summaries.
    hurried_ping: Duration,
    /// How long pings go on after the last event: 2 s on a LAN.
    active: Duration,
    /// What is younger than this is left out of summaries: it is still on its way.
    summary_age: Duration,
    /// What is older than this is left out of summaries, unless a digest differs.
    settled_age: Duration,
    /// What is younger than this is left out of digests. A gap that is older is looked for.
    digest_age: Duration,
    /// The longest back-off.
    backoff_max: Duration,
}

impl Pace {
    fn new(config: &Config) -> Self {
        let or = |time: Duration, other| if time.is_zero() { other } else { time };
        let unit = or(config.swim.gossip_interval, FALLBACK_INTERVAL);
        Pace {
            ping: unit * 5 / 4,
            hurried_ping: unit / 2,
            active: unit * 10,
            summary_age: unit,
            settled_age: unit * 50,
            digest_age: unit * 3,
            backoff_max: or(config.swim.push_pull_interval, FALLBACK_BACKOFF),
        }
    }

    /// Changes of the clock within this time count as one, and payloads of acks are this old at most.
    fn resolution(&self) -> Duration {
        self.hurried_ping / 2
    }
}

/// What this node knows of what it lacks, and what limits it in asking for it.
#[derive(Debug)]
pub(in crate::serf) struct Repair {
    pace: Pace,
    history: ClockHistory,
    peers: Peers,
    gaps: Gaps,
    exchanges: Exchanges,
    chases: Chases,
    /// When the last new event arrived.
    last_event: Option<Instant>,
    /// When the next ping beside the probe cycle is due.
    next_ping: Option<Instant>,
    /// It is known that something is lacking here.
    is_hurried: bool,
    /// The member that agreed last on all events up to the last one, since that one arrived.
    agreed: Option<NodeName>,
    answers: TokenBucket,
    pings: TokenBucket,
    /// What acks say of this node's place; `None`: it takes no part in coordinates.
    coordinate: Option<Vec<u8>>,
    /// When the payload of acks is formed afresh, at the next datagram; no timer waits for that.
    acks_due: Option<Instant>,
}

impl Repair {
    pub(in crate::serf) fn new(config: &Config, clock: LamportTime, now: Instant) -> Self {
        let pace = Pace::new(config);
        Repair {
            history: ClockHistory::new(clock, pace.resolution(), now),
            peers: Peers::default(),
            gaps: Gaps::default(),
            exchanges: Exchanges::default(),
            chases: Chases::default(),
            last_event: None,
            next_ping: None,
            is_hurried: false,
            agreed: None,
            answers: TokenBucket::new(ANSWER_PACKETS_AT_ONCE, ANSWER_PACKET_INTERVAL),
            pings: TokenBucket::new(PINGS_AT_ONCE, PING_INTERVAL),
            coordinate: None,
            acks_due: Some(now),
            pace,
        }
    }

    /// A new event has arrived, or is this node's own.
    fn note_event(&mut self, ltime: LamportTime, rng: &mut Rng, now: Instant) {
        self.gaps.note(ltime, now);
        self.chases.note_event(ltime);
        self.last_event = Some(now);
        self.agreed = None;
        self.renew_acks(now + self.pace.resolution());
        if self.next_ping.is_none() {
            // All nodes hear of it at nearly the same time, and are not to ask at the same time.
            let half = self.pace.ping / 2;
            self.next_ping = Some(now + half + rng.duration_below(half));
        }
    }

    /// Acks carry this from now on.
    pub(in crate::serf) fn set_coordinate(&mut self, coordinate: Option<Vec<u8>>) {
        self.coordinate = coordinate;
        self.renew_acks(Instant::ORIGIN);
    }

    fn renew_acks(&mut self, due: Instant) {
        self.acks_due = Some(self.acks_due.map_or(due, |at| at.min(due)));
    }

    /// A member has all events that this node has, the last one included, and no other. The second one
    /// in a row that has ends the pings.
    fn note_agreement(&mut self, node: &NodeName, others: usize, now: Instant) {
        self.is_hurried = false;
        let another = self.agreed.as_ref().is_some_and(|agreed| agreed != node);
        if another || others < 2 {
            self.next_ping = None;
            self.chases.agree(now);
        }
        self.agreed = Some(node.clone());
    }

    /// Another member has other events than this node, up to a time: one of the two lacks some.
    fn note_difference(&mut self, upto: LamportTime, now: Instant) {
        self.agreed = None;
        if self.chases.start(upto, now + self.pace.active, now) {
            self.is_hurried = true;
        }
        if self.is_hurried && (self.next_ping.is_some() || self.chases.is_on()) {
            let due = now + self.pace.hurried_ping;
            self.next_ping = Some(self.next_ping.map_or(due, |at| at.min(due)));
        }
    }

    /// Until when pings go on, if no agreement ends them.
    fn active_until(&self) -> Option<Instant> {
        let events = self.last_event.map(|last| last + self.pace.active);
        events.max(self.chases.until())
    }

    /// When something is due, except what waits for a datagram to arrive.
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        let gaps = self.gaps.due(self.pace.digest_age);
        let gaps = gaps.and_then(|due| self.exchanges.gap_due(due));
        let jump = self.exchanges.jump_due();
        [self.next_ping, gaps, jump].into_iter().flatten().min()
    }

    /// The reason for the next exchange, if one is due.
    fn due_cause(&self, now: Instant) -> Option<Cause> {
        if self.exchanges.jump_due().is_some_and(|due| due <= now) {
            return Some(Cause::Jump);
        }
        let due = self.gaps.due(self.pace.digest_age)?;
        let due = self.exchanges.gap_due(due)?;
        (due <= now).then_some(Cause::Gap)
    }

    pub(in crate::serf) fn check_invariants(&self, is_member: impl Fn(&NodeName) -> bool) {
        self.gaps.check_invariants();
        self.peers.check_invariants(is_member);
    }
}
