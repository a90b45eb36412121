//! Determines which handlers must still get an event.

use super::{HandlerQueue, Progress, Waiting};
use crate::handler::Registered;
use crate::handler::journal::HandlerKey;
use crate::serf::Event;

/// A handler that must still get an event.
#[derive(Debug)]
pub(super) struct Recipient<'a> {
    /// Index of the handler.
    pub(super) index: usize,
    pub(super) registered: &'a Registered,
    /// Missing handlers that this one replaces: they finish with the event when it does.
    pub(super) replaces: Vec<HandlerKey>,
}

/// Handlers that must still get an event.
#[derive(Debug)]
pub(super) struct Recipients<'a> {
    pub(super) present: Vec<Recipient<'a>>,
    /// Missing handlers for which the event waits.
    pub(super) missing: Vec<HandlerKey>,
}

impl Registered {
    /// Returns whether the handler was added after others had already got the event.
    pub(super) fn comes_after(&self, progress: &Progress) -> bool {
        (progress.newest_id > 0 && self.id > progress.newest_id)
            || (progress.met_id > 0 && self.since > progress.met_id)
    }
}

impl HandlerQueue {
    /// Returns the handlers that must still get the event.
    pub(super) fn recipients<'a>(&'a self, waiting: &'a Waiting) -> Recipients<'a> {
        let progress = waiting.progress();
        let is_through = |key| progress.is_through(key) || self.is_dropped(waiting, key);
        let text = |key| self.journal.as_ref().and_then(|journal| journal.text(key));
        let is_missing = |key: &HandlerKey| !is_through(*key) && !self.handlers.has_key(*key);
        let recorded = waiting.number.map_or(&[][..], |_| &waiting.recorded);
        let missing: Vec<_> = recorded.iter().copied().filter(is_missing).collect();
        // The members were selected for these handlers before the restart.
        let is_chosen = progress.is_recovered && matches!(waiting.event, Event::Member(_));
        let (mut present, mut replaced) = (Vec::new(), Vec::new());
        for (index, registered) in self.handlers.list().iter().enumerate() {
            let key = registered.key;
            let is_numbered = waiting.number.is_some();
            let is_new = is_numbered && !recorded.contains(&key);
            let is_asking = match is_chosen {
                true => !is_new,
                false => registered.asks_for(&waiting.event),
            };
            if !is_asking {
                continue;
            }
            let succeeds = |key: &&HandlerKey| {
                text(**key).is_some_and(|text| registered.succeeds(**key, text))
            };
            let replaces: Vec<_> = match is_new && registered.is_durable() {
                true => missing.iter().filter(succeeds).copied().collect(),
                false => Vec::new(),
            };
            replaced.extend_from_slice(&replaces);
            let is_later = registered.comes_after(progress);
            let others_had_it = is_numbered && !progress.done.is_empty();
            let is_late = (is_new || !is_numbered) && (is_later || others_had_it);
            let is_over = is_through(key) || (is_late && replaces.is_empty());
            if !is_over {
                present.push(Recipient {
                    index,
                    registered,
                    replaces,
                });
            }
        }
        let is_replaced = |key: &HandlerKey| replaced.contains(key);
        Recipients {
            present,
            missing: missing.into_iter().filter(|k| !is_replaced(k)).collect(),
        }
    }
}
