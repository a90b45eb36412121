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

/// The core's own wait at the end of a leave (gossip spec 6.2).
const PROPAGATE_DELAY: Duration = Duration::from_secs(1);
/// How long it waits for whoever reads stdout.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// All is well.
    Running,
    /// A signal asked for a leave, which may take until then.
    Leaving(Instant),
    /// The leave is through. Handlers and RPC clients get the rest, until then.
    Ending(Instant),
    /// The process ends with this status.
    Over(u8),
}

impl Life {
    /// When [`Agent::advance_life`] has something to do.
    pub(super) const fn poll_timeout(self) -> Option<Instant> {
        match self {
            Life::Leaving(end) | Life::Ending(end) => Some(end),
            Life::Running | Life::Over(_) => None,
        }
    }

    /// The status to end with, if it is time.
    pub(super) const fn exit_code(self) -> Option<u8> {
        match self {
            Life::Over(code) => Some(code),
            _ => None,
        }
    }

    /// Whether nobody has asked for an end yet.
    pub(super) const fn is_running(self) -> bool {
        matches!(self, Life::Running)
    }
}

impl Agent {
    /// A signal came.
    pub(super) fn caught(&mut self, signal: Caught) {
        self.logger
            .print(&format!("==> Caught signal: {}", signal.as_str()));
        match (self.life, signal) {
            (Life::Running, Caught::Hangup) => self.reload(),
            (Life::Running, Caught::Interrupt) if !self.live.skip_leave_on_interrupt => {
                self.leave();
            }
            (Life::Running, Caught::Terminate) if self.live.leave_on_terminate => self.leave(),
            (Life::Ending(_), _) => self.end_at_once(0),
            (Life::Running | Life::Leaving(_), _) => self.end_at_once(1),
            (Life::Over(_), _) => {}
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
        self.life = Life::Leaving(self.clock.now() + grace);
        self.notifier
            .stopping("Leaving the cluster", self.clock.now());
        self.retry_join = None;
        self.run_own(Waiting::Leave, Command::Leave);
    }

    /// The leave that a signal asked for is through.
    pub(super) fn leave_ended(&mut self, result: &CommandResult) {
        if let CommandResult::Failed(why) = result {
            self.logger.print(&format!("==> Error: {why}"));
        }
        if let Life::Leaving(_) = self.life {
            self.begin_end();
        }
    }

    /// A client asked for a leave and has its answer.
    pub(super) fn left_by_client(&mut self) {
        if matches!(self.life, Life::Running | Life::Leaving(_)) {
            self.begin_end();
        }
    }

    /// Another node has the name, and keeps it. A supervisor is to see that.
    pub(super) fn name_lost(&mut self) {
        self.end_at_once(1);
    }

    fn begin_end(&mut self) {
        self.notifier.stopping("Left", self.clock.now());
        self.handlers.hurry();
        self.life = Life::Ending(self.clock.now() + self.live.handler_leave_wait);
    }

    /// Ends the process after this turn.
    pub(super) fn end_at_once(&mut self, code: u8) {
        if !matches!(self.life, Life::Over(_)) {
            self.life = Life::Over(code);
        }
    }

    /// Looks whether a wait is over.
    pub(super) fn advance_life(&mut self, now: Instant) {
        match self.life {
            Life::Leaving(end) if end <= now => {
                log::warn!(target: "agent", "Graceful leave timed out");
                self.end_at_once(1);
            }
            Life::Ending(end) => {
                let served = self.is_farewell_handled() && self.clients.is_flushed(&self.server);
                if served || end <= now {
                    self.end_at_once(0);
                }
            }
            Life::Leaving(_) | Life::Running | Life::Over(_) => {}
        }
    }

    /// Whether the handlers that want the node's own member-leave have run. A busy queue is not waited for
    /// longer than `handler_leave_wait` says.
    fn is_farewell_handled(&self) -> bool {
        let farewell = Event::Member(MemberEvent {
            kind: MemberEventKind::Leave,
            members: Vec::new(),
        });
        let mut handlers = self.handlers.handlers().iter();
        let wanted = handlers.any(|r| r.wants(&farewell));
        !wanted || (self.own_leave_seen && self.handlers.is_idle())
    }

    /// The core's last clock, and all of it on the disk.
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

    /// The last words, and the status.
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
        // Before the connection of a client that has asked for the end, who may start the next agent.
        self.journal = None;
        self.snapshot = None;
        self.locks = Locks::default();
        log::info!(target: "agent", "shutdown complete");
        self.logger.open_gate();
        self.logger.finish(LAST_WORDS);
        ExitCode::from(code)
    }
}

/// How long a leave may take when a signal asked for it. The reference gives 3 s, which is too short for
/// the slower profile and for large clusters: the intent and the farewell are each sent as often as the
/// retransmission limit says, one gossip interval apart (gossip spec 4.11, 5.12). And when all nodes leave
/// together, the last ones find nobody to tell and wait for the broadcast timeout.
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
