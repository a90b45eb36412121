//! Settings of a handler: what to run, for which events, and how.
//!
//! [`KEYS`] is the only table of settings. Objects in configuration files and header lines are parsed with
//! it, and a test compares the manual page with it.

mod read;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::EventFilter;
use super::pattern::Pattern;
use super::script::{InvalidEventScript, split};
use crate::ordered::OrderedMap;
use crate::time::Duration;
use crate::wire::name::Escaped;

pub use read::{InvalidSetting, header_pairs};

/// Longest delay between two runs after exit status 75.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

/// Script or program of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Shell script; may be empty.
    Run(Arc<[u8]>),
    /// Program and its arguments; never empty, contains no NUL.
    Exec(Arc<[Vec<u8>]>),
}

impl Action {
    /// Returns the text for log lines and lists.
    pub fn text(&self) -> Arc<[u8]> {
        match self {
            Action::Run(script) => Arc::clone(script),
            Action::Exec(words) => words.join(&b' ').into(),
        }
    }

    /// Returns the default name of a handler: the base name of the first word.
    pub fn base_name(&self) -> String {
        let word = match self {
            Action::Run(script) => {
                let mut words = script.split(u8::is_ascii_whitespace);
                words.find(|word| !word.is_empty())
            }
            Action::Exec(words) => words.first().map(Vec::as_slice),
        };
        let base = word.and_then(|word| word.rsplit(|&byte| byte == b'/').next());
        match base.unwrap_or_default() {
            [] => "handler".to_owned(),
            base => Escaped(base).to_string(),
        }
    }
}

/// Format of a handler's standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// One line per member, or the payload.
    #[default]
    Lines,
    /// One JSON object.
    Json,
}

/// Retries after exit status 75.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Maximum number of retries.
    pub times: u32,
    /// Delay before the first retry; doubles each time, up to [`RETRY_WAIT_MAX`].
    pub wait: Duration,
}

/// How the journal treats a handler's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Pending runs survive a restart of the agent; a run whose end the agent did not see is repeated once.
    #[default]
    Full,
    /// Pending runs survive a restart of the agent; a run that has begun counts as done.
    Once,
    /// Runs are not recorded and do not survive a restart.
    Off,
}

/// Settings of a handler. Defaults are those of a handler configured as a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerSettings {
    /// What to run.
    pub action: Action,
    /// Events to run for; never empty.
    pub on: Vec<EventFilter>,
    /// Name given by the operator.
    pub name: Option<String>,
    /// Patterns for members' tags. These and the next two select the members of an event.
    pub tags: OrderedMap<Vec<u8>, Pattern>,
    /// Pattern for members' names.
    pub node: Option<Pattern>,
    /// Pattern for members' status.
    pub status: Option<Pattern>,
    /// Patterns for this node's own tags, checked when a run is due.
    pub self_tags: OrderedMap<Vec<u8>, Pattern>,
    /// Format of standard input.
    pub input: Input,
    /// Time limit of a run, zero for none; `None`: the agent's default.
    pub timeout: Option<Duration>,
    /// How long output may stay open after the process has ended; `None`: the agent's default.
    pub grace: Option<Duration>,
    /// How long a member must be gone before the handler runs for its departure.
    pub hold: Duration,
    /// Debounce: how long no further event must have come before a run.
    pub settle: Duration,
    /// Whether only the newest waiting event of each kind is kept. `settle` implies it.
    pub latest: bool,
    /// Retries after exit status 75, if any.
    pub retry: Option<Retry>,
    /// User to run as; `None`: the agent's user.
    pub user: Option<String>,
    /// Group to run with; `None`: the user's group.
    pub group: Option<String>,
    /// Working directory; `None`: the agent's.
    pub directory: Option<Vec<u8>>,
    /// Additional environment variables.
    pub environment: OrderedMap<Vec<u8>, Vec<u8>>,
    /// Events that have waited longer are dropped.
    pub max_age: Option<Duration>,
    /// How the journal treats its runs.
    pub journal: Durability,
}

impl HandlerSettings {
    /// Default settings: every event but `sync`.
    pub fn new(action: Action) -> Self {
        HandlerSettings {
            action,
            on: vec![EventFilter::All],
            name: None,
            tags: OrderedMap::new(),
            node: None,
            status: None,
            self_tags: OrderedMap::new(),
            input: Input::default(),
            timeout: None,
            grace: None,
            hold: Duration::ZERO,
            settle: Duration::ZERO,
            latest: false,
            retry: None,
            user: None,
            group: None,
            directory: None,
            environment: OrderedMap::new(),
            max_age: None,
            journal: Durability::default(),
        }
    }

    /// Parses a handler configured as a string: `[FILTER=]SCRIPT`.
    ///
    /// # Errors
    /// If text that looks like a filter is not valid, or the script has a NUL byte.
    pub fn from_text(handler: &[u8]) -> Result<Self, InvalidEventScript> {
        let (on, script) = split(handler)?;
        Ok(HandlerSettings {
            on,
            ..HandlerSettings::new(Action::Run(script))
        })
    }

    /// Parses an object of a configuration file.
    ///
    /// # Errors
    /// If a setting is invalid; lists all that are.
    pub fn from_object(object: &Map<String, Value>) -> Result<Self, Vec<InvalidSetting>> {
        read::object(object)
    }

    /// Builds a handler's settings from `pairs`, the settings in the header lines of a file (see
    /// [`header_pairs`]); `action` runs the file.
    ///
    /// # Errors
    /// If a setting is invalid; lists all that are.
    pub fn from_header(
        action: Action,
        pairs: &[(String, String)],
    ) -> Result<Self, Vec<InvalidSetting>> {
        read::header(action, pairs)
    }

    /// Returns the filter as it would be written in front of a script.
    pub fn filter(&self) -> Vec<u8> {
        let words: Vec<_> = self.on.iter().map(EventFilter::as_given).collect();
        words.join(&b',')
    }

    /// Returns `FILTER=SCRIPT`, as an operator would write it.
    pub(super) fn text(&self) -> Vec<u8> {
        [&self.filter()[..], b"=", &self.action.text()[..]].concat()
    }

    /// Returns whether runs report the current state of the members instead of single changes.
    pub fn gets_current_state(&self) -> bool {
        self.is_latest() && self.on.contains(&EventFilter::Sync)
    }

    /// Returns whether waiting events are merged.
    pub fn is_latest(&self) -> bool {
        self.latest || !self.settle.is_zero()
    }
}

/// Where a key is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Only in objects.
    Object,
    /// In objects and in header lines.
    Anywhere,
}

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Text,
    TextList,
    /// Map from names to strings; in a header line `KEY.NAME=TEXT`.
    TextMap,
    Duration,
    Switch,
    /// Object with `times` and `wait`; in a header line `KEY.times=` and `KEY.wait=`.
    Retry,
    /// A boolean, or `once`.
    Journal,
}

impl Kind {
    /// Returns the type's name in the manual page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::TextList => "list of strings",
            Kind::TextMap => "map of strings",
            Kind::Duration => "duration",
            Kind::Switch => "boolean",
            Kind::Retry => "object",
            Kind::Journal => "boolean or string",
        }
    }
}

/// A setting.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Where it is allowed.
    pub place: Place,
    set: fn(&mut HandlerSettings, &Value) -> Result<(), String>,
}

const fn key(
    name: &'static str,
    kind: Kind,
    set: fn(&mut HandlerSettings, &Value) -> Result<(), String>,
) -> Key {
    Key {
        name,
        kind,
        place: Place::Anywhere,
        set,
    }
}

impl Key {
    const fn in_objects_alone(mut self) -> Self {
        self.place = Place::Object;
        self
    }
}

/// Every key, sorted by name.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("directory", Kind::Text, |s, v| read::filled(v).map(|v| s.directory = Some(v.into()))),
    key("environment", Kind::TextMap, |s, v| read::environment(v).map(|v| s.environment = v)),
    key("exec", Kind::TextList, |s, v| read::program(v).map(|v| s.action = Action::Exec(v))).in_objects_alone(),
    key("grace", Kind::Duration, |s, v| read::duration(v).map(|v| s.grace = Some(v))),
    key("group", Kind::Text, |s, v| read::filled(v).map(|v| s.group = Some(v.into()))),
    key("hold", Kind::Duration, |s, v| read::duration(v).map(|v| s.hold = v)),
    key("input", Kind::Text, |s, v| read::input(v).map(|v| s.input = v)),
    key("journal", Kind::Journal, |s, v| read::durability(v).map(|v| s.journal = v)),
    key("latest", Kind::Switch, |s, v| read::switch(v).map(|v| s.latest = v)),
    key("max_age", Kind::Duration, |s, v| read::some_time(v).map(|v| s.max_age = Some(v))),
    key("name", Kind::Text, |s, v| read::name(v).map(|v| s.name = Some(v.into()))),
    key("node", Kind::Text, |s, v| read::pattern(v).map(|v| s.node = Some(v))),
    key("on", Kind::Text, |s, v| read::filters(v).map(|v| s.on = v)),
    key("retry", Kind::Retry, |s, v| read::retry(v).map(|v| s.retry = Some(v))),
    key("run", Kind::Text, |s, v| read::text(v).map(|v| s.action = Action::Run(v.as_bytes().into()))).in_objects_alone(),
    key("self", Kind::TextMap, |s, v| read::patterns(v).map(|v| s.self_tags = v)),
    key("settle", Kind::Duration, |s, v| read::duration(v).map(|v| s.settle = v)),
    key("status", Kind::Text, |s, v| read::pattern(v).map(|v| s.status = Some(v))),
    key("timeout", Kind::Duration, |s, v| read::duration(v).map(|v| s.timeout = Some(v))),
    key("user", Kind::Text, |s, v| read::filled(v).map(|v| s.user = Some(v.into()))),
    key("where", Kind::TextMap, |s, v| read::patterns(v).map(|v| s.tags = v)),
];

/// Returns a name for each handler. Those without one get the base name of their first word, with `-2` and so
/// on if it is taken.
///
/// # Errors
/// If two handlers were given the same name; returns their indices.
pub fn name_all(handlers: &[HandlerSettings]) -> Result<Vec<String>, (usize, usize)> {
    let mut names: OrderedMap<String, usize> = OrderedMap::new();
    for (at, handler) in handlers.iter().enumerate() {
        let Some(name) = &handler.name else {
            continue;
        };
        if let Some(first) = names.insert(name.clone(), at) {
            return Err((first, at));
        }
    }
    let mut named = Vec::new();
    for (at, handler) in handlers.iter().enumerate() {
        let name = handler.name.clone().unwrap_or_else(|| {
            let base = handler.action.base_name();
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            let mut candidates = std::iter::once(base.clone()).chain(numbered);
            let free = candidates.find(|name| !names.contains_key(name));
            free.unwrap_or_default()
        });
        names.insert(name.clone(), at);
        named.push(name);
    }
    Ok(named)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "settings_tests.rs"]
mod tests;
