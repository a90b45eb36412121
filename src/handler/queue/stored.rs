//! User events of the queue that wait on the disk alone, on their way back into memory.

use super::{HandlerQueue, Slot, Waiting, cost};
use crate::count::Count;
use crate::handler::journal::{Read, Recorded};
use crate::handler::moment::user_event_id;
use crate::ordered::sort_by;
use crate::serf::Event;

impl HandlerQueue {
    /// Events that wait on the disk alone and whose turn has come: what to read. Whoever takes it owes
    /// a [`Self::handle_read`].
    pub fn poll_read(&mut self) -> Option<Read> {
        let journal = self.journal.as_mut()?;
        if journal.is_behind() || !self.awaited.is_empty() {
            return None;
        }
        let is_busy = |c: &super::Current| c.running.is_some() || !c.scripts.is_empty();
        if self.current.as_ref().is_some_and(is_busy) {
            return None;
        }
        while let Some(Slot::Stored(stored)) = self.waiting.front() {
            if let Some(read) = journal.next_read(stored) {
                return Some(read);
            }
            let lost = journal.give_up_unfound(stored);
            if lost > 0 {
                log::error!(target: "agent", "Lost {} that waited in the journal: damaged records", Count(lost as u64, "user event"));
            }
            self.waiting.pop_front();
        }
        None
    }

    /// The bytes that [`Self::poll_read`] asked for, or `None` if they cannot be read.
    pub fn handle_read(&mut self, read: Read, bytes: Option<&[u8]>) {
        let (Some(journal), Some(Slot::Stored(stored))) =
            (self.journal.as_mut(), self.waiting.front_mut())
        else {
            return;
        };
        let mut events = journal.handle_read(stored, read, bytes);
        let progress = &self.progress;
        let was_begun = |number| progress.get(&number).is_some_and(|p| p.begun.is_some());
        sort_by(&mut events, |a, b| {
            let key = |r: &Recorded| (!was_begun(r.number), r.event.ltime, r.number);
            key(a).cmp(&key(b))
        });
        for recorded in events.into_iter().rev() {
            let waiting = self.recovered(recorded);
            self.bytes = self.bytes.saturating_add(waiting.cost);
            self.waiting.push_front(Slot::Event(waiting));
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
        let id = user_event_id(&event).into();
        let event = Event::User(event);
        Waiting {
            id,
            taken_micros,
            cost: cost(&event) + 8 * handlers.len(),
            event,
            wanted: true,
            number: Some(number),
            recorded: handlers.into(),
            progress: self.progress.remove(&number).map(Box::new),
        }
    }
}
