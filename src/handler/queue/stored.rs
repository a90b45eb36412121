//! Reads user events back from disk when they reach the head of the queue.

use super::{HandlerQueue, Waiting};
use crate::count::Count;
use crate::handler::journal::{Read, Recorded};
use crate::handler::moment::event_id;
use crate::ordered::sort_by;
use crate::serf::{Event, LamportTime};

impl HandlerQueue {
    /// Returns what to read, if events that are only on disk are next. The caller must call
    /// [`Self::handle_read`].
    pub fn poll_read(&mut self) -> Option<Read> {
        let journal = self.journal.as_mut()?;
        if journal.is_behind() || !self.awaited.is_empty() {
            return None;
        }
        let is_busy = |c: &super::Current| c.running.is_some() || !c.scripts.is_empty();
        if self.suspended.is_some() || self.current.as_ref().is_some_and(is_busy) {
            return None;
        }
        while let Some(stored) = self.fifo.first_stored() {
            if let Some(read) = journal.next_read(stored) {
                return Some(read);
            }
            let lost = journal.give_up_unfound(stored);
            if lost > 0 {
                log::error!(target: "agent", "Lost {} in the journal: damaged records", Count(lost as u64, "user event"));
            }
            self.fifo.pop_stored();
        }
        None
    }

    /// Takes the bytes of [`Self::poll_read`]; `None` if they cannot be read.
    pub fn handle_read(&mut self, read: Read, bytes: Option<&[u8]>) {
        let (Some(journal), Some(stored)) = (self.journal.as_mut(), self.fifo.first_stored())
        else {
            return;
        };
        let mut events = journal.handle_read(stored, read, bytes);
        let stored_progress = &self.stored_progress;
        sort_by(&mut events, |a, b| {
            let key = |r: &Recorded| {
                let ltime = match &r.event {
                    Event::User(event) => event.ltime,
                    _ => LamportTime(0),
                };
                (!stored_progress.was_begun(r.number), ltime, r.number)
            };
            key(a).cmp(&key(b))
        });
        self.is_listed = false;
        let events: Vec<Waiting> = events.into_iter().map(|r| self.recovered(r)).collect();
        for waiting in events.into_iter().rev() {
            self.fifo.push_front(waiting);
        }
    }

    fn recovered(&mut self, recorded: Recorded) -> Waiting {
        let Recorded {
            number,
            taken_micros,
            event,
            handlers,
            ..
        } = recorded;
        let is_members = matches!(event, Event::Member(_));
        self.last_position += 1;
        // Numbers in the journal are unique, so no other event has this id.
        let id = event_id(&event, number).into();
        let mut waiting = Waiting::new(event, id, taken_micros, self.last_position);
        waiting.cost += 8 * handlers.len();
        waiting.number = Some(number);
        waiting.recorded = handlers.into();
        waiting.set_progress(self.stored_progress.remove(number));
        if is_members {
            waiting.progress_mut().is_recovered = true;
        }
        waiting
    }
}
