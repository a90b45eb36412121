//! A handler as it is configured: what is run, for which events, and how.
//!
//! [`KEYS`] is the one table of settings. Objects in configuration files and header lines of files are
//! read by it, and the manual page is held to it by a test.

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

/// The longest wait between two runs after exit status 75.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Shell text; may be empty.
    Run(Arc<[u8]>),
    /// A program and its arguments; never empty, no NUL in it.
    Exec(Arc<[Vec<u8>]>),
}

impl Action {
    /// As log lines and lists show it.
    pub fn text(&self) -> Arc<[u8]> {
        match self {
            Action::Run(script) => Arc::clone(script),
            Action::Exec(words) => words.join(&b' ').into(),
        }
    }

    /// What a handler without a name is called: the base name of the first word.
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

/// What a handler reads on standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// A line for each member, or the payload.
    #[default]
    Lines,
    /// One JSON object.
    Json,
}

/// How often a run is repeated after exit status 75.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further runs, at most.
    pub times: u32,
    /// Before the first of them; doubled each time, up to [`RETRY_WAIT_MAX`].
    pub wait: Duration,
}

/// What the journal does for a handler's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// They outlive the agent; one that it did not see the end of is repeated once.
    #[default]
    Full,
    /// They outlive the agent; one that has begun counts as done.
    Once,
    /// They do not outlive the agent.
    Off,
}

/// A handler's settings. What is not said is as in a handler that is given as a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerSettings {
    /// What is run.
    pub action: Action,
    /// For which events; never empty.
    pub on: Vec<EventFilter>,
    /// What the operator calls it.
    pub name: Option<String>,
    /// What members' tags must match. This and the next two are about the members of an event.
    pub tags: OrderedMap<Vec<u8>, Pattern>,
    /// What their names must match.
    pub node: Option<Pattern>,
    /// What their status must match.
    pub status: Option<Pattern>,
    /// What this node's own tags must match when a run is due.
    pub self_tags: OrderedMap<Vec<u8>, Pattern>,
    /// What it reads.
    pub input: Input,
    /// Ends a run that lasts longer, zero never; `None`: as the agent has it.
    pub timeout: Option<Duration>,
    /// How long output may stay open after the end; `None`: as the agent has it.
    pub grace: Option<Duration>,
    /// How long a member must be gone before its departure is handed over.
    pub hold: Duration,
    /// How long nothing must have come before a run.
    pub settle: Duration,
    /// Of the events that wait, only the newest of each kind. `settle` implies it.
    pub latest: bool,
    /// Whether a run is repeated after exit status 75.
    pub retry: Option<Retry>,
    /// As whom it runs; `None`: as the agent.
    pub user: Option<String>,
    /// With which group; `None`: the user's.
    pub group: Option<String>,
    /// Where it runs; `None`: where the agent does.
    pub directory: Option<Vec<u8>>,
    /// Further variables.
    pub environment: OrderedMap<Vec<u8>, Vec<u8>>,
    /// What has waited longer is dropped.
    pub max_age: Option<Duration>,
    /// What the journal does for it.
    pub journal: Durability,
}

impl HandlerSettings {
    /// Every event but `sync`, and nothing else said.
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

    /// Reads a handler that is given as a string: `[FILTER=]SCRIPT`.
    ///
    /// # Errors
    /// If what looks like a filter is none, or the script holds a NUL byte.
    pub fn from_text(handler: &[u8]) -> Result<Self, InvalidEventScript> {
        let (on, script) = split(handler)?;
        Ok(HandlerSettings {
            on,
            ..HandlerSettings::new(Action::Run(script))
        })
    }

    /// Reads an object of a configuration file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_object(object: &Map<String, Value>) -> Result<Self, Vec<InvalidSetting>> {
        read::object(object)
    }

    /// Reads the pairs of header lines, as [`header_pairs`] gives them, of a file that is run by `action`.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_header(
        action: Action,
        pairs: &[(String, String)],
    ) -> Result<Self, Vec<InvalidSetting>> {
        read::header(action, pairs)
    }

    /// The filter as it would stand in front of a script.
    pub fn filter(&self) -> Vec<u8> {
        let words: Vec<_> = self.on.iter().map(EventFilter::as_given).collect();
        words.join(&b',')
    }

    /// Whether it is told how things are, instead of what has happened to members.
    pub fn is_told_the_state(&self) -> bool {
        self.is_latest() && self.on.contains(&EventFilter::Sync)
    }

    /// Whether the events that wait are merged.
    pub fn is_latest(&self) -> bool {
        self.latest || !self.settle.is_zero()
    }
}

/// Where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In objects alone.
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
    /// Text by name; in a header line `KEY.NAME=TEXT`.
    TextMap,
    Duration,
    Switch,
    /// `times` and `wait`; in a header line `KEY.times=` and `KEY.wait=`.
    Retry,
    /// A switch, or `once`.
    Journal,
}

impl Kind {
    /// As the manual page names it.
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
    /// Where it may stand.
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

/// Gives every handler without a name one that is not taken: the base name of its first word, with `-2`
/// and so on if need be.
///
/// # Errors
/// The places of two handlers that were given the same name.
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
