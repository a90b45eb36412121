//! Chases: periods in which a node searches actively for events that it may lack.
//!
//! A digest or a summary shows that two nodes differ. The datagrams that repair this may be lost, and the
//! next comparison would follow with a probe, a second later. So a node that sees a difference keeps
//! comparing with random members for some time. Agreement with two of them ends the chase, which is soon if
//! this node lacked nothing.

use super::backoff::Backoff;
use super::exchanges::EXCHANGE_INTERVAL;
use crate::serf::LamportTime;
use crate::time::{Duration, Instant};

/// A running chase.
#[derive(Debug)]
struct Chase {
    /// The missing events are at this time or earlier.
    upto: LamportTime,
    until: Instant,
    /// An event of these times has arrived since the start.
    brought: bool,
}

/// The running chase, and the limits: one chase per second, with a backoff after each chase that ends with
/// neither a new event nor agreement. So liars and differences that cannot be repaired cost little.
#[derive(Debug, Default)]
pub(super) struct Chases {
    current: Option<Chase>,
    backoff: Backoff,
}

impl Chases {
    /// Starts a chase, unless one is running or the backoff is not over.
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

    /// Returns the last time that the running chase covers.
    pub(super) fn upto(&self) -> Option<LamportTime> {
        self.current.as_ref().map(|chase| chase.upto)
    }

    /// Returns the end of the running chase.
    pub(super) fn until(&self) -> Option<Instant> {
        self.current.as_ref().map(|chase| chase.until)
    }

    /// Notes a new event.
    pub(super) fn note_event(&mut self, ltime: LamportTime) {
        if let Some(chase) = &mut self.current {
            chase.brought |= ltime <= chase.upto;
        }
    }

    /// Ends the chase because other members agree with this node.
    pub(super) fn agree(&mut self, now: Instant) {
        if self.current.take().is_some() {
            self.restart_wait(now);
        }
    }

    /// Ends the chase because its time is over.
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
