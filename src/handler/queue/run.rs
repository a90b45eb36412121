//! Determines the runs for an event, and prepares each.

use std::collections::VecDeque;
use std::sync::Arc;

use super::select::{Selected, select, tags_match};
use super::{Current, HandlerQueue, MAX_AGE, Waiting};
use crate::handler::invocation::{Run as RunInfo, environment, stdin};
use crate::handler::journal::HandlerKey;
use crate::handler::moment::Moment;
use crate::handler::outcome::{Shown, warn_failed};
use crate::handler::registered::Registered;
use crate::handler::{Described, HandlerSettings, Input, Invocation, Local, json};
use crate::serf::{Event, MemberEvent, MemberEventKind, MemberStatus};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Maximum number of starts of a run that does not end: a second one only if the agent ended during the
/// first.
const BEGINNINGS_MAX: u32 = 2;

/// A run of one handler for an event.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Number of the handler.
    pub(super) id: u64,
    pub(super) key: HandlerKey,
    /// Index of the handler.
    pub(super) index: usize,
    pub(super) settings: Arc<HandlerSettings>,
    /// Missing handlers that this one replaces: they finish with the event when it does.
    pub(super) replaces: Vec<HandlerKey>,
    pub(super) script: Arc<[u8]>,
    /// The part of the event for this handler, if it is not the whole event.
    pub(super) event: Option<Box<Event>>,
    pub(super) attempt: u32,
    /// Whether the agent ended before the last attempt did.
    pub(super) is_replay: bool,
}

/// What to do for an event.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) runs: VecDeque<Run>,
    /// Whether other handlers for the event are paused or missing.
    pub(super) is_held: bool,
    /// When the event expires for the first of these, in microseconds since 1970.
    pub(super) expires_micros: u64,
}

impl Run {
    /// Creates the run of a handler for a whole event. If its attempts are used up, returns the number that
    /// the next attempt would have.
    pub(super) fn next(
        registered: &Registered,
        index: usize,
        waiting: &Waiting,
    ) -> Result<Self, u32> {
        let progress = waiting.progress();
        let ended = progress.attempts_ended(registered.key);
        let begun = progress
            .begun
            .filter(|begun| begun.handler == registered.key);
        let last = begun.map_or(ended, |begun| begun.attempt.max(ended));
        let beginnings = last - ended;
        let attempt = last.saturating_add(1);
        if beginnings >= BEGINNINGS_MAX || (beginnings > 0 && registered.is_once()) {
            return Err(beginnings + 1);
        }
        Ok(Run {
            id: registered.id,
            key: registered.key,
            index,
            settings: Arc::clone(&registered.settings),
            replaces: Vec::new(),
            script: registered.settings.action.text(),
            event: None,
            attempt,
            is_replay: beginnings > 0,
        })
    }
}

impl Run {
    /// Returns the handlers that finish with the event when this run does.
    pub(super) fn keys(&self) -> impl Iterator<Item = HandlerKey> + '_ {
        std::iter::once(self.key).chain(self.replaces.iter().copied())
    }
}

impl HandlerQueue {
    /// Determines the runs for an event of the FIFO, and whether it must wait for other handlers.
    pub(super) fn plan(&mut self, waiting: &mut Waiting, at: Moment) -> Plan {
        let mut plan = Plan {
            runs: VecDeque::new(),
            is_held: false,
            expires_micros: u64::MAX,
        };
        let (mut given_up, mut expired) = (Vec::new(), Vec::new());
        let recipients = self.recipients(waiting);
        let is_missing = !recipients.missing.is_empty();
        for recipient in recipients.present {
            let (index, registered) = (recipient.index, recipient.registered);
            let (key, replaces) = (registered.key, recipient.replaces);
            if is_too_old(&registered.settings, waiting, at) {
                expired.push((registered.id, key, replaces));
                continue;
            }
            let is_query = matches!(waiting.event, Event::Query(_));
            if registered.is_paused || (registered.lane.pause.is_some() && !is_query) {
                // No query waits for a paused handler.
                plan.is_held |= !is_query;
                let expires_micros = expiry(&registered.settings, waiting);
                plan.expires_micros = plan.expires_micros.min(expires_micros);
                continue;
            }
            let event = match select(registered, waiting) {
                Selected::All => None,
                Selected::Some(event) => Some(Box::new(event)),
                Selected::Nothing => continue,
            };
            match Run::next(registered, index, waiting) {
                Ok(run) => plan.runs.push_back(Run {
                    event,
                    replaces,
                    ..run
                }),
                Err(attempt) => given_up.push((key, replaces, registered.text(), attempt)),
            }
        }
        if is_missing {
            let expires_micros = expiry_after(waiting, MAX_AGE);
            match expires_micros > at.unix_micros {
                true => plan.is_held = true,
                false => self.expire_missing(waiting),
            }
            plan.expires_micros = plan.expires_micros.min(expires_micros);
        }
        let is_shared = waiting.number.is_some_and(|n| self.holders.is_in_lane(n));
        let is_last = plan.runs.is_empty() && !plan.is_held && !is_shared;
        for (key, replaces, text, attempt) in given_up {
            self.give_up(waiting, &text, attempt);
            self.pass_over(waiting, key, &replaces, is_last);
            waiting.progress_mut().begun = None;
        }
        for (id, key, replaces) in expired {
            self.expire(waiting, id);
            self.pass_over(waiting, key, &replaces, is_last);
        }
        plan
    }

    /// Notes that a handler will not run for an event of the FIFO.
    fn pass_over(
        &mut self,
        waiting: &mut Waiting,
        key: HandlerKey,
        replaces: &[HandlerKey],
        is_last: bool,
    ) {
        let number = waiting.number.filter(|_| !is_last);
        for key in std::iter::once(&key).chain(replaces) {
            if let (Some(journal), Some(number)) = (&mut self.journal, number) {
                journal.done(number, *key);
            }
            waiting.progress_mut().done.push(*key);
        }
    }

    /// Prepares a run. Returns `None` if the event's name contains NUL, this node's tags do not match the
    /// handler's, or the event has exceeded its maximum age during earlier runs.
    pub(super) fn invoke(
        &mut self,
        mut run: Run,
        local: Local<'_>,
        at: Moment,
    ) -> Option<Invocation> {
        let current = self.current.as_mut()?;
        let is_synthetic = current.waiting.is_synthetic();
        if !(is_synthetic || tags_match(&run.settings.self_tags, local.tags)) {
            log::debug!(
                target: "agent",
                "Not running script '{}' for '{}': this node's tags do not match",
                Shown(&run.script),
                Described(&current.waiting.event)
            );
            self.not_run(&run);
            return None;
        }
        if !is_synthetic && is_too_old(&run.settings, &current.waiting, at) {
            self.expire_run(&run);
            return None;
        }
        if let Event::Member(event) = &mut current.waiting.event {
            // Synthetic `sync` events may have members already.
            if event.kind == MemberEventKind::Sync && event.members.is_empty() {
                *event = state(&run, local);
            }
        }
        let event = run.event.as_deref().unwrap_or(&current.waiting.event);
        let info = RunInfo {
            id: &current.waiting.id,
            taken_micros: current.waiting.taken_micros,
            attempt: run.attempt,
            is_replay: run.is_replay,
            environment: &run.settings.environment,
        };
        match environment(event, local, &info) {
            Ok(environment) => {
                let whole = run.event.is_none().then_some(&mut current.stdin);
                let stdin = match (run.settings.input, whole) {
                    (Input::Json, _) => json::stdin(event, local, &info, at),
                    (Input::Lines, Some(cached)) => {
                        Arc::clone(cached.get_or_insert_with(|| stdin(event)))
                    }
                    (Input::Lines, None) => stdin(event),
                };
                let invocation = Invocation {
                    script: Arc::clone(&run.script),
                    settings: Arc::clone(&run.settings),
                    env: environment.variables,
                    stdin,
                };
                current.running = Some(run.clone());
                self.note_refused_tags(environment.refused_tags);
                self.run_begins(&run, at);
                Some(invocation)
            }
            Err(reason) => {
                warn_failed(&run.script, &reason);
                self.counters.refused += 1;
                self.handlers.count_drop(event, Some(run.id));
                run.event = None;
                self.not_run(&run);
                None
            }
        }
    }

    /// Cancels a run whose event is too old.
    fn expire_run(&mut self, run: &Run) {
        let Some(current) = self.current.take() else {
            return;
        };
        self.expire(&current.waiting, run.id);
        self.current = Some(current);
        self.not_run(run);
    }

    /// Cancels a run and reports its tickets.
    fn not_run(&mut self, run: &Run) {
        self.run_is_done(run);
        let tickets = self
            .current
            .as_ref()
            .map(|c| c.waiting.progress().tickets.clone());
        self.give_up_tickets(tickets.unwrap_or_default());
    }

    /// Logs a warning when the set of tags with NUL changes, not at each run.
    fn note_refused_tags(&mut self, tags: Vec<Vec<u8>>) {
        self.counters.refused += tags.len() as u64;
        if tags != self.refused_tags {
            for tag in &tags {
                log::warn!(
                    target: "agent",
                    "The value of tag '{}' contains NUL: its variable is not set",
                    Escaped(tag)
                );
            }
            self.refused_tags = tags;
        }
    }
}

/// Returns the event for a `sync` run, with the current members.
fn state(run: &Run, local: Local<'_>) -> MemberEvent {
    let mut members = (local.members)();
    if run.settings.input == Input::Lines {
        members.retain(|member| member.status == MemberStatus::Alive);
    }
    MemberEvent {
        kind: MemberEventKind::Sync,
        members: super::select::picked(&run.settings, &members, &[]),
    }
}

/// Returns when an event exceeds the maximum age for a handler, in microseconds since 1970.
fn expiry(settings: &HandlerSettings, waiting: &Waiting) -> u64 {
    let limit = settings.max_age.or(waiting.number.map(|_| MAX_AGE));
    limit.map_or(u64::MAX, |limit| expiry_after(waiting, limit))
}

pub(super) fn is_too_old(settings: &HandlerSettings, waiting: &Waiting, at: Moment) -> bool {
    at.unix_micros > expiry(settings, waiting)
}

fn expiry_after(waiting: &Waiting, limit: Duration) -> u64 {
    let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    waiting.taken_micros.saturating_add(limit)
}

impl Current {
    pub(super) fn new(waiting: Waiting, scripts: VecDeque<Run>) -> Self {
        Current {
            done: waiting.progress().done.clone(),
            waiting,
            lane: None,
            stdin: None,
            scripts,
            running: None,
            is_held: false,
            expires_micros: u64::MAX,
        }
    }
}
