//! Reaps departed members, reconnects to failed ones, and limits the queues (gossip spec 5.14, 5.16). Each
//! timer runs only while there is something to do.

use crate::count::Count;
use crate::serf::gossip::{EVENTS, INTENTS, QUERIES};
use crate::serf::limits::BUFFER_SLOTS;
use crate::serf::{MemberStatus, Serf, State};
use crate::swim::{JoinId, Priority};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

const QUEUES: [(Priority, &str); 3] = [(INTENTS, "Intent"), (QUERIES, "Query"), (EVENTS, "Event")];

/// Timers of the three periodic tasks.
#[derive(Debug, Default)]
pub(in crate::serf) struct PeriodicTasks {
    reap_at: Option<Instant>,
    reconnect_at: Option<Instant>,
    queue_check_at: Option<Instant>,
    /// Values of the counters of late and refused events at the last warning.
    old_events_reported: u64,
    crowded_events_reported: u64,
}

/// The running attempt to reconnect to a failed member.
#[derive(Debug, Default)]
pub(in crate::serf) struct Reconnect {
    pub(in crate::serf) join: Option<JoinId>,
}

/// Starts a timer if it is needed and does not run; stops it if it is not needed.
fn arm(timer: &mut Option<Instant>, needed: bool, interval: Duration, now: Instant) {
    if !needed {
        *timer = None;
    } else if timer.is_none() {
        // An interval of zero must not cause a busy loop.
        *timer = Some(now + interval.max(Duration::from_millis(1)));
    }
}

/// Whether a timer is due; stops it if so.
fn take_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    let due = timer.is_some_and(|at| at <= now);
    if due {
        *timer = None;
    }
    due
}

impl Serf {
    pub(in crate::serf) fn periodic_deadline(&self) -> Option<Instant> {
        let PeriodicTasks {
            reap_at,
            reconnect_at,
            queue_check_at,
            ..
        } = self.periodic;
        [reap_at, reconnect_at, queue_check_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts the timers that are needed and stops the others.
    pub(in crate::serf) fn arm_periodic_tasks(&mut self, now: Instant) {
        let reap = self.members.has_departed() || !self.intents.is_empty();
        let missing = self.members.failed() + self.lost.len();
        let reconnect = missing > 0 && self.state == State::Alive;
        let warning = self.config.queue_depth_warning.max(1);
        let deep = QUEUES.map(|(queue, _)| self.swim.queue_len(queue) >= warning);
        let look = deep.contains(&true)
            || self.counters.dropped_old_events > self.periodic.old_events_reported
            || self.counters.dropped_crowded_events > self.periodic.crowded_events_reported;
        let (config, periodic) = (&self.config, &mut self.periodic);
        arm(&mut periodic.reap_at, reap, config.reap_interval, now);
        let interval = config.reconnect_interval;
        arm(&mut periodic.reconnect_at, reconnect, interval, now);
        let interval = config.queue_check_interval;
        arm(&mut periodic.queue_check_at, look, interval, now);
    }

    pub(in crate::serf) fn run_periodic_tasks(&mut self, now: Instant) {
        if take_due(&mut self.periodic.reap_at, now) {
            self.reap(now);
        }
        if take_due(&mut self.periodic.reconnect_at, now) {
            self.reconnect(now);
        }
        if take_due(&mut self.periodic.queue_check_at, now) {
            self.check_queues();
        }
    }

    /// Removes members that are gone for too long, and old intents about unknown nodes.
    fn reap(&mut self, now: Instant) {
        let local = self.local_name();
        let config = &self.config;
        let shortest = config.reconnect_timeout.min(config.tombstone_timeout);
        let overdue: Vec<NodeName> = self
            .members
            .departed()
            .take_while(|(since, _)| now.since(*since) > shortest)
            .filter(|(since, record)| {
                let limit = match record.member.status {
                    MemberStatus::Failed => config.reconnect_timeout,
                    _ => config.tombstone_timeout,
                };
                now.since(*since) > limit && record.member.name != *local
            })
            .map(|(_, record)| record.member.name.clone())
            .collect();
        for name in overdue {
            log::info!(target: "serf", "EventMemberReap: {name}");
            self.erase_member(&name, now);
        }
        self.intents.reap(self.config.recent_intent_timeout, now);
    }

    /// Tries to reach one member that failed or was lost in a restart. The more such members, the higher the
    /// probability of an attempt.
    fn reconnect(&mut self, now: Instant) {
        self.give_up_lost(now);
        let (failed, left) = (self.members.failed(), self.members.left());
        let missing = failed + self.lost.len();
        if missing == 0 || self.state != State::Alive || self.reconnect.join.is_some() {
            return;
        }
        let others = self.members.len().saturating_sub(failed + left).max(1);
        if self.rng.unit_f64() > missing as f64 / others as f64 {
            log::debug!(target: "serf", "Not reconnecting to a failed member this time");
            return;
        }
        let pick = self.rng.below(missing);
        let failed_members = self.members.departed().map(|(_, record)| &record.member);
        let mut failed_members = failed_members.filter(|m| m.status == MemberStatus::Failed);
        let picked = match pick.checked_sub(failed) {
            None => failed_members.nth(pick).map(|m| (m.name.clone(), m.addr)),
            Some(number) => self.lost.nth(number),
        };
        let Some((name, addr)) = picked else {
            return;
        };
        log::info!(target: "serf", "Attempting to reconnect to {name} {addr}");
        self.reconnect.join = Some(self.swim.join(addr, now));
    }

    pub(super) fn handle_reconnect_ended(&mut self, result: Result<(), String>) {
        self.reconnect.join = None;
        if let Err(why) = result {
            log::debug!(target: "serf", "Reconnecting failed: {why}");
        }
    }

    /// Warns about long queues, truncates those that are too long, and reports lost events.
    fn check_queues(&mut self) {
        let old = self.counters.dropped_old_events - self.periodic.old_events_reported;
        if old > 0 {
            self.periodic.old_events_reported += old;
            log::warn!(
                target: "serf",
                "Ignored {} more than {BUFFER_SLOTS} Lamport times late: those not seen before \
                 are lost",
                Count(old, "user event")
            );
        }
        let crowded = self.counters.dropped_crowded_events - self.periodic.crowded_events_reported;
        if crowded > 0 {
            self.periodic.crowded_events_reported += crowded;
            log::warn!(target: "serf", "Lost {}: too many with one Lamport time, or in one exchange", Count(crowded, "user event"));
        }
        for (queue, name) in QUEUES {
            let depth = self.swim.queue_len(queue);
            if depth >= self.config.queue_depth_warning {
                log::warn!(target: "serf", "{name} queue depth: {depth}");
            }
            self.cut_queue(queue, name, depth);
        }
    }

    /// Truncates a queue that grows too long between two checks.
    pub(in crate::serf) fn bound_queue(&mut self, queue: Priority) {
        let depth = self.swim.queue_len(queue);
        if depth > self.config.queue_depth_max.saturating_mul(2) {
            let name = QUEUES.iter().find(|(other, _)| *other == queue);
            self.cut_queue(queue, name.map_or("", |(_, name)| name), depth);
        }
    }

    fn cut_queue(&mut self, queue: Priority, name: &str, depth: usize) {
        let max = self.config.queue_depth_max;
        if depth > max {
            let (dropped, unsent) = self.swim.prune_queue(queue, max);
            if !self.has_alive_peers() {
                // No node misses them.
                log::debug!(target: "serf", "{name} queue too deep ({depth}), dropped {}", Count(dropped as u64, "message"));
                return;
            }
            self.counters.dropped_unsent += unsent as u64;
            log::warn!(
                target: "serf",
                "{name} queue too deep ({depth}), dropped {}, {unsent} of them not sent to anybody yet",
                Count(dropped as u64, "message")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_run_only_while_needed_and_never_spin() {
        let second = Duration::from_secs(1);
        let (start, later) = (Instant::from_millis(0), Instant::from_millis(500));
        let mut timer = None;
        arm(&mut timer, true, second, start);
        arm(&mut timer, true, second, later);
        assert_eq!(timer, Some(start + second));
        assert!(!take_due(&mut timer, later));
        arm(&mut timer, false, second, later);
        assert_eq!(timer, None);
        arm(&mut timer, true, Duration::ZERO, start);
        assert!(timer > Some(start));
        assert!(take_due(&mut timer, later));
        assert_eq!(timer, None);
    }
}
