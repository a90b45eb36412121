//! The handlers of an agent, and what became of the runs of each.

use std::sync::Arc;

use super::{End, EventFilter, EventScript, Outcome};
use crate::serf::{Event, QueryHandlers};
use crate::time::Duration;

/// What became of one handler's runs since it was registered; a reload that keeps it keeps this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that ended, however.
    pub runs: u64,
    /// Of these, ended by anything but exit status 0.
    pub failures: u64,
    /// Of these, ended by the time limit.
    pub timeouts: u64,
    /// Events that it was not run for: there was no room for them, or no environment could hold them.
    pub drops: u64,
    /// How long the last run took.
    pub last: Duration,
    /// How long the longest run took.
    pub longest: Duration,
}

/// One handler.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Never used twice.
    pub(super) id: u64,
    /// The configured handler that this is a part of: equal for all words of one filter list.
    entry: usize,
    /// What it is.
    pub handler: EventScript,
    /// What became of its runs.
    pub tally: Tally,
}

/// All handlers, in the order of registration.
#[derive(Debug, Default)]
pub(super) struct Registry {
    list: Vec<Registered>,
    next_id: u64,
}

impl Registry {
    /// Takes a new list. Each handler that was in the old one, too, keeps its number and its tally.
    pub(super) fn replace(&mut self, handlers: Vec<EventScript>) {
        let mut old = std::mem::take(&mut self.list);
        let mut entry = 0;
        let mut script_before: Option<Arc<[u8]>> = None;
        for handler in handlers {
            // The parts of one filter list share their script, see `EventScript::parse`.
            let script = Arc::clone(&handler.script);
            let same = script_before.is_some_and(|before| Arc::ptr_eq(&before, &script));
            entry += usize::from(!same);
            script_before = Some(script);
            let kept = old.iter().position(|r| r.handler == handler);
            let (id, tally) = match kept.map(|at| old.remove(at)) {
                Some(Registered { id, tally, .. }) => (id, tally),
                None => {
                    self.next_id += 1;
                    (self.next_id, Tally::default())
                }
            };
            self.list.push(Registered {
                id,
                entry,
                handler,
                tally,
            });
        }
    }

    pub(super) fn list(&self) -> &[Registered] {
        &self.list
    }

    /// Those that the event is for: of the parts of one filter list the first that matches, so that
    /// the script runs once.
    pub(super) fn matching<'a>(
        &'a self,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a Registered> + 'a {
        let mut last_entry = 0;
        let matching = self.list.iter().filter(|r| r.handler.matches(event));
        matching.filter(move |r| std::mem::replace(&mut last_entry, r.entry) != r.entry)
    }

    /// The queries that some of them want.
    pub(super) fn query_handlers(&self) -> QueryHandlers {
        let mut wanted = QueryHandlers::default();
        for registered in &self.list {
            match &registered.handler.filter {
                EventFilter::All => wanted.all = true,
                EventFilter::Query(name) if name.is_empty() => wanted.all = true,
                EventFilter::Query(name) => {
                    wanted.names.insert(name.clone());
                }
                EventFilter::User(_) | EventFilter::Member(_) => {}
            }
        }
        wanted
    }

    /// A run ended. The handler may be gone by now.
    pub(super) fn count_run(&mut self, id: u64, outcome: &Outcome) {
        let Some(registered) = self.list.iter_mut().find(|r| r.id == id) else {
            return;
        };
        let tally = &mut registered.tally;
        tally.runs = tally.runs.saturating_add(1);
        let failed = u64::from(!outcome.is_success());
        tally.failures = tally.failures.saturating_add(failed);
        let timed_out = u64::from(matches!(outcome.end, End::TimedOut(_)));
        tally.timeouts = tally.timeouts.saturating_add(timed_out);
        tally.last = outcome.duration;
        tally.longest = tally.longest.max(outcome.duration);
    }

    /// No run will be for this event; of one handler, or of all that it is for.
    pub(super) fn count_drop(&mut self, event: &Event, id: Option<u64>) {
        let ids: Vec<u64> = match id {
            Some(id) => vec![id],
            None => self.matching(event).map(|r| r.id).collect(),
        };
        for registered in &mut self.list {
            if ids.contains(&registered.id) {
                let drops = &mut registered.tally.drops;
                *drops = drops.saturating_add(1);
            }
        }
    }
}
