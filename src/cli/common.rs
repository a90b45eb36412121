//! Common parts of several commands: connecting to the agent, parsing arguments, printing as text or JSON.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::client::{self, Client, Place};
use super::command::flags::Flags;
use super::failure::{Failure, Outcome};
use crate::go;
use crate::json::Json;
use crate::rpc::TextMap;
use crate::wire::name::Escaped;

/// Returns the agent's address and RPC key, from the flags or the environment.
pub(super) fn place(flags: &Flags) -> (Place, String) {
    let from_environment = |name| {
        let value = std::env::var_os(name).unwrap_or_default();
        Some(Escaped(value.as_bytes()).to_string()).filter(|value| !value.is_empty())
    };
    let given = flags.value("rpc-addr").map(str::to_owned);
    let address = given
        .or_else(|| from_environment("COTTAR_RPC_ADDR"))
        .or_else(|| from_environment("SERF_RPC_ADDR"));
    let key = match flags.value("rpc-auth") {
        Some(key) => key.to_owned(),
        None => from_environment("SERF_RPC_AUTH").unwrap_or_default(),
    };
    (address.map_or(Place::Default, Place::At), key)
}

/// Returns whether a handler started this process. The agent waits for its handler, so a command must not
/// wait for the agent's handler queue.
pub(super) fn is_in_handler() -> bool {
    std::env::var_os("COTTAR_IN_HANDLER").is_some()
}

/// Prefix of the error if there is no connection.
pub(super) const NO_CONNECTION: &str = "Error connecting to Serf agent";

pub(super) fn connect(flags: &Flags) -> Result<Client, Failure> {
    let (place, key) = place(flags);
    Client::connect_before(None, &place, &key).map_err(failed(NO_CONNECTION))
}

/// Returns a function that puts `what` in front of the error of a call.
pub(super) fn failed(what: &str) -> impl Fn(client::Error) -> Failure {
    move |why| Failure::Message(format!("{what}: {why}"))
}

/// Parses `KEY=VALUE` flags into a map.
pub(super) fn pairs(values: &[Vec<u8>]) -> Result<TextMap, Failure> {
    let pair = |text: &Vec<u8>| {
        let mut parts = text.splitn(2, |byte| *byte == b'=');
        match (parts.next(), parts.next()) {
            (Some(key), Some(value)) if !key.is_empty() => Ok((key.into(), value.into())),
            _ => {
                let shown = Escaped(text);
                Err(Failure::Message(format!("Error: Invalid tag: '{shown}'")))
            }
        }
    };
    values.iter().map(pair).collect()
}

/// Parses tag filters. All filters must match, but an agent takes only one per key, so filters with the same
/// key are spread over several maps. Returns at least one map, which may be empty.
pub(super) fn tag_filters(values: &[Vec<u8>]) -> Result<Vec<TextMap>, Failure> {
    let mut maps = vec![TextMap::new()];
    for value in values {
        for (key, filter) in pairs(std::slice::from_ref(value))? {
            match maps.iter_mut().find(|map| !map.contains_key(&key)) {
                Some(map) => {
                    map.insert(key, filter);
                }
                None => maps.push(TextMap::from([(key, filter)])),
            }
        }
    }
    Ok(maps)
}

pub(super) fn bytes(argument: &OsStr) -> Vec<u8> {
    argument.as_bytes().to_vec()
}

/// Returns the arguments of a command that takes a name and an optional payload.
pub(super) fn name_and_payload(
    flags: &Flags,
    missing: &str,
) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    match flags.arguments() {
        [] => Err(Failure::Usage(missing.to_owned())),
        [name] => Ok((bytes(name), None)),
        [name, payload] => Ok((bytes(name), Some(bytes(payload)))),
        _ => Err(Failure::Usage(
            "Too many command line arguments. Only a name and payload must be specified."
                .to_owned(),
        )),
    }
}

/// Prints a result as text or as a JSON object.
pub(super) fn tell(
    flags: &Flags,
    text: &[u8],
    json: Vec<(&str, Json)>,
    out: &mut dyn Write,
) -> Outcome {
    match is_json(flags) {
        true => out.write_all(Json::object(json).indented().as_bytes())?,
        false => out.write_all(text)?,
    }
    Ok(out.write_all(b"\n")?)
}

pub(super) fn format(flags: &Flags) -> &str {
    let has_formats = flags.command().flag("format").is_some();
    let given = if has_formats {
        flags.value("format")
    } else {
        None
    };
    given.unwrap_or("text")
}

pub(super) fn is_json(flags: &Flags) -> bool {
    format(flags) == "json"
}

pub(super) fn unknown_format(format: &str) -> Failure {
    let quoted = go::quote(format.as_bytes());
    Failure::Message(format!("Encoding error: Invalid output format {quoted}"))
}
