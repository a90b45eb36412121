//! An event in the queue, and how far it has come.

use std::sync::Arc;

use super::cost;
use crate::handler::journal::{BegunRun, HandlerKey, Progress};
use crate::ordered::OrderedMap;
use crate::serf::{Event, Tags};
use crate::wire::NodeName;

/// An event that waits.
#[derive(Debug)]
pub(in crate::handler) struct Waiting {
    pub(super) event: Event,
    pub(super) id: Arc<str>,
    /// When it came, in microseconds since 1970.
    pub(super) taken_micros: u64,
    pub(super) cost: usize,
    /// Some handler is to be run for it that has not taken it into its lane.
    pub(super) wanted: bool,
    /// Rises with each event that comes.
    pub(super) position: u64,
    /// In the journal.
    pub(super) number: Option<u64>,
    /// The handlers that the journal says it is for.
    pub(super) recorded: Box<[HandlerKey]>,
    /// What is to be known besides; of most events nothing.
    course: Option<Box<Course>>,
}

/// How far an event has come.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Handlers that are done with it.
    pub(super) done: Vec<HandlerKey>,
    /// Handlers whose lanes have a copy.
    pub(super) taken: Vec<HandlerKey>,
    /// If not 0, the highest number of a handler that was there when others had it already: handlers that
    /// come later do not get it.
    pub(super) newest_id: u64,
    /// If not 0, the highest number of a handler that was there when its turn came and it was put aside.
    pub(super) met_id: u64,
    /// The run that had begun when the agent ended.
    pub(super) begun: Option<BegunRun>,
    /// Handlers that have asked for another run, and the number of the last one.
    pub(super) postponed: Vec<(HandlerKey, u32)>,
    /// The tags that members had before this update.
    pub(super) before: Vec<(NodeName, Tags)>,
    /// Members whose changes some handler knows from a sync, and the changes.
    pub(super) known: Option<Box<OrderedMap<NodeName, u64>>>,
    /// Missing handlers that are done with it when the one whose lane it is in is.
    pub(super) replaces: Vec<HandlerKey>,
    /// Numbers in the journal of events that were merged into it.
    pub(super) merged: Vec<u64>,
    /// Who waits for the end of the run.
    pub(super) tickets: Vec<u64>,
    /// If not 0, it did not happen: somebody has asked for a run of the handler with this number.
    pub(super) asked_for: u64,
    /// An earlier life has chosen the handlers, and the members for them.
    pub(super) is_recovered: bool,
}

static NOTHING: Course = Course {
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
    asked_for: 0,
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
            course: None,
        }
    }

    /// The same for one handler alone, with what it is handed of the event.
    pub(super) fn for_one(&self, event: Event) -> Self {
        Waiting::new(
            event,
            Arc::clone(&self.id),
            self.taken_micros,
            self.position,
        )
    }

    pub(super) fn course(&self) -> &Course {
        self.course.as_deref().unwrap_or(&NOTHING)
    }

    /// Whether somebody has made it up.
    pub(super) fn is_asked(&self) -> bool {
        self.course().asked_for > 0
    }

    pub(super) fn course_mut(&mut self) -> &mut Course {
        self.course.get_or_insert_default()
    }

    /// Changes the course, if there is one.
    pub(super) fn with_course(&mut self, change: impl FnOnce(&mut Course)) {
        if let Some(course) = &mut self.course {
            change(course);
        }
    }

    pub(super) fn take_course(&mut self) -> Option<Box<Course>> {
        self.course.take()
    }

    pub(super) fn set_course(&mut self, course: Option<Box<Course>>) {
        self.course = course;
    }

    /// Its own number and those that were merged into it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.number
            .into_iter()
            .chain(self.course().merged.iter().copied())
    }

    /// Takes over what was known of an event that this one stands for now.
    pub(super) fn absorb(&mut self, mut other: Waiting) {
        let merged: Vec<u64> = other.numbers().collect();
        let tickets = std::mem::take(&mut other.course_mut().tickets);
        if merged.is_empty() && tickets.is_empty() {
            return;
        }
        let course = self.course_mut();
        course.merged.extend(merged);
        course.tickets.extend(tickets);
    }
}

impl From<Progress> for Course {
    fn from(progress: Progress) -> Self {
        Course {
            done: progress.done,
            begun: progress.begun,
            postponed: progress.postponed,
            ..Course::default()
        }
    }
}

impl Course {
    /// The number of the last run that has ended and asked for another one.
    pub(super) fn attempts_ended(&self, key: HandlerKey) -> u32 {
        let found = self.postponed.iter().find(|(other, _)| *other == key);
        found.map_or(0, |(_, attempt)| *attempt)
    }

    /// Whether it tells nothing but whose lanes have a copy, and to whom it is closed.
    pub(super) fn is_only_taken(&self) -> bool {
        let Course {
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
            asked_for: 0,
            is_recovered: false,
        } = self
        else {
            return false;
        };
        let is_untouched = done.is_empty() && postponed.is_empty() && tickets.is_empty();
        let is_alone = before.is_empty() && replaces.is_empty() && merged.is_empty();
        !taken.is_empty() && is_untouched && is_alone
    }

    /// Closes it to handlers that come later, if the lane of that handler has had it.
    pub(super) fn close(&mut self, key: HandlerKey, newest_id: u64) {
        if self.taken.contains(&key) {
            self.newest_id = newest_id;
        }
    }

    /// Whether nothing is to be done for a handler any more, as far as this tells.
    pub(super) fn is_through(&self, key: HandlerKey) -> bool {
        self.done.contains(&key) || self.taken.contains(&key)
    }
}
