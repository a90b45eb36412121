//! The handlers of an agent, and what became of the runs of each.

use std::sync::Arc;

use super::journal::HandlerKey;
use super::{End, EventFilter, EventScript, Outcome};
use crate::serf::{Event, QueryHandlers, event_hash};
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

/// What the journal does for a handler's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// They outlive the agent; one that it did not see the end of is repeated once.
    #[default]
    Full,
    /// They outlive the agent; one that has begun counts as done.
    Once,
    /// They do not outlive the agent.
    Off,
}

/// One handler.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Never used twice.
    pub(super) id: u64,
    /// What it is called in the journal: the same as long as filter and script are.
    pub key: HandlerKey,
    /// What operators call it: the base name of the script's first word, with a number if that is
    /// taken. All parts of one filter list have the same.
    pub name: String,
    /// What the journal does for it.
    pub durability: Durability,
    /// Its runs are held back.
    pub is_paused: bool,
    /// The configured handler that this is a part of: equal for all words of one filter list.
    entry: usize,
    /// What it is.
    pub handler: EventScript,
    /// What became of its runs.
    pub tally: Tally,
}

impl Registered {
    /// Filter and script, as an operator would write them.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = self.handler.filter.as_given();
        text.push(b'=');
        text.extend_from_slice(&self.handler.script);
        text
    }

    pub(super) fn is_once(&self) -> bool {
        self.durability == Durability::Once
    }
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
            let (id, tally, is_paused) = match kept.map(|at| old.remove(at)) {
                Some(r) => (r.id, r.tally, r.is_paused),
                None => {
                    self.next_id += 1;
                    (self.next_id, Tally::default(), false)
                }
            };
            let before = self.list.last().filter(|_| same);
            let name = before.map(|r| r.name.clone());
            self.list.push(Registered {
                id,
                key: self.free_key(&handler),
                name: name.unwrap_or_else(|| self.free_name(&handler.script)),
                durability: Durability::default(),
                is_paused,
                entry,
                handler,
                tally,
            });
        }
    }

    /// The same handler a second time has a key of its own.
    fn free_key(&self, handler: &EventScript) -> HandlerKey {
        let twins = self.list.iter().filter(|r| r.handler == *handler).count();
        let mut filter = handler.filter.as_given();
        if twins > 0 {
            filter.extend_from_slice(format!("#{twins}").as_bytes());
        }
        event_hash(&filter, &handler.script)
    }

    fn free_name(&self, script: &[u8]) -> String {
        let words = script.split(u8::is_ascii_whitespace);
        let word = words.into_iter().find(|word| !word.is_empty());
        let base = word.and_then(|word| word.rsplit(|&byte| byte == b'/').next());
        let base = match base.unwrap_or_default() {
            [] => "handler".into(),
            base => String::from_utf8_lossy(base),
        };
        let is_free = |name: &String| self.list.iter().all(|r| r.name != *name);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let mut names = std::iter::once(base.to_string()).chain(numbered);
        names.find(is_free).unwrap_or_default()
    }

    pub(super) fn has_key(&self, key: HandlerKey) -> bool {
        self.list.iter().any(|r| r.key == key)
    }

    pub(super) fn keys_of(&self, name: &str) -> Vec<HandlerKey> {
        let named = self.list.iter().filter(|r| r.name == name);
        named.map(|r| r.key).collect()
    }

    /// The name of the handler with that number; it may be gone by now.
    pub(super) fn name_of(&self, id: u64) -> &str {
        let found = self.list.iter().find(|r| r.id == id);
        found.map_or("", |r| r.name.as_str())
    }

    pub(super) fn is_once(&self, id: u64) -> bool {
        self.list.iter().any(|r| r.id == id && r.is_once())
    }

    /// Tells whether there is one of that name.
    pub(super) fn set_paused(&mut self, name: &str, is_paused: bool) -> bool {
        let mut found = false;
        for registered in self.list.iter_mut().filter(|r| r.name == name) {
            registered.is_paused = is_paused;
            found = true;
        }
        found
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
                EventFilter::User(_) | EventFilter::Member(_) | EventFilter::Sync => {}
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
