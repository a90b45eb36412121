//! Joins and their initiators: the start, `-retry-join`, RPC clients, discovery (agent spec 4.8).

use super::waiting::{JoinId, Waiting};
use super::{Agent, Ticket};
use crate::agent::net::lookup::Answer;
use crate::agent::net::targets::{Attempt, verdict};
use crate::agent::rpc::RequestId;
use crate::go;
use crate::ordered::OrderedMap;
use crate::serf::{Command, CommandResult, JoinTarget};
use crate::time::{Duration, Instant};

/// Initiator of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiner {
    Start,
    Retry,
    Client(RequestId),
    /// Discovery, for addresses found by mDNS.
    Discovery,
}

#[derive(Debug)]
struct Join {
    joiner: Joiner,
    attempt: Attempt,
    replay: bool,
    /// Number of names that are not resolved and of commands that the core has not completed.
    open: usize,
    contacted: usize,
    failures: Vec<(JoinTarget, String)>,
}

/// Joins in progress. The core joins known addresses at once, and those of a name when it is resolved, so
/// that a name server that does not answer does not delay the others.
#[derive(Debug, Default)]
pub(super) struct Joining {
    joins: OrderedMap<JoinId, Join>,
    last: u64,
}

impl Joining {
    fn add(&mut self, join: Join) -> JoinId {
        self.last += 1;
        let id = JoinId(self.last);
        self.joins.insert(id, join);
        id
    }
}

/// State of `-retry-join`.
#[derive(Debug)]
pub(super) struct RetryJoin {
    /// Number of failed attempts.
    failed: u64,
    /// When the next attempt is due; `None` during an attempt.
    next: Option<Instant>,
}

impl RetryJoin {
    /// Creates the state; the first attempt is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        RetryJoin {
            failed: 0,
            next: Some(now),
        }
    }

    /// Returns when the next attempt is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

impl Agent {
    /// Starts the join of `-join`, which must succeed.
    pub(super) fn start_join(&mut self) {
        let replay = self.config.replay_on_join;
        self.logger
            .print(&format!("==> Joining cluster...(replay: {replay})"));
        self.notifier
            .status("Joining the cluster", self.clock.now());
        self.begin_join(Joiner::Start, self.config.start_join.clone(), replay);
    }

    /// Starts the next attempt of `-retry-join`.
    pub(super) fn try_retry_join(&mut self) {
        let Some(retry) = &mut self.retry_join else {
            return;
        };
        retry.next = None;
        let replay = self.config.replay_on_join;
        log::info!(target: "agent", "Joining cluster...(replay: {replay})");
        self.begin_join(Joiner::Retry, self.config.retry_join.clone(), replay);
    }

    /// Starts a join for a client.
    pub(super) fn join_for_client(
        &mut self,
        request: RequestId,
        addresses: Vec<String>,
        replay: bool,
    ) {
        self.begin_join(Joiner::Client(request), addresses, replay);
    }

    pub(super) fn begin_join(&mut self, joiner: Joiner, addresses: Vec<String>, replay: bool) {
        let shown = addresses.join(" ");
        log::info!(target: "agent", "joining: [{shown}] replay: {replay}");
        let attempt = Attempt::new(
            addresses,
            self.gossip.local_addr().port(),
            self.gossip.zone(),
        );
        let hosts = attempt.unknown_hosts();
        let id = self.joining.add(Join {
            joiner,
            attempt,
            replay,
            // One more, so that the join cannot end before all parts have begun.
            open: hosts.len() + 1,
            contacted: 0,
            failures: Vec::new(),
        });
        let now = self.clock.now();
        let registry = self.poll.registry();
        self.resolver
            .resolve(Ticket::Join(id), hosts, registry, now);
        self.join_part(id, Attempt::targets);
    }

    /// Handles the resolver's answer for one host of a join.
    pub(super) fn name_resolved(&mut self, id: JoinId, host: &str, answer: &Answer) {
        self.join_part(id, |attempt| attempt.targets_at(host, answer));
    }

    /// Starts a join of the targets that are now known, in place of one pending part.
    fn join_part(&mut self, id: JoinId, known: impl FnOnce(&mut Attempt) -> Vec<JoinTarget>) {
        let Some(join) = self.joining.joins.get_mut(&id) else {
            return;
        };
        let targets = known(&mut join.attempt);
        if targets.is_empty() {
            return self.part_over(id, 0, Vec::new());
        }
        // A node that continues from its snapshot needs the events from before such a join. A client's
        // explicit request is executed as given.
        let is_asked_for = matches!(join.joiner, Joiner::Client(_));
        let goes_on = !is_asked_for && self.serf.continues();
        let command = Command::Join {
            targets,
            ignore_old_events: !(join.replay || goes_on),
            announce: true,
        };
        self.run_own(Waiting::Join(id), command);
    }

    /// Handles the result of a command that is part of a join.
    pub(super) fn join_ended(&mut self, id: JoinId, result: &CommandResult) {
        match result {
            CommandResult::Joined {
                contacted,
                failures,
            } => self.part_over(id, *contacted, failures.clone()),
            CommandResult::Failed(why) => self.join_refused(id, why, result),
            CommandResult::Done
            | CommandResult::Fired(_)
            | CommandResult::Queried { .. }
            | CommandResult::Keys(_) => {
                debug_assert!(false, "a join ends otherwise");
                self.part_over(id, 0, Vec::new());
            }
        }
    }

    /// Completes one part of a join; the last one ends the join.
    fn part_over(&mut self, id: JoinId, contacted: usize, mut failures: Vec<(JoinTarget, String)>) {
        let Some(join) = self.joining.joins.get_mut(&id) else {
            return;
        };
        join.open = join.open.saturating_sub(1);
        join.contacted += contacted;
        join.failures.append(&mut failures);
        if join.open == 0 {
            self.join_over(id);
        }
    }

    fn join_over(&mut self, id: JoinId) {
        let Some(join) = self.joining.joins.remove(&id) else {
            return;
        };
        let (contacted, of_targets) = (join.contacted, &join.failures);
        let failures = join.attempt.failures(of_targets);
        let verdict = verdict(contacted, &failures);
        if let Joiner::Client(request) = join.joiner {
            self.server.join_ended(request, contacted, &failures);
        }
        self.report(join.joiner, verdict.clone());
        if join.joiner == Joiner::Discovery {
            self.found_joined(&verdict, of_targets);
        }
    }

    /// Ends a join because the core refuses joins.
    fn join_refused(&mut self, id: JoinId, why: &str, result: &CommandResult) {
        let Some(join) = self.joining.joins.remove(&id) else {
            return;
        };
        if let Joiner::Client(request) = join.joiner {
            self.server.command_ended(request, result.clone());
        }
        self.report(join.joiner, Err(why.to_owned()));
    }

    fn report(&mut self, joiner: Joiner, verdict: Result<usize, String>) {
        match &verdict {
            Ok(contacted) if *contacted > 0 => {
                log::info!(target: "agent", "joined: {contacted} nodes");
            }
            Ok(_) => {}
            Err(why) => log::warn!(target: "agent", "error joining: {why}"),
        }
        match joiner {
            Joiner::Start => self.start_join_over(verdict),
            Joiner::Retry => self.retry_join_over(verdict),
            Joiner::Client(_) | Joiner::Discovery => {}
        }
    }

    fn start_join_over(&mut self, verdict: Result<usize, String>) {
        if !self.phase.is_running() {
            return;
        }
        match verdict {
            Ok(contacted) => {
                self.logger.print(&format!(
                    "    Join completed. Synced with {contacted} initial agents"
                ));
                self.started();
            }
            Err(why) => {
                self.logger.open_gate_aside();
                self.logger.print(&format!("==> {why}"));
                self.end_at_once(1);
            }
        }
    }

    fn retry_join_over(&mut self, verdict: Result<usize, String>) {
        if !self.phase.is_running() {
            self.retry_join = None;
            return;
        }
        match verdict {
            Ok(contacted) => {
                log::info!(target: "agent", "Join completed. Synced with {contacted} initial agents");
                self.retry_join = None;
            }
            Err(why) => self.retry_join_failed(&why),
        }
    }

    fn retry_join_failed(&mut self, why: &str) {
        let Some(retry) = &mut self.retry_join else {
            return;
        };
        retry.failed += 1;
        // The first attempt is not a retry, so there is one more attempt than the limit.
        if self.config.retry_max > 0 && retry.failed > self.config.retry_max {
            log::error!(target: "agent", "maximum retry join attempts made, exiting");
            return self.end_at_once(1);
        }
        let interval: Duration = self.config.retry_interval;
        retry.next = Some(self.clock.now() + interval);
        let shown = go::format_duration(interval);
        log::warn!(target: "agent", "Join failed: {why}, retrying in {shown}");
    }
}
