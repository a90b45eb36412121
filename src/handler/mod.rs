//! Event handlers: which handler wants which event, the order in which scripts run, the environment and input
//! of each run, and the effect of its outcome (agent spec 1). Pure: starts no process and reads no clock; the
//! agent runs what this module decides.
//!
//! [`HandlerQueue::push`] takes events, [`HandlerQueue::poll_invocation`] returns the next run, and
//! [`HandlerQueue::handle_outcome`] takes its end and returns the answer to a query, if there is one.
//!
//! | module | content |
//! |---|---|
//! | [`filter`], [`pattern`] | filters of events, expressions for tags |
//! | [`script`], [`header`], [`settings`] | a handler's settings, from a string, header lines, or an object |
//! | [`registered`] | the current handlers and statistics of their runs |
//! | [`queue`] | which run is next: order, lanes, retries, debouncing, limits |
//! | [`journal`] | format of the journal |
//! | [`invocation`], [`json`], [`moment`] | environment, input and event ids of a run |
//! | [`outcome`] | exit statuses, answers, log lines about runs |
//! | [`start`], [`synthetic`] | the first `sync` runs, events for `handler test` and `handler run` |

#![forbid(unsafe_code)]

pub mod filter;
pub mod header;
pub mod invocation;
pub mod journal;
pub mod json;
pub mod moment;
pub mod outcome;
pub mod pattern;
pub mod queue;
pub mod registered;
pub mod script;
pub mod settings;
pub mod start;
pub mod synthetic;

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

/// Returns the type of an event, as in filters, `SERF_EVENT` and RPC records.
pub const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::Member(event) => event.kind.as_str(),
        Event::User(_) => "user",
        Event::Query(_) => "query",
    }
}

/// Displays an event as log lines name it: `member-join`, `user-event: deploy`, `query: load`.
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
