//! What the records of events hold beside the reference's fields, for streams that ask for it.

use std::sync::Arc;

use crate::serf::{Event, Tags};
use crate::wire::msgpack::Writer;

/// What agents of cottar tell of an event beside what the reference does, to streams that ask for it.
#[derive(Clone, Debug)]
pub struct Details<'a> {
    /// The event's id.
    pub id: Arc<str>,
    /// When the agent took it in, in microseconds since 1970.
    pub taken_micros: u64,
    /// The agent's node: name and tags.
    pub local: (&'a [u8], &'a Tags),
    /// Until when an answer to a query is of use, in microseconds since 1970.
    pub deadline_micros: u64,
}

impl Details<'_> {
    /// How many fields these are.
    pub(super) const FIELDS: usize = 5;

    pub(super) fn write(&self, w: &mut Writer, event: &Event) {
        let (name, tags) = self.local;
        let from = match event {
            Event::Query(query) => query.source_node.as_ref().map(|node| node.as_bytes()),
            _ => None,
        };
        w.key("Deadline").uint(self.deadline_micros);
        w.key("EventID").text(&*self.id);
        w.key("From").text(from.unwrap_or_default());
        w.key("Self").map(2).key("Name").text(name);
        w.key("Tags").map(tags.len());
        for (key, value) in tags.iter() {
            w.text(key).text(value);
        }
        w.key("Taken").uint(self.taken_micros);
    }
}
