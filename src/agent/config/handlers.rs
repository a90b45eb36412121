//! Entries of `event_handlers`: strings as the reference has them, or objects.

use serde_json::{Map, Value};

use crate::agent::process::program::check;
use crate::handler::settings::name_all;
use crate::handler::{HandlerSettings, InvalidSetting};

/// A handler as it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerEntry {
    /// Where it stands, for messages; empty for a flag's.
    pub place: String,
    /// What it says.
    pub said: Said,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `[FILTER=]SCRIPT`, not looked at yet.
    Text(Vec<u8>),
    /// An object.
    Settings(Box<HandlerSettings>),
}

impl HandlerEntry {
    /// One that is given as a string on the command line.
    pub fn text(text: &[u8]) -> Self {
        HandlerEntry {
            place: String::new(),
            said: Said::Text(text.to_vec()),
        }
    }

    /// One that is given as a string in a file.
    pub(super) fn in_file(place: String, text: String) -> Self {
        HandlerEntry {
            place,
            said: Said::Text(text.into_bytes()),
        }
    }

    /// Reads the object that is entry number `at`.
    ///
    /// # Errors
    /// All that is wrong with it, a line each.
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

/// Reads a list of handlers.
///
/// # Errors
/// What to print about the first bad one.
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
