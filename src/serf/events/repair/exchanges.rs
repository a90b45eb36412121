//! State exchanges of repairs: one at a time, one a second, and fewer when they are in vain.

use super::backoff::Backoff;
use super::peers::Pair;
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Time from one exchange to the next, whatever they are for.
pub(in crate::serf) const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Members that are asked when the clock has jumped.
const JUMP_MEMBERS: u8 = 3;

/// Why states are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Cause {
    /// A time is missing.
    Gap,
    /// The other one's digest is another than the own one of the same range.
    Digest(Pair),
    /// The clock has jumped so far in an exchange that one member may not remember all of it.
    Jump,
}

/// The exchange under way.
#[derive(Debug)]
pub(in crate::serf) struct Current {
    pub(in crate::serf) cause: Cause,
    pub(in crate::serf) node: NodeName,
    pub(in crate::serf) started: Instant,
    /// New events that it has brought.
    pub(in crate::serf) brought: u64,
}

/// What limits them.
#[derive(Debug, Default)]
pub(in crate::serf) struct Exchanges {
    pub(in crate::serf) current: Option<Current>,
    /// No exchange starts before.
    not_before: Option<Instant>,
    pub(in crate::serf) for_gaps: Backoff,
    pub(in crate::serf) for_jumps: Backoff,
    /// Members that are still to be asked because the clock has jumped.
    jump_members: u8,
    /// When the first of them may be.
    jump_due: Option<Instant>,
}

impl Exchanges {
    pub(in crate::serf) fn may_start(&self, now: Instant) -> bool {
        self.current.is_none() && self.not_before.is_none_or(|time| time <= now)
    }

    /// An exchange has started; the next one may after the interval and `jitter`.
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

    /// The state that was merged just now, of the exchange under way, has brought new events.
    pub(in crate::serf) fn note_brought(&mut self, events: u64) {
        if let Some(current) = &mut self.current {
            current.brought += events;
        }
    }

    /// The clock has jumped; members may be asked from `due` on.
    pub(in crate::serf) fn note_jump(&mut self, due: Instant) {
        self.jump_members = JUMP_MEMBERS;
        self.jump_due = Some(due);
    }

    /// The exchange is over; the next one may start from `next` on, if not later.
    pub(in crate::serf) fn end(&mut self, next: Instant) -> Option<Current> {
        self.not_before = self.not_before.max(Some(next));
        self.current.take()
    }

    pub(in crate::serf) fn forget_jump(&mut self) {
        self.jump_members = 0;
    }

    /// When the next exchange because of a jump may start, if one is to.
    pub(in crate::serf) fn jump_due(&self) -> Option<Instant> {
        let due = self.jump_due.filter(|_| self.jump_members > 0)?;
        self.earliest(due, &self.for_jumps)
    }

    /// When an exchange because of gaps may start that are due at `due`.
    pub(in crate::serf) fn gap_due(&self, due: Instant) -> Option<Instant> {
        self.earliest(due, &self.for_gaps)
    }

    fn earliest(&self, due: Instant, backoff: &Backoff) -> Option<Instant> {
        if self.current.is_some() {
            return None;
        }
        let limits = [self.not_before, backoff.until()];
        limits.into_iter().flatten().chain([due]).max()
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
