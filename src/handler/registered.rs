//! The registered handlers of an agent, and statistics of the runs of each.

use std::cell::Cell;
use std::sync::Arc;

use super::journal::{HandlerKey, TEXT_BYTES_MAX, kept_text};
use super::queue::lane::Lane;
use super::queue::waiting::Waiting;
use super::settings::{Durability, HandlerSettings, name_all};
use super::{End, EventFilter, Outcome};
use crate::ordered::OrderedMap;
use crate::serf::{Event, QueryHandlers, event_hash};
use crate::time::{Duration, Instant};

/// Statistics of one handler's runs since it was registered. A reload that keeps the handler keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Completed runs, successful or not.
    pub runs: u64,
    /// Completed runs that failed: any end but exit status 0.
    pub failures: u64,
    /// Completed runs that the time limit ended.
    pub timeouts: u64,
    /// Events dropped for this handler: the queue was full, or its environment could not hold them.
    pub drops: u64,
    /// Duration of the last run.
    pub last: Duration,
    /// Duration of the longest run.
    pub longest: Duration,
}

/// A registered handler.
#[derive(Debug)]
pub struct Registered {
    /// Number of the handler, never used twice.
    pub(super) id: u64,
    /// Number of the first handler in the chain of edits that led to this one; its own if there was none.
    pub(super) since: u64,
    /// Its key in the journal: a hash of its configured name, or else of its filter and script.
    pub key: HandlerKey,
    /// Name shown to operators.
    pub name: String,
    /// Whether the operator has paused it: no runs begin.
    pub is_paused: bool,
    /// Its settings.
    pub settings: Arc<HandlerSettings>,
    /// Statistics of its runs.
    pub tally: Tally,
    /// Events that wait for this handler alone.
    pub(super) lane: Lane,
}

impl Registered {
    /// Returns whether one of its filters matches the event.
    pub fn wants(&self, event: &Event) -> bool {
        self.settings.on.iter().any(|filter| filter.matches(event))
    }

    /// Returns its filter as it would be written in front of a script.
    pub fn filter(&self) -> Vec<u8> {
        self.settings.filter()
    }

    /// Returns `FILTER=SCRIPT`, as an operator would write it.
    pub(super) fn text(&self) -> Vec<u8> {
        self.settings.text()
    }

    /// Returns whether this handler replaces a missing one with that key and [`Self::text`], because an edit
    /// changed its filter or its script. A handler that had a configured name is replaced only by one with
    /// the same filter and the same script, and so is one with a longer text than the journal keeps: only as
    /// much is compared, so that the answer is the same after a restart.
    pub(super) fn succeeds(&self, key: HandlerKey, text: &[u8]) -> bool {
        let text = kept_text(text);
        let end = text.iter().position(|&byte| byte == b'=');
        let (filter, script) = text.split_at(end.unwrap_or(text.len()));
        let script = script.get(1..).unwrap_or_default();
        let own = self.settings.action.text();
        let has_filter = *filter == *self.filter();
        let has_script = match text.len() == TEXT_BYTES_MAX {
            true => own.starts_with(script),
            false => *script == *own,
        };
        match event_hash(filter, script) == key {
            true => has_filter || has_script,
            false => has_filter && has_script,
        }
    }

    /// Returns when something in its lane becomes due.
    pub(super) fn lane_timeout(&self) -> Option<Instant> {
        self.lane.poll_timeout(&self.settings)
    }

    pub(super) fn is_once(&self) -> bool {
        self.settings.journal == Durability::Once
    }

    pub(super) fn is_durable(&self) -> bool {
        self.settings.journal != Durability::Off
    }
}

/// Removes and returns the first handler for which `is_it` returns true.
fn take(list: &mut Vec<Registered>, is_it: &dyn Fn(&Registered) -> bool) -> Option<Registered> {
    let at = list.iter().position(is_it);
    at.map(|at| list.remove(at))
}

/// All handlers, in order of registration.
#[derive(Debug, Default)]
pub(super) struct Registry {
    list: Vec<Registered>,
    next_id: u64,
    /// Whether some handler selects by members' tags.
    pub(super) want_tags: bool,
    /// Whether some handler has a hold time for departures.
    pub(super) hold_departures: bool,
    /// Whether some handler has the filter `sync`.
    pub(super) want_sync: bool,
    /// Names of handlers that were paused and then removed, with their [`Registered::since`].
    paused_gone: OrderedMap<String, u64>,
    /// Cached summary of the lanes; cleared whenever a lane may change.
    lanes: Cell<Option<Lanes>>,
}

/// Summary of what waits in all lanes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes {
    /// Memory taken, in bytes.
    pub(super) bytes: usize,
    /// Position of the first event that may run, and the index of its handler.
    pub(super) first: Option<(u64, usize)>,
    /// Earliest time at which something in a lane becomes due.
    pub(super) timeout: Option<Instant>,
}

impl Registry {
    /// Replaces the list of handlers. A handler that was in the old list keeps its number and its statistics;
    /// so does one with the same key whose settings have changed. A handler that shares only the name with an
    /// old one keeps the statistics. A paused handler stays paused, even if it is missing for a time.
    ///
    /// Returns the removed handlers, and the indices of new and changed ones.
    pub(super) fn replace(
        &mut self,
        handlers: Vec<HandlerSettings>,
    ) -> (Vec<Registered>, Vec<usize>) {
        self.lanes.take();
        let last_id = self.next_id;
        let mut old = std::mem::take(&mut self.list);
        let names = name_all(&handlers);
        debug_assert!(names.is_ok(), "names are checked with the settings");
        let mut names = names.unwrap_or_default().into_iter();
        let same = handlers
            .iter()
            .map(|settings| take(&mut old, &|r| *r.settings == *settings));
        let same: Vec<Option<Registered>> = same.collect();
        let mut changed = Vec::new();
        for (settings, same) in handlers.into_iter().zip(same) {
            if same.is_none() {
                changed.push(self.list.len());
            }
            let key = self.free_key(&settings);
            let kept = same.or_else(|| take(&mut old, &|r| r.key == key));
            let (id, since, tally, is_paused, lane) = match kept {
                Some(r) => (r.id, r.since, r.tally, r.is_paused, r.lane),
                None => {
                    self.next_id += 1;
                    let id = self.next_id;
                    (id, id, Tally::default(), false, Lane::default())
                }
            };
            self.list.push(Registered {
                id,
                since,
                key,
                name: names.next().unwrap_or_default(),
                is_paused,
                settings: Arc::new(settings),
                tally,
                lane,
            });
        }
        self.follow(&old, last_id);
        let mut settings = self.list.iter().map(|r| &r.settings);
        self.want_tags = settings.clone().any(|s| !s.tags.is_empty());
        self.hold_departures = settings.clone().any(|s| !s.hold.is_zero());
        self.want_sync = settings.any(|s| s.on.contains(&EventFilter::Sync));
        (old, changed)
    }

    /// Lets handlers with numbers above `last_id` inherit from removed ones: edited and equally named
    /// handlers take over `since` and the pause, and the latter the statistics.
    fn follow(&mut self, gone: &[Registered], last_id: u64) {
        let paused = gone.iter().filter(|r| r.is_paused);
        self.paused_gone
            .extend(paused.map(|r| (r.name.clone(), r.since)));
        let mut passed_on = Vec::new();
        for new in self.list.iter_mut().filter(|r| r.id > last_id) {
            for old in gone {
                let is_named = old.name == new.name;
                if is_named {
                    new.tally = old.tally;
                }
                if is_named || new.succeeds(old.key, &old.text()) {
                    new.since = new.since.min(old.since);
                    if old.is_paused {
                        new.is_paused = true;
                        passed_on.push(&old.name);
                    }
                }
            }
            if let Some(since) = self.paused_gone.remove(&new.name) {
                new.is_paused = true;
                new.since = new.since.min(since);
            }
        }
        for name in passed_on {
            self.paused_gone.remove(name);
        }
    }

    /// Returns the key for a handler; a second one with the same text gets another key.
    fn free_key(&self, settings: &HandlerSettings) -> HandlerKey {
        if let Some(name) = &settings.name {
            return event_hash(b"name", name.as_bytes());
        }
        let text = settings.action.text();
        let is_twin = |r: &&Registered| {
            let other = &r.settings;
            other.name.is_none() && other.on == settings.on && other.action.text() == text
        };
        let twins = self.list.iter().filter(is_twin).count();
        let mut filter = settings.filter();
        if twins > 0 {
            filter.extend_from_slice(format!("#{twins}").as_bytes());
        }
        event_hash(&filter, &text)
    }

    /// Returns the highest number given to a handler so far.
    pub(super) fn last_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn has_key(&self, key: HandlerKey) -> bool {
        self.list.iter().any(|r| r.key == key)
    }

    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|r| r.name == name)
    }

    /// Returns the name of the handler with that number; empty if it was removed.
    pub(super) fn name_of(&self, id: u64) -> &str {
        let found = self.list.iter().find(|r| r.id == id);
        found.map_or("", |r| r.name.as_str())
    }

    pub(super) fn is_once(&self, id: u64) -> bool {
        self.list.iter().any(|r| r.id == id && r.is_once())
    }

    /// Pauses or resumes the handler of that name. Returns whether there is one, or was one when it was
    /// paused.
    pub(super) fn set_paused(&mut self, name: &str, is_paused: bool) -> bool {
        self.lanes.take();
        match self.list.iter_mut().find(|r| r.name == name) {
            Some(named) => {
                named.is_paused = is_paused;
                true
            }
            None => !is_paused && self.paused_gone.remove(name).is_some(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&Registered> {
        self.list.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Registered> {
        self.lanes.take();
        self.list.get_mut(index)
    }

    /// Removes the events for which `is_kept` returns false from all lanes, and returns them.
    pub(super) fn retain_in_lanes(&mut self, is_kept: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.lanes.take();
        let lanes = self.list.iter_mut();
        lanes.flat_map(|r| r.lane.retain(&is_kept)).collect()
    }

    /// Returns the summary of the lanes; recomputes it only if a lane may have changed.
    pub(super) fn lanes(&self) -> Lanes {
        let known = self.lanes.get();
        debug_assert!(known.is_none_or(|known| known == self.look_at_lanes()));
        let lanes = known.unwrap_or_else(|| self.look_at_lanes());
        self.lanes.set(Some(lanes));
        lanes
    }

    fn look_at_lanes(&self) -> Lanes {
        let mut lanes = Lanes::default();
        for (index, registered) in self.list.iter().enumerate() {
            let lane = &registered.lane;
            if lane.is_idle() {
                continue;
            }
            lanes.bytes += lane.bytes();
            let position = lane.next_position().filter(|_| !registered.is_paused);
            let place = position.map(|position| (position, index));
            lanes.first = lanes.first.into_iter().chain(place).min();
            let timeout = registered.lane_timeout();
            lanes.timeout = lanes.timeout.into_iter().chain(timeout).min();
        }
        lanes
    }

    pub(super) fn list(&self) -> &[Registered] {
        &self.list
    }

    /// Returns the handlers that want the event.
    pub(super) fn matching<'a>(
        &'a self,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a Registered> + 'a {
        self.list.iter().filter(|r| r.wants(event))
    }

    /// Returns which queries some handler wants.
    pub(super) fn query_handlers(&self) -> QueryHandlers {
        let mut wanted = QueryHandlers::default();
        for filter in self.list.iter().flat_map(|r| &r.settings.on) {
            match filter {
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

    /// Counts a completed run of the handler with that number, if it still exists.
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

    /// Counts a dropped event, for one handler or, without `id`, for all that want it.
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
