//! Repair of user events that gossip missed (delivery spec D4).
//!
//! Gossip reaches each node with high probability, not with certainty. Three mechanisms detect and repair
//! missed events:
//!
//! * *Summaries.* For a short time after each new event a node pings a random member more often than the
//!   probe cycle does. After the ping's body comes a summary of the events that it has seen recently. The
//!   receiver sends the events missing in it as ordinary user messages; if it lacks events itself, it answers
//!   with a ping that has its own summary.
//! * *Digests.* Acks carry a digest of the last 256 times, for a minute after the last event. If it differs
//!   from the receiver's digest of the same times, a ping with a summary of all of them follows, and if that
//!   does not help, a state exchange.
//! * *Gaps.* Event times are consecutive except for concurrent ones. If a time stays empty while later ones
//!   arrive, the node exchanges states with a member that does not compare summaries, that is, a node of the
//!   reference.
//! * *Watches.* If all datagrams with an event of a node of the reference were lost, there is often no gap
//!   either. While datagrams are being lost, cottar nodes exchange states with those nodes ([`watch`]).
//!
//! A difference in summaries or digests starts a *chase* ([`chase`]): for a short time a node that may lack
//! something pings as after a new event, and more often, so that a lost datagram costs only a moment instead
//! of a probe interval.
//!
//! The reference does not notice: it decodes the body and ignores the bytes after it. Without events nothing
//! is sent and no timer runs.

mod actions;
mod backoff;
mod chase;
mod digest;
mod exchanges;
mod gaps;
mod history;
mod peers;
mod watch;

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

/// Time after the last event for which acks carry a digest.
const DIGEST_TIME: Duration = Duration::from_secs(60);
/// Smallest jump of the clock in an exchange after which more members are asked.
const JUMP_TIMES: u64 = 256;
/// Limit for the packets with events sent in response to one summary.
const ANSWER_PACKETS_MAX: usize = 4;
/// Rate limit of packets with events in response to summaries: burst and refill interval. At most 70 kB per
/// second, for all requesters together.
const ANSWER_PACKETS_AT_ONCE: u32 = 32;
const ANSWER_PACKET_INTERVAL: Duration = Duration::from_millis(20);
/// Rate limit of pings in response to other nodes: burst and refill interval.
const PINGS_AT_ONCE: u32 = 16;
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// Number of random members from which a partner is chosen.
const CANDIDATES: usize = 8;
/// Number of probe intervals after which a lost datagram is forgotten: at a loss of a tenth, one of five probes
/// fails, and thirty in a row once in a thousand times.
const LOSS_MEMORY_PROBES: u32 = 30;
/// Assumed gossip interval if gossip ticks are disabled.
const FALLBACK_INTERVAL: Duration = Duration::from_millis(200);
/// Longest backoff if periodic push/pulls are disabled.
const FALLBACK_BACKOFF: Duration = Duration::from_secs(30);

/// Timings of the repair, derived from the gossip interval because they depend on how fast gossip spreads.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Interval of pings: 250 ms on a LAN.
    ping: Duration,
    /// Interval of pings while this node knows that it lacks something; also the basis of the minimum time
    /// between two reactions to one member's summaries.
    hurried_ping: Duration,
    /// How long pings continue after the last event: 2 s on a LAN.
    active: Duration,
    /// Younger events are left out of summaries because they are still being gossiped.
    summary_age: Duration,
    /// Older events are left out of summaries unless a digest differs.
    settled_age: Duration,
    /// Younger events are left out of digests. Older gaps trigger an exchange.
    digest_age: Duration,
    /// How long a lost datagram is taken as a sign that others are lost as well.
    loss_memory: Duration,
    /// Longest backoff.
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
            loss_memory: config
                .swim
                .probe_interval
                .saturating_mul(LOSS_MEMORY_PROBES),
            backoff_max: or(config.swim.push_pull_interval, FALLBACK_BACKOFF),
        }
    }

    /// Changes of the clock within this time count as one; also the maximum age of the acks' payload.
    fn resolution(&self) -> Duration {
        self.hurried_ping / 2
    }
}

/// State of the repair and its rate limits.
#[derive(Debug)]
pub(in crate::serf) struct Repair {
    pace: Pace,
    history: ClockHistory,
    peers: Peers,
    gaps: Gaps,
    exchanges: Exchanges,
    chases: Chases,
    /// Arrival of the last new event.
    last_event: Option<Instant>,
    /// Time of the next ping outside the probe cycle.
    next_ping: Option<Instant>,
    /// Whether this node knows that it lacks events.
    is_hurried: bool,
    /// When this node next looks whether to exchange states with a node that it watches.
    next_watch: Option<Instant>,
    /// The node that it exchanged states with last for that reason.
    last_watched: Option<NodeName>,
    /// The last member that agreed on all events, since the last event arrived.
    agreed: Option<NodeName>,
    answers: TokenBucket,
    pings: TokenBucket,
    /// Encoded coordinate for acks; `None` if coordinates are disabled.
    coordinate: Option<Vec<u8>>,
    /// When the payload of acks must be recomputed. Done at the next datagram or timer, so it needs no timer.
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
            next_watch: None,
            last_watched: None,
            is_hurried: false,
            agreed: None,
            answers: TokenBucket::new(ANSWER_PACKETS_AT_ONCE, ANSWER_PACKET_INTERVAL),
            pings: TokenBucket::new(PINGS_AT_ONCE, PING_INTERVAL),
            coordinate: None,
            acks_due: Some(now),
            pace,
        }
    }

    /// Notes a new event, received or fired by this node.
    fn note_event(&mut self, ltime: LamportTime, rng: &mut Rng, now: Instant) {
        self.gaps.note(ltime, now);
        self.chases.note_event(ltime);
        self.last_event = Some(now);
        self.agreed = None;
        self.renew_acks(now + self.pace.resolution());
        if self.next_ping.is_none() {
            // All nodes get the event at nearly the same time; jitter keeps their pings apart.
            let half = self.pace.ping / 2;
            self.next_ping = Some(now + half + rng.duration_below(half));
        }
        if self.next_watch.is_none() {
            self.next_watch = Some(now + self.pace.ping);
        }
    }

    /// Sets the coordinate in the payload of acks.
    pub(in crate::serf) fn set_coordinate(&mut self, coordinate: Option<Vec<u8>>) {
        self.coordinate = coordinate;
        self.renew_acks(Instant::ORIGIN);
    }

    fn renew_acks(&mut self, due: Instant) {
        self.acks_due = Some(self.acks_due.map_or(due, |at| at.min(due)));
    }

    /// Notes that a member has exactly the same events as this node. The second different member in a row
    /// ends the pings.
    fn note_agreement(&mut self, node: &NodeName, others: usize, now: Instant) {
        self.is_hurried = false;
        let another = self.agreed.as_ref().is_some_and(|agreed| agreed != node);
        if another || others < 2 {
            self.next_ping = None;
            self.chases.agree(now);
        }
        self.agreed = Some(node.clone());
    }

    /// Chooses a partner for a comparison; another one than the last that agreed, because two must.
    fn partner(&self, among: &[NodeName]) -> Option<NodeName> {
        self.peers.partner(among, self.agreed.as_ref())
    }

    /// Notes that another member's events up to a time differ: one of the two lacks some.
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

    /// Returns when the last event no longer counts as recent.
    fn events_until(&self) -> Option<Instant> {
        self.last_event.map(|last| last + self.pace.active)
    }

    /// Returns when the pings end, unless agreement ends them earlier.
    fn active_until(&self) -> Option<Instant> {
        self.events_until().max(self.chases.until())
    }

    /// Returns the next deadline, except work that is done at the next datagram.
    pub(in crate::serf) fn deadline(&self) -> Option<Instant> {
        let gaps = self.gaps.due(self.pace.digest_age);
        let gaps = gaps.and_then(|due| self.exchanges.gap_due(due));
        let jump = self.exchanges.jump_due();
        let all = [self.next_ping, self.next_watch, gaps, jump];
        all.into_iter().flatten().min()
    }

    /// Returns the cause of the next exchange, if one is due.
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
