//! Restart from a snapshot: times already seen, and the rejoin (gossip spec 5.17, agent spec 4.10).

use std::net::SocketAddr;

use super::Snapshot;
use super::lost::LostMembers;
use super::recorder::Recorder;
use crate::serf::{LamportTime, Serf, State};
use crate::swim::JoinId;
use crate::time::Instant;
use crate::wire::NodeName;

/// State of the rejoin, which tries one member at a time.
#[derive(Debug)]
pub(in crate::serf) struct Rejoin {
    current: JoinId,
    name: NodeName,
    addr: SocketAddr,
    /// The members to try afterwards, the next one last.
    rest: Vec<(NodeName, SocketAddr)>,
}

impl Rejoin {
    pub(in crate::serf) fn is_current(&self, join: JoinId) -> bool {
        self.current == join
    }
}

impl Serf {
    /// Restores the state of a snapshot and starts to record. Returns the members of the snapshot in the
    /// order of attempts, the first to try last.
    pub(in crate::serf) fn restore(
        &mut self,
        mut snapshot: Snapshot,
        now: Instant,
    ) -> Vec<(NodeName, SocketAddr)> {
        // This node may have had its present address under another name.
        let own = self.swim.local();
        for members in [&mut snapshot.alive, &mut snapshot.failed] {
            members.retain(|name, addr| *name != own.name && *addr != own.addr);
        }
        self.lost = LostMembers::of(&snapshot, self.config.reconnect_timeout, now);
        self.continues = snapshot.continues();
        let first = snapshot.first_event_time();
        let Snapshot {
            alive,
            failed,
            clock,
            event_clock,
            query_clock,
            seen,
            member,
        } = snapshot;
        let mut recorder = Recorder::new(clock, event_clock, query_clock);
        let next = |seen: LamportTime| LamportTime(seen.0.saturating_add(1));
        let absurd = |which, seen: &mut LamportTime| {
            log::warn!(target: "serf", "Ignoring the implausible {which} {seen} in the snapshot");
            // Reset, so that future times are recorded.
            *seen = LamportTime(0);
        };
        if !self.member_clock.go_on(clock) {
            absurd("clock", &mut recorder.clock);
        }
        let latest = seen.latest().unwrap_or_default().max(event_clock);
        if self.event_clock.go_on(latest) {
            self.events.raise_minimum(first);
            self.events.note_seen(&seen);
            self.event_order.skip_below(next(latest), now);
            recorder.member = member;
        } else {
            absurd("event clock", &mut recorder.event_clock);
            self.continues = false;
        }
        if self.query_clock.go_on(query_clock) {
            self.queries.raise_minimum(next(query_clock));
            self.query_order.skip_below(next(query_clock), now);
        } else {
            absurd("query clock", &mut recorder.query_clock);
        }
        self.recorder = Some(recorder);
        self.is_member = self.continues;
        if self.continues {
            // Record the bound, so that it stays valid after `Seen` lines of later times.
            self.record_membership(self.events.minimum());
        }
        self.restored_addrs = alive.values().chain(failed.values()).copied().collect();
        let [mut known, alive] = [failed, alive].map(|members| {
            let mut members: Vec<_> = members.into_iter().collect();
            self.rng.shuffle(&mut members);
            members
        });
        known.extend(alive);
        known
    }

    /// Starts the rejoin. It runs in the background; its result is not reported.
    pub(in crate::serf) fn start_rejoin(
        &mut self,
        mut rest: Vec<(NodeName, SocketAddr)>,
        now: Instant,
    ) {
        self.rejoin = rest.pop().map(|(name, addr)| {
            log::info!(target: "serf", "Attempting re-join to previously known node: {name}: {addr}");
            let current = self.swim.join(addr, now);
            Rejoin {
                current,
                name,
                addr,
                rest,
            }
        });
    }

    pub(in crate::serf) fn handle_rejoin_ended(
        &mut self,
        result: Result<(), String>,
        now: Instant,
    ) {
        let Some(rejoin) = self.rejoin.take() else {
            return;
        };
        let Rejoin {
            name, addr, rest, ..
        } = rejoin;
        match result {
            Ok(()) => {
                log::info!(target: "serf", "Re-joined to previously known node: {name}: {addr}");
            }
            Err(_) if self.state != State::Alive => {}
            Err(why) => {
                log::debug!(target: "serf", "Failed to join {addr}: {why}");
                if rest.is_empty() {
                    log::warn!(target: "serf", "Failed to re-join any previously known node");
                }
                self.start_rejoin(rest, now);
            }
        }
    }
}
