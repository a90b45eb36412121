//! Event handlers: who wants which event, in what order scripts run, what each is given, and what its
//! end means (agent spec 1). Pure: no process, no clock; the agent runs what this module decides.
//!
//! [`HandlerQueue::push`] takes events, [`HandlerQueue::poll_invocation`] says what to run next, and
//! [`HandlerQueue::handle_outcome`] takes its end and gives the answer to a query, if there is one.

#![forbid(unsafe_code)]

pub mod filter;
pub mod header;
pub mod invocation;
pub mod journal;
pub mod json;
pub mod made_up;
pub mod moment;
pub mod outcome;
pub mod pattern;
pub mod queue;
pub mod registered;
pub mod script;
pub mod settings;
pub mod start;

pub use filter::{EventFilter, InvalidEventFilter};
pub use invocation::{Invocation, Local};
pub use moment::Moment;
pub use outcome::{Answer, End, Outcome};
pub use pattern::Pattern;
pub use queue::{Counters, HandlerQueue, NoRun};
pub use registered::{Registered, Tally};
pub use script::InvalidEventScript;
pub use settings::{Action, Durability, HandlerSettings, Input, InvalidSetting};

use std::fmt;

use crate::serf::Event;
use crate::wire::name::Escaped;

/// The type of an event as filters, `SERF_EVENT` and RPC records name it.
pub const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::Member(event) => event.kind.as_str(),
        Event::User(_) => "user",
        Event::Query(_) => "query",
    }
}

/// An event as log lines name it: `member-join`, `user-event: deploy`, `query: load`.
pub struct Described<'a>(pub &'a Event);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Member(event) => f.write_str(event.kind.as_str()),
            Event::User(event) => write!(f, "user-event: {}", Escaped(&event.name)),
            Event::Query(query) => write!(f, "query: {}", Escaped(&query.name)),
        }
    }
}
