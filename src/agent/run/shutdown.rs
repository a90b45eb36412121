//! Signals, leaving, and the end of the process (agent spec 4.7, 4.11).

use std::process::ExitCode;

use super::{Agent, Waiting};
use crate::agent::files::lock::Locks;
use crate::os::signals::Caught;
use crate::serf::{
    Command, CommandResult, Event, Input, MemberEvent, MemberEventKind, Output, State,
};
use crate::swim;
use crate::time::{Duration, Instant};

/// Time that the core waits at the end of a leave (gossip spec 6.2).
const PROPAGATE_DELAY: Duration = Duration::from_secs(1);
/// Time that the end of the process waits for slow readers of stdout.
pub(super) const CONSOLE_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Normal operation.
    Running,
    /// A signal has started a graceful leave, which must end by then.
    Leaving(Instant),
    /// The leave has completed. Handlers and RPC clients may finish until then.
    Ending(Instant),
    /// The process ends with this status.
    Over(u8),
}

impl Phase {
    /// Returns when [`Agent::advance_phase`] is due.
    pub(super) const fn poll_timeout(self) -> Option<Instant> {
        match self {
            Phase::Leaving(end) | Phase::Ending(end) => Some(end),
            Phase::Running | Phase::Over(_) => None,
        }
    }

    /// Returns the exit status once the process must end.
    pub(super) const fn exit_code(self) -> Option<u8> {
        match self {
            Phase::Over(code) => Some(code),
            _ => None,
        }
    }

    /// Returns whether the agent operates normally: nothing has requested its end yet.
    pub(super) const fn is_running(self) -> bool {
        matches!(self, Phase::Running)
    }
}

impl Agent {
    /// Handles a signal.
    pub(super) fn caught(&mut self, signal: Caught) {
        self.logger
            .print(&format!("==> Caught signal: {}", signal.as_str()));
        match (self.phase, signal) {
            (Phase::Running, Caught::Hangup) => self.reload(),
            (Phase::Running, Caught::Interrupt) if !self.live.skip_leave_on_interrupt => {
                self.leave();
            }
            (Phase::Running, Caught::Terminate) if self.live.leave_on_terminate => self.leave(),
            (Phase::Ending(_), _) => self.end_at_once(0),
            (Phase::Running | Phase::Leaving(_), _) => self.end_at_once(1),
            (Phase::Over(_), _) => {}
        }
    }

    fn leave(&mut self) {
        self.logger.print("==> Gracefully shutting down agent...");
        log::info!(target: "agent", "requesting graceful leave from Serf");
        let grace = leave_grace(
            &self.config.profile.swim(),
            self.serf.stats().members,
            self.config.broadcast_timeout,
        );
        self.phase = Phase::Leaving(self.clock.now() + grace);
        self.notifier
            .stopping("Leaving the cluster", self.clock.now());
        self.retry_join = None;
        self.run_own(Waiting::Leave, Command::Leave);
    }

    /// Handles the end of a leave that a signal has started.
    pub(super) fn leave_ended(&mut self, result: &CommandResult) {
        if let CommandResult::Failed(why) = result {
            self.logger.print(&format!("==> Error: {why}"));
        }
        if let Phase::Leaving(_) = self.phase {
            self.begin_end();
        }
    }

    /// Starts to end the process after a leave that a client requested, once the client has its reply.
    pub(super) fn left_by_client(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Leaving(_)) {
            self.begin_end();
        }
    }

    /// Ends the process with status 1, for supervisors to see: another node keeps this node's name.
    pub(super) fn name_lost(&mut self) {
        self.end_at_once(1);
    }

    fn begin_end(&mut self) {
        self.notifier.stopping("Left", self.clock.now());
        self.handlers.hurry();
        self.phase = Phase::Ending(self.clock.now() + self.live.handler_leave_wait);
    }

    /// Ends the process after this turn.
    pub(super) fn end_at_once(&mut self, code: u8) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(code);
        }
    }

    /// Enters the next phase when a wait is over.
    pub(super) fn advance_phase(&mut self, now: Instant) {
        match self.phase {
            Phase::Leaving(end) if end <= now => {
                log::warn!(target: "agent", "Graceful leave timed out");
                self.end_at_once(1);
            }
            Phase::Ending(end) => {
                let served = self.is_own_leave_handled() && self.clients.is_flushed(&self.server);
                if served || end <= now {
                    self.end_at_once(0);
                }
            }
            Phase::Leaving(_) | Phase::Running | Phase::Over(_) => {}
        }
    }

    /// Returns whether all handlers that want this node's own member-leave have run. The wait for them ends
    /// after `handler_leave_wait`.
    fn is_own_leave_handled(&self) -> bool {
        let leave = Event::Member(MemberEvent {
            kind: MemberEventKind::Leave,
            members: Vec::new(),
        });
        let mut handlers = self.handlers.handlers().iter();
        let wanted = handlers.any(|r| r.wants(&leave));
        !wanted || (self.own_leave_seen && self.handlers.is_idle())
    }

    /// Records the core's last clock and syncs the snapshot.
    fn finish_snapshot(&mut self) {
        let now = self.clock.now();
        self.serf.handle_input(Input::Shutdown, now);
        let Some(snapshot) = &mut self.snapshot else {
            return;
        };
        while let Some(output) = self.serf.poll_output() {
            if let Output::Snapshot(line) = output {
                snapshot.record(&line);
            }
        }
        snapshot.finish();
    }

    /// Shuts all parts down and returns the exit status.
    pub(super) fn finish(&mut self, code: u8) -> ExitCode {
        log::info!(target: "agent", "requesting serf shutdown");
        self.notifier.stopping("Ending", self.clock.now());
        self.finish_journal();
        self.runner.abandon();
        if self.serf.state() != State::Left {
            log::warn!(target: "serf", "Shutdown without a Leave");
        }
        self.saving.finish(&self.config);
        self.finish_snapshot();
        // Released before the connections close: a client that asked for the end may then start the next
        // agent.
        self.journal = None;
        self.snapshot = None;
        self.locks = Locks::default();
        log::info!(target: "agent", "shutdown complete");
        self.logger.open_gate();
        self.logger.finish(CONSOLE_FLUSH_TIMEOUT);
        ExitCode::from(code)
    }
}

/// Returns the timeout for a leave that a signal has started. The reference allows 3 s, which is too short
/// for the WAN profile and for large clusters: the leave intent and the departure message are each sent as
/// often as the retransmission limit, one gossip interval apart (gossip spec 4.11, 5.12). When all nodes
/// leave together, the last ones find no receiver and wait for the broadcast timeout.
fn leave_grace(swim: &swim::Config, members: usize, broadcast_timeout: Duration) -> Duration {
    let transmissions = swim::retransmit_limit(swim.retransmit_multiplier, members.max(1));
    let spread = swim.gossip_interval.saturating_mul(transmissions) * 2;
    spread.max(broadcast_timeout) + PROPAGATE_DELAY + Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_grows_with_profile_and_cluster() {
        let second = Duration::from_secs(1);
        let (lan, wan) = (swim::Config::lan(), swim::Config::wan());
        assert_eq!(leave_grace(&lan, 2, second), Duration::from_millis(3600));
        assert_eq!(leave_grace(&wan, 2, second), Duration::from_millis(6000));
        assert!(leave_grace(&lan, 60, second) > leave_grace(&lan, 2, second));
        assert_eq!(leave_grace(&lan, 2, 5 * second), 7 * second);
    }
}
