//! The agent and its event loop; [`Agent::turn`] has the order of a turn.

mod check;
mod clients;
mod directories;
#[cfg_attr(not(feature = "mdns"), path = "absent/discovery.rs")]
mod discovery;
mod handlers;
mod join;
mod journal;
mod node;
mod outputs;
mod reload;
mod save;
mod shutdown;
mod start;
#[cfg_attr(not(feature = "telemetry"), path = "absent/telemetry.rs")]
mod telemetry;
mod waiting;

use std::io;
use std::process::ExitCode;
use std::time::Duration as WaitTime;

use mio::{Events, Poll, Token};

use super::config::directory::HandlerDirs;
use super::config::settings::Settings;
use super::config::sources::Sources;
use super::config::{FixedConfig, FlagValues, LiveConfig};
use super::files::journal::JournalFiles;
use super::files::lock::Locks;
use super::files::snapshot::SnapshotFile;
use super::net::{self, Gossip};
use super::observe::logger::Logger;
use super::observe::notify::Notifier;
use super::process::Runner;
use super::process::earlier::EarlierRun;
use super::process::orphans::Orphans;
use super::process::resolver::Resolver;
use super::rpc::RpcServer;
use super::rpc::connections::Clients;
use crate::handler::HandlerQueue;
use crate::handler::start::StartSync;
use crate::os::clock::Clock;
use crate::os::error::os_error;
use crate::os::signals::{Caught, Signals};
use crate::serf::{Command, Input, Serf};
use crate::time::{Duration, Instant};
use discovery::Mdns;
use join::{Joining, RetryJoin};
use save::Saving;
use shutdown::Phase;
use telemetry::Telemetry;
use waiting::{JoinId, Waiting, Waits};

/// First tokens of each part's sockets and pipes.
mod tokens {
    use super::{Mdns, Resolver, Runner, net};
    pub const SIGNALS: usize = 0;
    pub const RESOLVER: usize = 1;
    pub const RUNNER: usize = RESOLVER + Resolver::<()>::TOKENS;
    pub const GOSSIP: usize = RUNNER + Runner::TOKENS;
    pub const MDNS: usize = GOSSIP + net::Tokens::COUNT;
    pub const CLIENTS: usize = MDNS + Mdns::TOKENS;
}

/// Limit for the events of one poll.
const EVENTS_A_TURN: usize = 256;
/// Delay after which a timeout is handled although more input is waiting: input from before the deadline has
/// been read by then, and a flood must not prevent failure detection.
const OVERDUE: Duration = Duration::from_millis(5);
/// Limit for the rounds in one turn in which the parts pass work to each other. Each round is bounded; the
/// rest is done in the next turn, after the sockets were read again.
const ROUNDS_A_TURN: usize = 64;
/// Limit for core outputs and client actions handled in one round.
const STEPS_A_ROUND: usize = 1024;
/// Interval for retrying a console that takes no output.
const CONSOLE_RETRY: Duration = Duration::from_millis(250);

/// Requester of a name lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ticket {
    /// Telemetry, for its sinks.
    #[cfg_attr(not(feature = "telemetry"), allow(dead_code))]
    Telemetry,
    /// A join.
    Join(JoinId),
}

/// Runs the agent until it ends; with `-check`, only checks whether it would start.
pub fn run(flags: &impl FlagValues) -> ExitCode {
    match flags.flag("check") {
        true => check::run(flags),
        false => start::run(flags),
    }
}

/// A running agent.
pub struct Agent {
    clock: Clock,
    poll: Poll,
    signals: Signals,
    gossip: Gossip,
    clients: Clients,
    server: RpcServer,
    serf: Serf,
    handlers: HandlerQueue,
    handler_dirs: HandlerDirs,
    runner: Runner,
    orphans: Orphans,
    resolver: Resolver<Ticket>,
    mdns: Option<Mdns>,
    telemetry: Telemetry,
    logger: Logger,
    notifier: Notifier,
    config: FixedConfig,
    /// Settings that a reload may change.
    live: LiveConfig,
    /// Sources of the settings, for a reload.
    sources: Sources,
    /// Settings in effect.
    settings: Settings,
    snapshot: Option<SnapshotFile>,
    journal: Option<JournalFiles>,
    /// A handler of an earlier agent process that is still running.
    earlier: Option<EarlierRun>,
    locks: Locks,
    saving: Saving,
    waits: Waits,
    joining: Joining,
    retry_join: Option<RetryJoin>,
    phase: Phase,
    start_sync: StartSync,
    /// Whether this node's own member-leave was passed to the handlers.
    own_leave_seen: bool,
    /// Whether work was left for the next turn.
    unfinished: bool,
}

impl Agent {
    /// Runs the loop until the agent ends.
    fn run(mut self) -> ExitCode {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        loop {
            if let Err(error) = self.turn(&mut events) {
                log::error!(target: "agent", "poll failed: {}", os_error(&error));
                self.end_at_once(1);
            }
            if let Some(code) = self.phase.exit_code() {
                return self.finish(code);
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        // 1. Wait.
        let wait = self.wait_time(self.clock.now());
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            result => result?,
        }
        if let Some(journal) = &mut self.journal {
            journal.begin_turn();
        }
        // 2. Handle signals first: the output of a child can be read to its end once the child has ended.
        if events
            .iter()
            .any(|event| event.token() == Token(tokens::SIGNALS))
        {
            self.take_signals();
        }
        // 3. Read, within budgets; readers remember what they left unread.
        self.dispatch(events);
        self.receive();
        // 4. Handle timeouts.
        self.fire_timeouts();
        // 5. and 6. Process what was read, and start the next handler.
        self.settle();
        self.unfinished |= self.orphans.reap();
        self.measure();
        // 7. Write.
        let now = self.clock.now();
        self.gossip.flush(now);
        self.clients.flush(&mut self.server, now);
        self.logger.flush();
        self.notifier.flush(now);
        self.advance_phase(now);
        Ok(())
    }

    /// Returns how long the poll may wait; `None`: no limit. Has no side effects.
    fn wait_time(&self, now: Instant) -> Option<WaitTime> {
        let unread = self.gossip.has_more()
            || self.clients.has_more(&self.server)
            || self.server.has_lines(&self.logger)
            || self.mdns.as_ref().is_some_and(Mdns::has_more);
        if self.unfinished || unread {
            return Some(WaitTime::ZERO);
        }
        let console = self.logger.has_unwritten().then(|| now + CONSOLE_RETRY);
        let deadlines = [
            self.serf.poll_timeout(),
            self.runner.poll_timeout(),
            self.handlers.poll_timeout(),
            self.start_sync.poll_timeout(),
            self.resolver.poll_timeout(),
            self.gossip.poll_timeout(),
            self.clients.poll_timeout(),
            self.server.poll_timeout(),
            self.retry_join.as_ref().and_then(RetryJoin::poll_timeout),
            self.snapshot.as_ref().and_then(SnapshotFile::poll_timeout),
            self.journal.as_ref().and_then(JournalFiles::poll_timeout),
            self.earlier.as_ref().map(EarlierRun::poll_timeout),
            self.phase.poll_timeout(),
            self.mdns.as_ref().and_then(Mdns::poll_timeout),
            self.telemetry.poll_timeout(),
            self.notifier.poll_timeout(),
            console,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.since(now))
    }

    fn take_signals(&mut self) {
        let pending = self.signals.take();
        if pending.child {
            let now = self.clock.now();
            self.runner.handle_sigchld(self.poll.registry(), now);
            self.resolver.handle_sigchld(self.poll.registry(), now);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.handle_sigchld(now);
            }
            self.orphans.handle_sigchld();
            if let Some(journal) = &mut self.journal {
                journal.handle_sigchld();
            }
        }
        for signal in pending.caught {
            match signal {
                Caught::User1 => self.dump_metrics(),
                signal => self.caught(signal),
            }
        }
    }

    fn dispatch(&mut self, events: &Events) {
        let registry = self.poll.registry();
        for event in events {
            let token = event.token();
            if self.runner.owns(token) {
                self.runner.handle_event(token, registry, self.clock.now());
            } else if self.resolver.owns(token) {
                self.resolver
                    .handle_event(token, registry, self.clock.now());
            } else if let Some(mdns) = self.mdns.as_mut().filter(|mdns| mdns.owns(token)) {
                mdns.handle_readiness(token);
            } else if token != Token(tokens::SIGNALS) && !self.gossip.handle_readiness(event) {
                self.clients.handle_readiness(event);
            }
        }
    }

    fn receive(&mut self) {
        let serf = &mut self.serf;
        let registry = self.poll.registry();
        self.gossip
            .receive(&self.clock, registry, &mut |input, now| {
                serf.handle_input(input, now);
            });
        self.clients
            .receive(&mut self.server, registry, self.clock.now());
        if let Some(mdns) = &mut self.mdns {
            mdns.receive(self.clock.now());
        }
    }

    fn fire_timeouts(&mut self) {
        let now = self.clock.now();
        if let Some(deadline) = self.serf.poll_timeout() {
            let drained = !self.gossip.has_more();
            if deadline <= now && (drained || now.since(deadline) >= OVERDUE) {
                let rounds = self.serf.swim().counters().gossip_rounds;
                self.serf.handle_input(Input::Timeout, now);
                if self.serf.swim().counters().gossip_rounds > rounds {
                    let took = self.clock.now().since(now);
                    self.telemetry.gossiped(took, &self.clock);
                }
            }
        }
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if is_due(self.runner.poll_timeout()) {
            self.runner.handle_timeout(self.poll.registry(), now);
        }
        if is_due(self.resolver.poll_timeout()) {
            self.resolver.handle_timeout(self.poll.registry(), now);
        }
        if is_due(self.server.poll_timeout()) {
            self.server.handle_timeout(now);
        }
        self.step_earlier_runs(now);
        self.step_discovery(now);
        if is_due(self.retry_join.as_ref().and_then(RetryJoin::poll_timeout)) {
            self.try_retry_join();
        }
        match &mut self.snapshot {
            Some(snapshot) if is_due(snapshot.poll_timeout()) => snapshot.handle_timeout(now),
            _ => {}
        }
        match &mut self.journal {
            Some(journal) if is_due(journal.poll_timeout()) => {
                journal.handle_timeout(&mut self.handlers, now);
            }
            _ => {}
        }
    }

    /// Passes work between the parts until none has any left, or the limit of rounds is reached.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_A_TURN {
            let mut busy = self.drain_core();
            busy |= self.drain_clients();
            busy |= self.drain_resolver();
            busy |= self.step_saving();
            // The journal first, so that it always has the events that the snapshot marks as seen.
            self.flush_journal();
            self.flush_snapshot();
            busy |= self.step_handlers();
            if !busy {
                self.unfinished = self.is_journal_unfinished();
                return;
            }
        }
        self.unfinished = true;
    }

    /// Passes a command to the core; `waiting` receives its result.
    fn run_own(&mut self, waiting: Waiting, command: Command) {
        let id = self.waits.add(waiting);
        let now = self.clock.now();
        self.serf.handle_input(Input::Command { id, command }, now);
    }

    fn drain_resolver(&mut self) -> bool {
        let mut busy = false;
        while let Some((ticket, host, answer)) = self.resolver.poll_answer() {
            busy = true;
            match ticket {
                Ticket::Telemetry => {
                    let now = self.clock.now();
                    self.telemetry.name_resolved(&host, &answer, now);
                }
                Ticket::Join(join) => self.name_resolved(join, &host, &answer),
            }
        }
        busy
    }
}
