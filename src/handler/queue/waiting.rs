//! An event in the queue, and its progress.

use std::sync::Arc;

use super::cost;
use crate::handler::journal::{BegunRun, HandlerKey, RecordedProgress};
use crate::ordered::OrderedMap;
use crate::serf::{Event, Tags};
use crate::wire::NodeName;

/// An event that waits.
#[derive(Debug)]
pub(in crate::handler) struct Waiting {
    pub(super) event: Event,
    pub(super) id: Arc<str>,
    /// When this node received the event, in microseconds since 1970.
    pub(super) taken_micros: u64,
    pub(super) cost: usize,
    /// Whether a handler without a copy in its lane must run for it.
    pub(super) wanted: bool,
    /// Order of arrival.
    pub(super) position: u64,
    /// Its number in the journal, if it is recorded.
    pub(super) number: Option<u64>,
    /// The handlers that it was recorded for.
    pub(super) recorded: Box<[HandlerKey]>,
    /// Its progress; `None` for most events.
    progress: Option<Box<Progress>>,
}

/// Progress of an event.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Handlers that have finished with it.
    pub(super) done: Vec<HandlerKey>,
    /// Handlers whose lanes have a copy.
    pub(super) taken: Vec<HandlerKey>,
    /// If not 0, handlers with higher numbers were added after others had it, and do not get it.
    pub(super) newest_id: u64,
    /// If not 0, the highest handler number when the event was first processed and parked.
    pub(super) met_id: u64,
    /// The run that had begun when the agent ended.
    pub(super) begun: Option<BegunRun>,
    /// Handlers that asked for a retry, with the number of their last attempt.
    pub(super) postponed: Vec<(HandlerKey, u32)>,
    /// Members' tags before this update.
    pub(super) before: Vec<(NodeName, Tags)>,
    /// Members whose change some `sync` has included, with the number of the change.
    pub(super) known: Option<Box<OrderedMap<NodeName, u64>>>,
    /// Missing handlers that finish with the event when the handler of this lane does.
    pub(super) replaces: Vec<HandlerKey>,
    /// Journal numbers of events that were merged into it.
    pub(super) merged: Vec<u64>,
    /// Tickets to report when the run ends.
    pub(super) tickets: Vec<u64>,
    /// If not 0, the event is synthetic, for the handler with this number.
    pub(super) requested_for: u64,
    /// Whether handlers and members were selected before a restart.
    pub(super) is_recovered: bool,
}

static NO_PROGRESS: Progress = Progress {
    done: Vec::new(),
    taken: Vec::new(),
    newest_id: 0,
    met_id: 0,
    begun: None,
    postponed: Vec::new(),
    before: Vec::new(),
    known: None,
    replaces: Vec::new(),
    merged: Vec::new(),
    tickets: Vec::new(),
    requested_for: 0,
    is_recovered: false,
};

impl Waiting {
    pub(super) fn new(event: Event, id: Arc<str>, taken_micros: u64, position: u64) -> Self {
        Waiting {
            cost: cost(&event),
            event,
            id,
            taken_micros,
            wanted: true,
            position,
            number: None,
            recorded: Box::default(),
            progress: None,
        }
    }

    /// Copies the event's metadata for one handler; `event` is the part that it gets.
    pub(super) fn for_one(&self, event: Event) -> Self {
        Waiting::new(
            event,
            Arc::clone(&self.id),
            self.taken_micros,
            self.position,
        )
    }

    pub(super) fn progress(&self) -> &Progress {
        self.progress.as_deref().unwrap_or(&NO_PROGRESS)
    }

    /// Returns whether the event is synthetic.
    pub(super) fn is_synthetic(&self) -> bool {
        self.progress().requested_for > 0
    }

    pub(super) fn progress_mut(&mut self) -> &mut Progress {
        self.progress.get_or_insert_default()
    }

    /// Changes the progress, if there is any.
    pub(super) fn with_progress(&mut self, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &mut self.progress {
            change(progress);
        }
    }

    pub(super) fn take_progress(&mut self) -> Option<Box<Progress>> {
        self.progress.take()
    }

    pub(super) fn set_progress(&mut self, progress: Option<Box<Progress>>) {
        self.progress = progress;
    }

    /// Returns its own number in the journal and those of events merged into it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.number
            .into_iter()
            .chain(self.progress().merged.iter().copied())
    }

    /// Takes over the numbers and tickets of an event that this one supersedes.
    pub(super) fn absorb(&mut self, mut other: Waiting) {
        let merged: Vec<u64> = other.numbers().collect();
        let tickets = std::mem::take(&mut other.progress_mut().tickets);
        if merged.is_empty() && tickets.is_empty() {
            return;
        }
        let progress = self.progress_mut();
        progress.merged.extend(merged);
        progress.tickets.extend(tickets);
    }
}

impl From<RecordedProgress> for Progress {
    fn from(recorded: RecordedProgress) -> Self {
        Progress {
            done: recorded.done,
            begun: recorded.begun,
            postponed: recorded.postponed,
            ..Progress::default()
        }
    }
}

impl Progress {
    /// Returns the number of the handler's last attempt that asked for a retry; 0 if there was none.
    pub(super) fn attempts_ended(&self, key: HandlerKey) -> u32 {
        let found = self.postponed.iter().find(|(other, _)| *other == key);
        found.map_or(0, |(_, attempt)| *attempt)
    }

    /// Returns whether it says only which lanes have taken the event, and which handlers are excluded.
    pub(super) fn is_only_taken(&self) -> bool {
        let Progress {
            taken,
            newest_id: _,
            met_id: 0,
            done,
            begun: None,
            postponed,
            before,
            known: None,
            replaces,
            merged,
            tickets,
            requested_for: 0,
            is_recovered: false,
        } = self
        else {
            return false;
        };
        let is_untouched = done.is_empty() && postponed.is_empty() && tickets.is_empty();
        let is_alone = before.is_empty() && replaces.is_empty() && merged.is_empty();
        !taken.is_empty() && is_untouched && is_alone
    }

    /// Excludes handlers with numbers above `newest_id`, if the lane of handler `key` has taken the event.
    pub(super) fn close(&mut self, key: HandlerKey, newest_id: u64) {
        if self.taken.contains(&key) {
            self.newest_id = newest_id;
        }
    }

    /// Returns whether the handler has finished with the event or has a copy in its lane.
    pub(super) fn is_through(&self, key: HandlerKey) -> bool {
        self.done.contains(&key) || self.taken.contains(&key)
    }
}
