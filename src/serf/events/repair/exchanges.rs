//! State exchanges for repair: one at a time, at most one per second, with backoff after those that brought
//! nothing.

use super::backoff::Backoff;
use super::peers::Pair;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Minimum time from one exchange to the next, whatever their causes.
pub(in crate::serf) const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Number of members to exchange states with after a jump of the clock.
const JUMP_MEMBERS: u8 = 3;

/// Cause of a state exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Cause {
    /// A Lamport time has no event.
    Gap,
    /// A member's digest differs from this node's digest of the same range.
    Digest(Pair),
    /// The clock jumped so far in an exchange that one member may not remember all events in between.
    Jump,
    /// Datagrams are being lost, and the member does not compare summaries ([`super::watch`]).
    Loss,
}

/// The running exchange.
#[derive(Debug)]
pub(in crate::serf) struct Current {
    pub(in crate::serf) cause: Cause,
    pub(in crate::serf) node: NodeName,
    pub(in crate::serf) started: Instant,
    /// Number of new events received in it.
    pub(in crate::serf) brought: u64,
}

/// The running exchange and the limits on exchanges.
#[derive(Debug, Default)]
pub(in crate::serf) struct Exchanges {
    pub(in crate::serf) current: Option<Current>,
    /// Earliest start of the next exchange.
    not_before: Option<Instant>,
    pub(in crate::serf) for_gaps: Backoff,
    pub(in crate::serf) for_jumps: Backoff,
    /// Number of exchanges still to do because the clock jumped.
    jump_members: u8,
    /// Earliest start of the first of them.
    jump_due: Option<Instant>,
}

impl Exchanges {
    /// Returns when an exchange that is due at `due` may start, backoffs aside; `None`: one is running.
    pub(in crate::serf) fn free_from(&self, due: Instant) -> Option<Instant> {
        let from = self.not_before.map_or(due, |time| time.max(due));
        self.current.is_none().then_some(from)
    }

    pub(in crate::serf) fn may_start(&self, now: Instant) -> bool {
        self.free_from(now) == Some(now)
    }

    /// Starts an exchange; the next one may start after the interval plus `jitter`.
    pub(in crate::serf) fn start(
        &mut self,
        cause: Cause,
        node: NodeName,
        jitter: Duration,
        now: Instant,
    ) {
        self.not_before = Some(now + EXCHANGE_INTERVAL + jitter);
        if cause == Cause::Jump {
            self.jump_members = self.jump_members.saturating_sub(1);
        }
        self.current = Some(Current {
            cause,
            node,
            started: now,
            brought: 0,
        });
    }

    /// Counts the new events in the state that was just merged in the running exchange.
    pub(in crate::serf) fn note_brought(&mut self, events: u64) {
        if let Some(current) = &mut self.current {
            current.brought += events;
        }
    }

    /// Notes a jump of the clock; exchanges for it may start at `due`.
    pub(in crate::serf) fn note_jump(&mut self, due: Instant) {
        self.jump_members = JUMP_MEMBERS;
        self.jump_due = Some(due);
    }

    /// Ends the exchange; the next one may not start before `next`.
    pub(in crate::serf) fn end(&mut self, next: Instant) -> Option<Current> {
        self.not_before = self.not_before.max(Some(next));
        self.current.take()
    }

    pub(in crate::serf) fn forget_jump(&mut self) {
        self.jump_members = 0;
    }

    /// Returns when the next exchange for a jump may start, if one is pending.
    pub(in crate::serf) fn jump_due(&self) -> Option<Instant> {
        let due = self.jump_due.filter(|_| self.jump_members > 0)?;
        self.earliest(due, &self.for_jumps)
    }

    /// Returns when an exchange may start for gaps that are due at `due`.
    pub(in crate::serf) fn gap_due(&self, due: Instant) -> Option<Instant> {
        self.earliest(due, &self.for_gaps)
    }

    fn earliest(&self, due: Instant, backoff: &Backoff) -> Option<Instant> {
        let free = self.free_from(due)?;
        backoff.until().max(Some(free))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_one_a_second() {
        let at = Instant::from_millis;
        let mut exchanges = Exchanges::default();
        assert!(exchanges.may_start(at(0)));
        assert_eq!(exchanges.jump_due(), None);
        exchanges.note_jump(at(5));
        assert_eq!(exchanges.jump_due(), Some(at(5)));
        let node = NodeName::new(b"a").unwrap();
        for start in [0u64, 1_100, 2_200] {
            assert!(exchanges.may_start(at(start)));
            let jitter = Duration::from_millis(100);
            exchanges.start(Cause::Jump, node.clone(), jitter, at(start));
            assert_eq!(exchanges.gap_due(at(start)), None);
            assert!(!exchanges.may_start(at(start + 5_000)), "it is under way");
            exchanges.note_brought(2);
            assert_eq!(exchanges.end(at(start + 9)).unwrap().brought, 2);
            assert!(!exchanges.may_start(at(start + 1_099)));
            assert_eq!(exchanges.gap_due(at(start)), Some(at(start + 1_100)));
        }
        assert_eq!(exchanges.jump_due(), None, "three were asked");
    }
}
