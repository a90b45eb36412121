//! Moves events into the lanes of handlers that merge, hold or retry, and out of them.

use super::hold::Piece;
use super::holders::Step;
use super::lane::{Pause, Sync};
use super::run::is_too_old;
use super::select::picked;
use super::{Current, HandlerQueue, Run, Waiting, note_handled};
use crate::handler::Described;
use crate::handler::journal::{HandlerKey, RECORDED_MEMBERS_MAX};
use crate::handler::moment::Moment;
use crate::handler::outcome::Shown;
use crate::handler::registered::Registered;
use crate::handler::settings::RETRY_WAIT_MAX;
use crate::serf::{Event, MemberEvent, MemberEventKind};
use crate::time::Instant;

impl Registered {
    /// Returns whether the handler must see all member events, because it has a hold time.
    pub(super) fn watches(&self, event: &Event) -> bool {
        matches!(event, Event::Member(_)) && !self.settings.hold.is_zero()
    }

    /// Returns whether the handler's filters match the event or it must see the event for its hold time.
    pub(super) fn asks_for(&self, event: &Event) -> bool {
        self.wants(event) || self.watches(event)
    }

    /// Returns whether its lane takes a copy of an event that is due to this handler.
    fn takes(&self, waiting: &Waiting) -> bool {
        let progress = waiting.progress();
        let is_chosen = progress.is_recovered && matches!(waiting.event, Event::Member(_));
        let is_merged = self.settings.is_latest() && !matches!(waiting.event, Event::Query(_));
        let is_repeated = progress.attempts_ended(self.key) > 0;
        is_chosen || is_merged || is_repeated || self.watches(&waiting.event)
    }
}

impl HandlerQueue {
    /// Gives each lane that takes the event a copy, or the members that its handler wants. `is_turn`: the
    /// event has left the FIFO.
    pub(super) fn enlist(&mut self, waiting: &mut Waiting, at: Moment, is_turn: bool) {
        // Most handlers need no lane, so their filters need not be evaluated.
        if !self.handlers.list().iter().any(|r| r.takes(waiting)) {
            return;
        }
        let recipients = self.recipients(waiting).present.into_iter();
        let lanes = recipients.filter(|r| r.registered.takes(waiting));
        let lanes: Vec<_> = lanes
            .map(|r| (r.index, r.registered.key, r.replaces))
            .collect();
        if lanes.is_empty() {
            return;
        }
        let is_full = !self.has_room(waiting.cost);
        for (index, key, replaces) in lanes {
            let is_whole = waiting.progress().attempts_ended(key) > 0;
            let members = match &waiting.event {
                Event::Member(event) if !is_whole => Some(event.clone()),
                _ => None,
            };
            match members {
                Some(event) => {
                    waiting.progress_mut().taken.push(key);
                    self.enlist_members(index, waiting, &event, at, is_full);
                }
                None => self.enlist_whole(index, replaces, waiting, at, is_turn, is_full),
            }
        }
    }

    /// Puts a user event, or any event that waits for a retry, into a lane.
    fn enlist_whole(
        &mut self,
        index: usize,
        lane_replaces: Vec<HandlerKey>,
        waiting: &mut Waiting,
        at: Moment,
        is_turn: bool,
        is_full: bool,
    ) {
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        let (id, key, settings) = (registered.id, registered.key, registered.settings.clone());
        let replaces = match &waiting.event {
            Event::User(event) => registered.lane.has_user_event(&event.name),
            _ => true,
        };
        let attempts_ended = waiting.progress().attempts_ended(key);
        let is_recorded = waiting.recorded.contains(&key) || !lane_replaces.is_empty();
        let number = waiting.number.filter(|_| is_recorded);
        if is_full && !replaces && attempts_ended == 0 {
            // A recorded event in the FIFO can be offered again later.
            if is_turn || number.is_none() {
                waiting.progress_mut().taken.push(key);
                self.counters.dropped_user_events += 1;
                self.handlers.count_drop(&waiting.event, Some(id));
                self.note_drop(&waiting.event, at.now);
            }
            return;
        }
        let mut copy = waiting.for_one(waiting.event.clone());
        copy.number = number;
        let begun = waiting
            .progress()
            .begun
            .filter(|begun| begun.handler == key);
        if attempts_ended > 0 || begun.is_some() {
            let progress = copy.progress_mut();
            progress.begun = begun;
            progress.postponed = vec![(key, attempts_ended)];
        }
        let taken = &mut waiting.progress_mut().taken;
        taken.push(key);
        if !lane_replaces.is_empty() {
            taken.extend_from_slice(&lane_replaces);
            copy.progress_mut().replaces = lane_replaces;
        }
        if let Some(number) = number {
            self.holders.add_lane(number, key);
        }
        let superseded = match (attempts_ended, settings.retry) {
            (1.., Some(retry)) => {
                registered.lane.pause = Some(Pause::For(retry.wait_after(attempts_ended)));
                registered.lane.put_back(copy, &settings)
            }
            _ => registered.lane.accept(copy, &settings, is_full, at.now),
        };
        self.lanes_are_through(superseded, key);
    }

    fn enlist_members(
        &mut self,
        index: usize,
        waiting: &Waiting,
        event: &MemberEvent,
        at: Moment,
        is_full: bool,
    ) {
        let is_ending = self.is_ending;
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        let (key, settings) = (registered.key, registered.settings.clone());
        // Held departures that are due precede the new event.
        let superseded = registered.lane.release(&settings, is_ending, at.now);
        self.lanes_are_through(superseded, key);
        let is_recovered = waiting.progress().is_recovered;
        let hold = settings.hold;
        let departed = &self.departed;
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        let synced = registered.lane.synced;
        let (pieces, cancelled) = match hold.is_zero() {
            true => (vec![whole(event)], Vec::new()),
            false => registered.lane.hold.follow(event, at.now, |name| {
                // A member that the last `sync` did not list is already gone.
                if waiting.progress().is_known(name, synced) {
                    return at.now;
                }
                let since = departed.get(name).copied().filter(|_| !is_recovered);
                since.unwrap_or(at.now) + hold
            }),
        };
        let mut number = waiting.number.filter(|_| is_recovered);
        if let Some(number) = number {
            self.holders.add_lane(number, key);
        }
        for piece in pieces {
            self.enlist_piece(index, waiting, piece, &mut number, at, is_full);
        }
        if let Some(number) = number {
            self.lane_is_through(number, key, &[]);
        }
        self.lanes_are_through(cancelled, key);
    }

    /// Puts some of an event's members into a lane. The first piece that the handler wants gets the number.
    fn enlist_piece(
        &mut self,
        index: usize,
        waiting: &Waiting,
        piece: Piece,
        number: &mut Option<u64>,
        at: Moment,
        is_full: bool,
    ) {
        let Some(registered) = self.handlers.get(index) else {
            return;
        };
        let (key, settings) = (registered.key, registered.settings.clone());
        let progress = waiting.progress();
        let before = [&progress.before[..], &piece.before[..]].concat();
        let mut members = match progress.is_recovered {
            true => piece.members,
            false => picked(&settings, &piece.members, &before),
        };
        members.retain(|member| !progress.is_known(&member.name, registered.lane.synced));
        let is_empty = members.is_empty();
        let kind = piece.kind;
        let part = Event::Member(MemberEvent { kind, members });
        if is_empty || !(progress.is_recovered || registered.wants(&part)) {
            return;
        }
        let mut copy = waiting.for_one(part);
        copy.number = number.take();
        let waits = piece.until.is_some() || !settings.settle.is_zero();
        // Handlers with `sync` get the current state after a restart, so nothing needs to be recorded.
        if copy.number.is_none() && waits && !settings.gets_current_state() {
            self.record_members(index, &mut copy);
        }
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        let superseded = match piece.until {
            Some(until) => {
                registered.lane.hold.put(until, copy);
                Vec::new()
            }
            None => registered.lane.accept(copy, &settings, is_full, at.now),
        };
        self.lanes_are_through(superseded, key);
    }

    /// Records member events that are held back for a handler.
    pub(super) fn record_members(&mut self, index: usize, copy: &mut Waiting) {
        let (Some(registered), Some(journal)) = (self.handlers.get(index), &mut self.journal)
        else {
            return;
        };
        let Event::Member(event) = &copy.event else {
            return;
        };
        if !registered.is_durable() {
            return;
        }
        let key = registered.key;
        journal.describe(key, &registered.text());
        let mut numbers = Vec::new();
        for members in event.members.chunks(RECORDED_MEMBERS_MAX) {
            let part = Event::Member(MemberEvent {
                kind: event.kind,
                members: members.to_vec(),
            });
            numbers.extend(journal.take(&part, copy.taken_micros, false, vec![key]));
        }
        for number in &numbers {
            // The FIFO has no copy of it.
            self.holders.add_lane(*number, key);
            self.holders.fifo_finished(*number);
        }
        copy.number = numbers.pop();
        if !numbers.is_empty() {
            copy.progress_mut().merged = numbers;
        }
    }

    /// Notes that a lane has finished with a recorded event.
    pub(super) fn lane_is_through(
        &mut self,
        number: u64,
        key: HandlerKey,
        replaces: &[HandlerKey],
    ) {
        let step = self.holders.lane_finished(number, key);
        match (step, &mut self.journal) {
            (Step::Done, Some(journal)) => {
                journal.done(number, key);
                replaces.iter().for_each(|key| journal.done(number, *key));
            }
            (Step::Finished, Some(journal)) => journal.finished(number),
            _ => {}
        }
    }

    /// Notes that a lane has finished with these events and all merged into them. Queries among them get
    /// no more answers.
    pub(super) fn lanes_are_through(&mut self, events: Vec<Waiting>, key: HandlerKey) {
        for event in events {
            for number in event.numbers().collect::<Vec<_>>() {
                self.lane_is_through(number, key, &event.progress().replaces);
            }
            self.query_ends(&event.event);
            self.give_up_tickets(event.progress().tickets.clone());
        }
    }

    /// Notes that one holder of an event will not run for it any more. If it is a query and this was the
    /// last holder, no answer will come.
    pub(super) fn query_ends(&mut self, event: &Event) {
        let Event::Query(query) = event else {
            return;
        };
        let is_it = |w: &Waiting| matches!(&w.event, Event::Query(q) if (q.ltime, q.id) == (query.ltime, query.id));
        let mut lanes = self.handlers.list().iter().flat_map(|r| r.lane.iter());
        let mut under_way = self.current.iter().chain(&self.suspended);
        if !lanes.any(is_it) && !under_way.any(|c| !c.waiting.is_synthetic() && is_it(&c.waiting)) {
            note_handled(&mut self.handled_queries, event);
        }
    }

    /// Advances all lanes to the present.
    pub(super) fn advance_lanes(&mut self, at: Moment) {
        let is_ending = self.is_ending;
        let is_due = |timeout: Option<Instant>| is_ending || timeout.is_some_and(|t| t <= at.now);
        if !is_due(self.handlers.lanes().timeout) {
            return;
        }
        let mut resumed = false;
        for index in 0..self.handlers.list().len() {
            let Some(registered) = self.handlers.get_mut(index) else {
                return;
            };
            if !is_due(registered.lane_timeout()) {
                continue;
            }
            let settings = registered.settings.clone();
            let mut superseded = registered.lane.release(&settings, is_ending, at.now);
            resumed |= registered.lane.resume(at.now);
            if let Some(Pause::Until(end)) = registered.lane.pause {
                // Queries whose deadline passes during the delay are dropped.
                let is_late =
                    |w: &Waiting| matches!(&w.event, Event::Query(q) if q.deadline <= end);
                superseded.extend(registered.lane.retain(|waiting| !is_late(waiting)));
            }
            let key = registered.key;
            if !superseded.is_empty() {
                self.lanes_are_through(superseded, key);
            }
        }
        if resumed {
            self.unpark();
        }
    }

    /// Returns the handler whose lane has an event that precedes this position in the FIFO, if any.
    pub(super) fn next_lane(&self, before: (u64, usize)) -> Option<usize> {
        let first = self.handlers.lanes().first?;
        (first < before).then_some(first.1)
    }

    /// Starts to process the next event of a handler's lane.
    pub(super) fn begin_lane(&mut self, index: usize, at: Moment) {
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        let key = registered.key;
        if let Some(sync) = registered.lane.sync.take() {
            let waiting = self.sync_event(index, sync, at);
            return self.set_current(index, waiting, at);
        }
        let Some(waiting) = registered.lane.ready.pop_front() else {
            return;
        };
        if is_too_old(&registered.settings, &waiting, at) {
            let id = registered.id;
            self.expire(&waiting, id);
            return self.lanes_are_through(vec![waiting], key);
        }
        if matches!(&waiting.event, Event::Query(query) if query.deadline <= at.now) {
            return self.lanes_are_through(vec![waiting], key);
        }
        self.set_current(index, waiting, at);
    }

    pub(super) fn set_current(&mut self, index: usize, waiting: Waiting, at: Moment) {
        let Some(registered) = self.handlers.get(index) else {
            return;
        };
        let key = registered.key;
        let run = match Run::next(registered, index, &waiting) {
            Ok(run) => run,
            Err(attempt) => {
                let text = registered.text();
                self.give_up(&waiting, &text, attempt);
                return self.lanes_are_through(vec![waiting], key);
            }
        };
        self.storm.watch(&waiting.event, &run.script, at.now);
        self.suspended = self.current.take();
        self.current = Some(Current {
            lane: Some(key),
            ..Current::new(waiting, [run].into())
        });
    }

    /// Creates the event for a `sync` run; its members are filled in when the run begins.
    fn sync_event(&mut self, index: usize, sync: Sync, at: Moment) -> Waiting {
        let event = Event::Member(MemberEvent {
            kind: MemberEventKind::Sync,
            members: Vec::new(),
        });
        let mut waiting = self.arrived(event, at.unix_micros, at);
        waiting.position = 0;
        let Some(registered) = self.handlers.get_mut(index) else {
            return waiting;
        };
        let key = registered.key;
        let progress = waiting.progress_mut();
        progress.tickets = sync.tickets;
        progress.postponed = vec![(key, sync.attempts_ended)];
        registered.lane.synced = self.changes.sync();
        let gone = registered.lane.drop_members(at.now);
        self.lanes_are_through(gone, key);
        self.pass_members_over(key);
        waiting
    }

    /// Puts the event of a run that asked for a retry (back) into the handler's lane.
    pub(super) fn run_later(&mut self, run: &Run, wait: std::time::Duration) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let index = self.handlers.list().iter().position(|r| r.id == run.id);
        let is_sync =
            matches!(&current.waiting.event, Event::Member(e) if e.kind == MemberEventKind::Sync);
        let mut event = match current.lane {
            Some(_) => current.waiting,
            None => {
                let event = run.event.as_deref().unwrap_or(&current.waiting.event);
                let mut copy = current.waiting.for_one(event.clone());
                let is_recorded =
                    !run.replaces.is_empty() || current.waiting.recorded.contains(&run.key);
                copy.number = current.waiting.number.filter(|_| is_recorded);
                if let Some(number) = copy.number {
                    self.holders.add_lane(number, run.key);
                }
                copy.progress_mut().replaces.clone_from(&run.replaces);
                current.waiting.progress_mut().taken.extend(run.keys());
                self.current = Some(current);
                copy
            }
        };
        let progress = event.progress_mut();
        progress.begun = None;
        progress.postponed = vec![(run.key, run.attempt)];
        let Some(index) = index else {
            return self.lanes_are_through(vec![event], run.key);
        };
        if event.number.is_none() && !is_sync {
            self.record_members(index, &mut event);
        }
        for number in event.numbers() {
            if let Some(journal) = &mut self.journal {
                journal.postponed(number, run.key, run.attempt);
            }
        }
        let Some(registered) = self.handlers.get_mut(index) else {
            return;
        };
        log::info!(
            target: "agent",
            "Repeating script '{}' for '{}' ({}) in {wait:?}: temporary failure",
            Shown(&run.script),
            Described(&event.event),
            event.id
        );
        registered.lane.pause = Some(Pause::For(wait));
        if is_sync {
            let sync = registered.lane.sync.get_or_insert_default();
            sync.attempts_ended = run.attempt;
            sync.tickets.append(&mut event.progress_mut().tickets);
            return;
        }
        let settings = registered.settings.clone();
        let superseded = registered.lane.put_back(event, &settings);
        self.lanes_are_through(superseded, run.key);
    }

    /// Returns when [`Self::poll_invocation`] may return something new because time has passed; `None` while
    /// a run is active.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_running() || !self.awaited.is_empty() {
            return None;
        }
        self.handlers.lanes().timeout
    }
}

impl crate::handler::settings::Retry {
    /// Returns the delay after `runs` attempts.
    pub(super) fn wait_after(&self, runs: u32) -> std::time::Duration {
        let factor = 1u32.checked_shl(runs.saturating_sub(1)).unwrap_or(u32::MAX);
        self.wait.saturating_mul(factor).min(RETRY_WAIT_MAX)
    }
}

fn whole(event: &MemberEvent) -> Piece {
    Piece {
        kind: event.kind,
        members: event.members.clone(),
        before: Vec::new(),
        until: None,
    }
}
