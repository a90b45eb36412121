//! Additional fields of event records, for streams that ask for them.

use std::sync::Arc;

use crate::serf::{Event, Tags};
use crate::wire::msgpack::Writer;

/// Additional fields of event records, which only cottar's agents send.
#[derive(Clone, Debug)]
pub struct Details<'a> {
    /// The event's id.
    pub id: Arc<str>,
    /// When the agent received it, in microseconds since 1970.
    pub taken_micros: u64,
    /// Name and tags of the agent's node.
    pub local: (&'a [u8], &'a Tags),
    /// Deadline for answers to a query, in microseconds since 1970.
    pub deadline_micros: u64,
}

impl Details<'_> {
    /// Number of these fields.
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
