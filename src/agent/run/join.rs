//! Joins that somebody waits for: at the start, again and again, or for an RPC client (agent spec 4.8).

use super::waiting::{JoinId, Waiting};
use super::{Agent, Ticket};
use crate::agent::net::lookup::Answer;
use crate::agent::net::targets::{Attempt, verdict};
use crate::agent::rpc::RequestId;
use crate::go;
use crate::ordered::OrderedMap;
use crate::serf::{Command, CommandResult, JoinTarget};
use crate::time::{Duration, Instant};

/// Who waits for a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiner {
    Start,
    Retry,
    Client(RequestId),
    /// mDNS has found the addresses.
    Discovery,
}

#[derive(Debug)]
struct Join {
    joiner: Joiner,
    attempt: Attempt,
    replay: bool,
    /// Names that the resolver has not answered for, and commands that the core has not ended.
    open: usize,
    contacted: usize,
    failures: Vec<(JoinTarget, String)>,
}

/// Joins under way. The core joins what is known of a list of addresses at once, and each further name when
/// it is known: a name server that is silent about one does not keep the others waiting.
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

/// The state of `-retry-join`.
#[derive(Debug)]
pub(super) struct RetryJoin {
    /// Attempts that failed.
    failed: u64,
    /// When the next one is due; `None` while one is under way.
    next: Option<Instant>,
}

impl RetryJoin {
    /// The first attempt is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        RetryJoin {
            failed: 0,
            next: Some(now),
        }
    }

    /// When the next attempt is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

impl Agent {
    /// Starts the join that must work for the agent to go on.
    pub(super) fn start_join(&mut self) {
        let replay = self.config.replay_on_join;
        self.logger
            .print(&format!("==> Joining cluster...(replay: {replay})"));
        self.notifier
            .status("Joining the cluster", self.clock.now());
        self.begin_join(Joiner::Start, self.config.start_join.clone(), replay);
    }

    /// The next attempt of `-retry-join`.
    pub(super) fn try_retry_join(&mut self) {
        let Some(retry) = &mut self.retry_join else {
            return;
        };
        retry.next = None;
        let replay = self.config.replay_on_join;
        log::info!(target: "agent", "Joining cluster...(replay: {replay})");
        self.begin_join(Joiner::Retry, self.config.retry_join.clone(), replay);
    }

    /// A client wants a join.
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
            // One more until all are begun.
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

    /// The resolver is through with one host of a join.
    pub(super) fn name_resolved(&mut self, id: JoinId, host: &str, answer: &Answer) {
        self.join_part(id, |attempt| attempt.targets_at(host, answer));
    }

    /// Begins with what of a join is known now, instead of one thing that was open.
    fn join_part(&mut self, id: JoinId, known: impl FnOnce(&mut Attempt) -> Vec<JoinTarget>) {
        let Some(join) = self.joining.joins.get_mut(&id) else {
            return;
        };
        let targets = known(&mut join.attempt);
        if targets.is_empty() {
            return self.part_over(id, 0, Vec::new());
        }
        // A node that goes on from its snapshot has missed what is older than such a join. Who asks for
        // a join now means what he says.
        let is_asked_for = matches!(join.joiner, Joiner::Client(_));
        let goes_on = !is_asked_for && self.serf.continues();
        let command = Command::Join {
            targets,
            ignore_old_events: !(join.replay || goes_on),
            announce: true,
        };
        self.run_own(Waiting::Join(id), command);
    }

    /// A command has ended that was a part of a join.
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

    /// One thing of a join is not open any more; the last one ends it.
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

    /// The core wants no joins any more.
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
        if !self.life.is_running() {
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
        if !self.life.is_running() {
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
        // The first attempt is no repetition: there is one more than the limit.
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
