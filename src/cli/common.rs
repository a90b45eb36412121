//! What several commands use: reaching the agent, reading their lines, printing in the usual formats.

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

/// Where the agent is, and the key that it asks for.
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

/// Whether this process was started by a handler. An agent waits for it: what waits for the agent's queue would
/// wait for ever.
pub(super) fn is_in_handler() -> bool {
    std::env::var_os("COTTAR_IN_HANDLER").is_some()
}

/// What stands before the reason why there is no connection.
pub(super) const NO_CONNECTION: &str = "Error connecting to Serf agent";

pub(super) fn connect(flags: &Flags) -> Result<Client, Failure> {
    let (place, key) = place(flags);
    Client::connect_before(None, &place, &key).map_err(failed(NO_CONNECTION))
}

/// Puts words in front of a failed call.
pub(super) fn failed(what: &str) -> impl Fn(client::Error) -> Failure {
    move |why| Failure::Message(format!("{what}: {why}"))
}

/// `KEY=VALUE` flags as a map.
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

/// Filters by tags, in as many maps as the filters for one key need: all of them must match, and an agent
/// takes one filter for each key. At least one map, which may be empty.
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

/// A name and perhaps a payload.
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

/// Prints what has been done, as text or as an object.
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
