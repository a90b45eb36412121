//! Connects the journal's files to the loop, and handles runs that an earlier agent process has left.

use super::Agent;
use crate::agent::config::FixedConfig;
use crate::agent::files::journal::JournalFiles;
use crate::agent::process::Limits;
use crate::agent::process::earlier::{self, EarlierRun};
use crate::count::Count;
use crate::handler::HandlerQueue;
use crate::handler::journal::Settings;
use crate::os::error::shown;
use crate::serf::{Event, Input, Serf, State};
use crate::time::Instant;

/// Opens the journal, if one is configured, and passes its contents to the core and the queue.
///
/// # Errors
/// As for [`JournalFiles::open`].
pub(super) fn open(
    config: &FixedConfig,
    serf: &mut Serf,
    queue: &mut HandlerQueue,
    now: Instant,
) -> Result<Option<JournalFiles>, String> {
    let Some(directory) = &config.journal else {
        return Ok(None);
    };
    let settings = Settings {
        size_limit_bytes: config.journal_size_limit_bytes,
    };
    let (files, journal, mut recovered) = JournalFiles::open(directory, settings)
        .map_err(|why| format!("Failed to setup journal: {why}"))?;
    let waiting = recovered.waiting + recovered.coalescing.len();
    if waiting > 0 {
        log::info!(
            target: "agent",
            "Journal {}: {} waiting from before. Member events and queries that waited too \
             are dropped",
            shown(directory),
            Count(waiting as u64, "user event")
        );
    }
    let seen = std::mem::take(&mut recovered.seen).into_iter();
    let coalescing: Vec<_> = recovered
        .coalescing
        .iter()
        .filter_map(|r| match &r.event {
            Event::User(event) => Some(event.clone()),
            _ => None,
        })
        .collect();
    queue.attach_journal(journal, recovered);
    let seen = seen.map(|event| (event, false));
    for (event, is_coalescing) in seen.chain(coalescing.into_iter().map(|event| (event, true))) {
        let input = Input::Journalled {
            event,
            is_coalescing,
        };
        serf.handle_input(input, now);
    }
    Ok(Some(files))
}

impl Agent {
    /// Writes the journal's pending bytes within the turn's budget.
    pub(super) fn flush_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.flush(&mut self.handlers, self.clock.now());
        }
    }

    /// Returns whether the journal needs another turn at once.
    pub(super) fn is_journal_unfinished(&mut self) -> bool {
        let has_read = self.journal.as_ref().is_some_and(JournalFiles::has_read);
        let wants_read =
            has_read && !self.runner.is_running() && self.handlers.poll_read().is_some();
        wants_read || self.is_journal_behind()
    }

    /// Returns whether unwritten records wait for the next turn.
    pub(super) fn is_journal_behind(&self) -> bool {
        let journal = self.handlers.journal();
        journal.is_some_and(|journal| journal.is_behind())
    }

    /// Returns whether the start of a run can be recorded within this turn's budget.
    pub(super) fn may_begin_run(&self) -> bool {
        match (&self.journal, self.handlers.journal()) {
            (Some(files), Some(journal)) => files.may_begin_run(journal),
            _ => true,
        }
    }

    /// Records the process of the handler that was just started.
    pub(super) fn record_process(&mut self) {
        if !self.handlers.wants_process() {
            return;
        }
        let process = self.runner.pid().and_then(earlier::identify);
        if let Some(process) = process {
            self.handlers.handle_started(process);
        }
    }

    /// Waits for handlers that an earlier agent process has started.
    pub(super) fn step_earlier_runs(&mut self, now: Instant) {
        loop {
            if let Some(run) = &mut self.earlier {
                if !run.handle_timeout(now) {
                    return;
                }
                self.earlier = None;
                self.handlers.handle_gone();
            }
            let Some((process, handler)) = self.handlers.awaited() else {
                return;
            };
            let Limits { time, grace, .. } = self.runner.limits_of(handler);
            let mut run = EarlierRun::new(process, time, grace, now);
            if run.handle_timeout(now) {
                self.handlers.handle_gone();
                continue;
            }
            log::info!(
                target: "agent",
                "Handler of the previous agent still runs (process {}): waiting for it to end",
                process.pid
            );
            self.earlier = Some(run);
            return;
        }
    }

    /// Writes the journal at the end of the process. Pending events are kept for the next start, unless the
    /// node has left for good.
    pub(super) fn finish_journal(&mut self) {
        if self.serf.state() != State::Alive && !self.config.rejoin {
            self.handlers.forget_all();
        }
        self.handlers.abandon();
        if let Some(journal) = &mut self.journal {
            journal.finish(&mut self.handlers, self.clock.now());
        }
    }
}
