//! Entries of `event_handlers`: strings as in the reference, or objects.

use serde_json::{Map, Value};

use crate::agent::process::program::check;
use crate::handler::settings::name_all;
use crate::handler::{HandlerSettings, InvalidSetting};

/// A configured handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerEntry {
    /// Where it is configured, for messages; empty for a flag.
    pub place: String,
    /// Its definition.
    pub said: Said,
}

/// Definition of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `[FILTER=]SCRIPT`, not parsed yet.
    Text(Vec<u8>),
    /// Settings from an object.
    Settings(Box<HandlerSettings>),
}

impl HandlerEntry {
    /// Creates an entry for a string on the command line.
    pub fn text(text: &[u8]) -> Self {
        HandlerEntry {
            place: String::new(),
            said: Said::Text(text.to_vec()),
        }
    }

    /// Creates an entry for a string in a file.
    pub(super) fn in_file(place: String, text: String) -> Self {
        HandlerEntry {
            place,
            said: Said::Text(text.into_bytes()),
        }
    }

    /// Parses the object that is entry number `at`.
    ///
    /// # Errors
    /// If a setting is invalid; returns a line for each.
    pub(super) fn object(at: usize, object: &Map<String, Value>) -> Result<Self, Vec<String>> {
        let place = match object.get("name").and_then(Value::as_str) {
            Some(name) => format!("event_handlers[{at}] ({})", name.escape_debug()),
            None => format!("event_handlers[{at}]"),
        };
        let complaint = |fault: InvalidSetting| format!("'{place}' {fault}");
        match HandlerSettings::from_object(object) {
            Ok(settings) => Ok(HandlerEntry {
                said: Said::Settings(Box::new(settings)),
                place,
            }),
            Err(faults) => Err(faults.into_iter().map(complaint).collect()),
        }
    }
}

/// Parses a list of handlers.
///
/// # Errors
/// If one is invalid or cannot run here; returns the text to print for the first of them.
pub fn parse_handlers(list: &[HandlerEntry]) -> Result<Vec<HandlerSettings>, String> {
    let parse = |entry: &HandlerEntry| match &entry.said {
        Said::Text(text) => HandlerSettings::from_text(text).map_err(|error| error.to_string()),
        Said::Settings(settings) => match check(settings) {
            Ok(()) => Ok(HandlerSettings::clone(settings)),
            Err(fault) => Err(format!("Invalid event handler: {}: {fault}", entry.place)),
        },
    };
    let handlers: Vec<_> = list.iter().map(parse).collect::<Result<_, _>>()?;
    if let Err((first, second)) = name_all(&handlers) {
        let place = |at: usize| list.get(at).map_or("", |entry| &entry.place);
        return Err(format!(
            "Invalid event handler: {}: key 'name': already used by {}",
            place(second),
            place(first)
        ));
    }
    Ok(handlers)
}
