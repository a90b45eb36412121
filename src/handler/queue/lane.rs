//! Queue of one handler for events that are merged, held back or retried for it.

use std::collections::VecDeque;

use super::hold::Hold;
use super::room::give_way;
use super::{Waiting, cost};
use crate::handler::HandlerSettings;
use crate::ordered::{OrderedMap, sort_by};
use crate::serf::{Event, Member, MemberEvent, UserEvent};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Limit for debouncing, as a multiple of the `settle` time.
const SETTLE_FACTOR: u32 = 10;

/// Retry delay of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Lasts this long from the next call of [`Lane::resume`].
    For(Duration),
    /// Ends at this time.
    Until(Instant),
}

/// A pending run with the current state of the cluster.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// Tickets to report when the run ends.
    pub(super) tickets: Vec<u64>,
    /// Number of the last attempt, if it asked for a retry.
    pub(super) attempts_ended: u32,
}

/// Events that wait for one handler.
#[derive(Debug, Default)]
pub(in crate::handler) struct Lane {
    /// Events that may run.
    pub(super) ready: VecDeque<Waiting>,
    /// Events that are being debounced.
    settling: VecDeque<Waiting>,
    /// Times of the first and the last event of the debounce window.
    window: Option<(Instant, Instant)>,
    /// Departures that are held back.
    pub(super) hold: Hold,
    /// Retry delay, if the handler has asked for a retry.
    pub(super) pause: Option<Pause>,
    /// Pending run with the current state of the cluster.
    pub(super) sync: Option<Sync>,
    /// Whether such a run becomes pending when the debounce window ends.
    sync_settles: bool,
    /// Number of the last member change that the last `sync` included.
    pub(super) synced: u64,
}

impl Lane {
    /// Adds an event. Returns the events that it supersedes. `is_full`: the queue is full, so member events
    /// are merged regardless of the settings.
    pub(super) fn accept(
        &mut self,
        event: Waiting,
        settings: &HandlerSettings,
        is_full: bool,
        now: Instant,
    ) -> Vec<Waiting> {
        if !settings.settle.is_zero() {
            let first = self.window.map_or(now, |(first, _)| first);
            self.window = Some((first, now));
        }
        if settings.gets_current_state() && matches!(event.event, Event::Member(_)) {
            match settings.settle.is_zero() {
                true => {
                    self.sync.get_or_insert_default();
                }
                false => self.sync_settles = true,
            }
            return vec![event];
        }
        let list = match settings.settle.is_zero() {
            true => &mut self.ready,
            false => &mut self.settling,
        };
        if settings.is_latest() || (is_full && matches!(event.event, Event::Member(_))) {
            return merge(list, event);
        }
        list.push_back(event);
        Vec::new()
    }

    /// Puts an event back that waits for a retry. Returns the events that were superseded.
    pub(super) fn put_back(&mut self, event: Waiting, settings: &HandlerSettings) -> Vec<Waiting> {
        if !settings.is_latest() {
            self.ready.push_front(event);
            return Vec::new();
        }
        let later = std::mem::replace(&mut self.ready, VecDeque::from([event]));
        later
            .into_iter()
            .flat_map(|event| merge(&mut self.ready, event))
            .collect()
    }

    /// Moves held and debounced events that are due to `ready`. Returns the events that were superseded.
    /// `is_ending`: ends debouncing at once.
    pub(super) fn release(
        &mut self,
        settings: &HandlerSettings,
        is_ending: bool,
        now: Instant,
    ) -> Vec<Waiting> {
        let mut superseded = Vec::new();
        while let Some((since, departure)) = self.hold.pop_due(now) {
            superseded.extend(self.accept(departure, settings, false, since));
        }
        let is_quiet = |end: Instant| is_ending || end <= now;
        if self.window_ends(settings).is_some_and(is_quiet) {
            self.window = None;
            if std::mem::take(&mut self.sync_settles) {
                self.sync.get_or_insert_default();
            }
            for event in std::mem::take(&mut self.settling) {
                match settings.is_latest() {
                    true => superseded.extend(merge(&mut self.ready, event)),
                    // A reload has turned merging off for this handler.
                    false => self.ready.push_back(event),
                }
            }
        }
        superseded
    }

    /// Advances the retry delay to `now`. Returns whether it has ended.
    pub(super) fn resume(&mut self, now: Instant) -> bool {
        let before = self.pause;
        self.pause = match self.pause {
            Some(Pause::For(time)) => Some(Pause::Until(now + time)),
            Some(Pause::Until(end)) if end <= now => None,
            other => other,
        };
        before.is_some() && self.pause.is_none()
    }

    fn window_ends(&self, settings: &HandlerSettings) -> Option<Instant> {
        let (first, last) = self.window?;
        let settle = settings.settle;
        Some((last + settle).min(first + settle.saturating_mul(SETTLE_FACTOR)))
    }

    /// Returns when [`Self::release`] or [`Self::resume`] must be called next.
    pub(in crate::handler) fn poll_timeout(&self, settings: &HandlerSettings) -> Option<Instant> {
        let pause = match self.pause {
            Some(Pause::Until(end)) => Some(end),
            Some(Pause::For(_)) => Some(Instant::ORIGIN),
            None => None,
        };
        let deadlines = [self.hold.poll_timeout(), self.window_ends(settings), pause];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the position of the lane's next runnable event in the order of all events; 0 for a `sync`,
    /// which precedes all.
    pub(in crate::handler) fn next_position(&self) -> Option<u64> {
        match (&self.sync, &self.pause) {
            (_, Some(_)) => None,
            (Some(_), None) => Some(0),
            (None, None) => self.ready.front().map(|event| event.position),
        }
    }

    /// Returns whether the lane is empty and has no timer.
    pub(in crate::handler) fn is_idle(&self) -> bool {
        let is_empty = self.ready.is_empty() && self.settling.is_empty() && self.hold.is_empty();
        is_empty && self.window.is_none() && self.pause.is_none() && self.sync.is_none()
    }

    /// Returns all events in the lane.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.ready
            .iter()
            .chain(&self.settling)
            .chain(self.hold.iter())
    }

    /// Returns the events that are being debounced.
    pub(super) fn settling(&self) -> impl Iterator<Item = &Waiting> {
        self.settling.iter()
    }

    pub(in crate::handler) fn bytes(&self) -> usize {
        self.iter().map(|event| event.cost).sum()
    }

    /// Returns whether a user event with that name is waiting, which a newer one would supersede.
    pub(super) fn has_user_event(&self, name: &[u8]) -> bool {
        self.iter()
            .any(|w| user_event(w).is_some_and(|event| event.name == *name))
    }

    /// Removes and returns the events for which `is_kept` returns false.
    pub(in crate::handler) fn retain(
        &mut self,
        mut is_kept: impl FnMut(&Waiting) -> bool,
    ) -> Vec<Waiting> {
        let mut gone = Vec::new();
        for list in [&mut self.ready, &mut self.settling] {
            for event in std::mem::take(list) {
                match is_kept(&event) {
                    true => list.push_back(event),
                    false => gone.push(event),
                }
            }
        }
        gone
    }

    /// Removes member events: the handler is about to get the current state instead.
    pub(super) fn drop_members(&mut self, now: Instant) -> Vec<Waiting> {
        let mut gone = self.retain(|w| !matches!(w.event, Event::Member(_)));
        gone.extend(self.hold.clear(now));
        self.sync_settles = false;
        if self.settling.is_empty() {
            self.window = None;
        }
        gone
    }

    /// Removes and returns all events.
    pub(super) fn clear(&mut self, now: Instant) -> Vec<Waiting> {
        let mut gone = self.retain(|_| false);
        gone.extend(self.hold.clear(now));
        self.window = None;
        self.sync_settles = false;
        gone
    }
}

fn user_event(waiting: &Waiting) -> Option<&UserEvent> {
    match &waiting.event {
        Event::User(event) => Some(event),
        _ => None,
    }
}

/// Appends an event and removes what it supersedes: older changes of the same nodes, or the older user event
/// with the same name. Returns the superseded events.
fn merge(list: &mut VecDeque<Waiting>, event: Waiting) -> Vec<Waiting> {
    match &event.event {
        Event::Member(_) => merge_members(list, event),
        Event::User(user) => {
            let (name, ltime) = (&user.name, user.ltime);
            let same = list
                .iter()
                .position(|w| user_event(w).is_some_and(|u| u.name == *name));
            let Some((at, same)) = same.and_then(|at| Some((at, list.remove(at)?))) else {
                list.push_back(event);
                return Vec::new();
            };
            // An event that is read back from disk may be older than one already in the list.
            let is_late = user_event(&same).is_some_and(|same| same.ltime > ltime);
            let (at, mut newer, mut older) = match is_late {
                true => (at, same, event),
                false => (list.len(), event, same),
            };
            let tickets = std::mem::take(&mut older.progress_mut().tickets);
            newer.progress_mut().tickets.extend(tickets);
            list.insert(at, newer);
            vec![older]
        }
        Event::Query(_) => {
            list.push_back(event);
            Vec::new()
        }
    }
}

fn merge_members(list: &mut VecDeque<Waiting>, mut event: Waiting) -> Vec<Waiting> {
    let Event::Member(MemberEvent { kind, members }) = &mut event.event else {
        return Vec::new();
    };
    let kind = *kind;
    let named = std::mem::take(members).into_iter();
    let named = named.map(|m| (m.name.clone(), Some(m)));
    let mut changes: OrderedMap<NodeName, Option<Member>> = named.collect();
    let mut refreshed = None;
    for (at, older) in list.iter_mut().enumerate().rev() {
        if let Event::Member(older) = &mut older.event {
            let before = changes.values().flatten().count();
            give_way(older, kind, &mut changes);
            if changes.values().flatten().count() < before {
                refreshed = Some(at);
            }
        }
    }
    let mut members: Vec<Member> = changes.into_values().flatten().collect();
    let is_same = |w: &Waiting| matches!(&w.event, Event::Member(older) if older.kind == kind);
    let same = list
        .iter()
        .position(is_same)
        .filter(|_| !members.is_empty());
    match same.or(refreshed) {
        Some(at) => {
            if let Some(older) = list.get_mut(at) {
                if let Event::Member(older) = &mut older.event {
                    older.members.append(&mut members);
                    sort_by(&mut older.members, |a, b| a.name.cmp(&b.name));
                }
                (older.id, older.taken_micros) = (event.id.clone(), event.taken_micros);
                older.absorb(event);
            }
        }
        None => {
            event.event = Event::Member(MemberEvent { kind, members });
            list.push_back(event);
        }
    }
    let mut emptied = Vec::new();
    for mut event in std::mem::take(list) {
        match &event.event {
            Event::Member(members) if members.members.is_empty() => emptied.push(event),
            _ => {
                event.cost = cost(&event.event);
                list.push_back(event);
            }
        }
    }
    emptied
}
