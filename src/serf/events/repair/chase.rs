//! Going after events that this node may lack.
//!
//! A digest or a summary shows that two nodes differ; what shall mend that are a few datagrams, of which
//! each may be lost, and the next sign comes with a probe, a second later. So a node that sees one
//! goes on comparing with random members for some time: two that agree with it end that, and where
//! nothing was lacking here that is soon.

use super::backoff::Backoff;
use super::exchanges::EXCHANGE_INTERVAL;
use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// The chase that is on.
#[derive(Debug)]
struct Chase {
    /// What is lacking is at this time or before.
    upto: LamportTime,
    until: Instant,
    /// An event of these times has arrived since.
    brought: bool,
}

/// The chase that is on, and what limits them: one a second, and each that ends with neither a new event
/// nor agreement doubles the wait. So who lies, and what cannot be mended, costs little.
#[derive(Debug, Default)]
pub(super) struct Chases {
    current: Option<Chase>,
    backoff: Backoff,
}

impl Chases {
    /// Starts one, unless one is on or it is too early for it.
    pub(super) fn start(&mut self, upto: LamportTime, until: Instant, now: Instant) -> bool {
        if self.is_on() || !self.backoff.is_over(now) {
            return false;
        }
        self.current = Some(Chase {
            upto,
            until,
            brought: false,
        });
        true
    }

    pub(super) fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// The last time that the one that is on is about.
    pub(super) fn upto(&self) -> Option<LamportTime> {
        self.current.as_ref().map(|chase| chase.upto)
    }

    /// How long the one that is on lasts.
    pub(super) fn until(&self) -> Option<Instant> {
        self.current.as_ref().map(|chase| chase.until)
    }

    /// A new event has arrived.
    pub(super) fn note_event(&mut self, ltime: LamportTime) {
        if let Some(chase) = &mut self.current {
            chase.brought |= ltime <= chase.upto;
        }
    }

    /// Others agree with this node: nothing is lacking.
    pub(super) fn agree(&mut self, now: Instant) {
        if self.current.take().is_some() {
            self.restart_wait(now);
        }
    }

    /// Its time is over.
    pub(super) fn give_up(&mut self, backoff_max: Duration, now: Instant) {
        match self.current.take() {
            Some(chase) if chase.brought => self.restart_wait(now),
            Some(_) => self.backoff.extend(EXCHANGE_INTERVAL, backoff_max, now),
            None => {}
        }
    }

    fn restart_wait(&mut self, now: Instant) {
        self.backoff.reset();
        self.backoff
            .extend(EXCHANGE_INTERVAL, EXCHANGE_INTERVAL, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn start(chases: &mut Chases, now: u64) -> bool {
        chases.start(LamportTime(9), at(now + 2_000), at(now))
    }

    #[test]
    fn chases_in_vain_become_rare() {
        let mut chases = Chases::default();
        for (now, over) in [
            (0, 3_000),
            (3_000, 7_000),
            (7_000, 13_000),
            (13_000, 23_000),
        ] {
            assert!(start(&mut chases, now));
            assert!(!start(&mut chases, now), "one at a time");
            assert_eq!(chases.until(), Some(at(now + 2_000)));
            chases.note_event(LamportTime(10));
            chases.give_up(MAX, at(now + 2_000));
            assert!(!chases.is_on());
            assert!(!start(&mut chases, over - 1));
        }
    }

    #[test]
    fn what_is_brought_and_agreement_make_the_next_one_soon() {
        let mut chases = Chases::default();
        for now in [0, 3_000, 7_000] {
            assert!(start(&mut chases, now));
            chases.give_up(MAX, at(now + 2_000));
        }
        for (now, brings) in [(13_000, true), (16_000, false), (19_000, true)] {
            assert!(start(&mut chases, now));
            if brings {
                chases.note_event(LamportTime(9));
                chases.give_up(MAX, at(now + 2_000));
            } else {
                chases.agree(at(now + 2_000));
            }
            assert!(!start(&mut chases, now + 2_999));
        }
    }
}
