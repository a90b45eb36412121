//! What each command does once its line is read (agent spec 3.2 to 3.11).

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::client::{self, Client};
use super::command::flags::Flags;
use super::help::help;
use super::table::Command;
use crate::agent::config::features::{self, FEATURES};
use crate::go;
use crate::json::Json;
use crate::rpc::queue::Fired;
use crate::rpc::{Request, TextMap};
use crate::serf::config::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::wire::name::Escaped;

/// Why a command fails.
#[derive(Debug)]
pub enum Failure {
    /// What there was to say is said.
    Silent,
    /// This goes to stdout, as the reference has it.
    Message(String),
    /// The same, with the command's help behind it.
    Usage(String),
    /// The answer is there, but is empty or lacks something, and the user wants to know; this goes to
    /// stderr.
    Incomplete(String),
    /// The output cannot be written.
    Output(io::Error),
}

/// Exit status of [`Failure::Incomplete`].
const INCOMPLETE: u8 = 2;

/// Commands whose JSON the reference has, too.
const KNOWN_JSON: [&str; 3] = ["info", "members", "query"];
/// Commands that it does not have.
const OWN_COMMANDS: [&str; 7] = [
    "handler drop",
    "handler list",
    "handler pause",
    "handler queue",
    "handler resume",
    "handler test",
    "wait",
];
/// Flags that it does not have.
const OWN_FLAGS: [&str; 4] = ["0", "expect", "fields", "strict"];

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

pub(super) type Outcome = Result<(), Failure>;

/// Runs a command; what it has to say goes to `out`.
///
/// # Errors
/// See [`Failure`].
pub fn run(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let name = flags.command().name;
    let format = format(flags);
    // These have words of their own for it, and a time.
    if !KNOWN_JSON.contains(&name) && !["json", "text"].contains(&format) {
        return Err(Failure::Message(format!("Invalid format: {format}")));
    }
    match name {
        "event" => event(flags, out),
        "force-leave" => force_leave(flags, out),
        "handler drop" => super::handler::queue::drop(flags, out),
        "handler list" => super::handler::list(flags, out),
        "handler pause" => super::handler::queue::pause(flags, out),
        "handler queue" => super::handler::queue::queue(flags, out),
        "handler resume" => super::handler::queue::resume(flags, out),
        "info" => info(flags, out),
        "join" => join(flags, out),
        "keygen" => super::keys::keygen(flags, out),
        "keys" => super::keys::keys(flags, out),
        "leave" => leave(flags, out),
        "members" => super::members::members(flags, out),
        "monitor" => super::monitor::monitor(flags, out),
        "query" => super::query::query(flags, out),
        "reachability" => super::reachability::reachability(flags, out),
        "rtt" => super::rtt::rtt(flags, out),
        "tags" => tags(flags, out),
        "version" => version(flags, out),
        "wait" => super::wait::wait(flags, out),
        name => Err(Failure::Message(format!("{name} is no such command"))),
    }
}

/// Whether the reference has no such command.
pub fn is_own(command: &Command) -> bool {
    OWN_COMMANDS.contains(&command.name)
}

/// Whether the line is one that the reference would not take. Then errors go to stderr; all others go to
/// stdout as there, where scripts look for them.
fn is_beyond_reference(flags: &Flags) -> bool {
    let command = flags.command();
    let given = |name: &&str| command.flag(name).is_some() && flags.value(name).is_some();
    is_own(command)
        || OWN_FLAGS.iter().any(given)
        || (given(&"format") && !KNOWN_JSON.contains(&command.name))
}

/// Prints what went wrong. Whether anybody still reads that changes nothing: the command has failed.
pub fn report(failure: Failure, flags: &Flags, out: &mut dyn Write) -> ExitCode {
    let mut stderr = io::stderr();
    let out: &mut dyn Write = match failure {
        Failure::Incomplete(_) => &mut stderr,
        _ if is_beyond_reference(flags) => &mut stderr,
        _ => out,
    };
    let mut status = ExitCode::FAILURE;
    let printed = match failure {
        Failure::Message(text) => writeln!(out, "{text}"),
        Failure::Usage(text) if text.is_empty() => write!(out, "{}", help(flags.command())),
        Failure::Usage(text) => write!(out, "{text}\n\n{}", help(flags.command())),
        Failure::Silent => Ok(()),
        Failure::Incomplete(why) => {
            status = ExitCode::from(INCOMPLETE);
            writeln!(out, "{why}")
        }
        Failure::Output(why) => return output_failed(&why),
    };
    if let Err(why) = printed.and_then(|()| out.flush()) {
        output_failed(&why);
    }
    status
}

/// The exit status when the output cannot be written. A reader that has gone away is no error.
pub fn output_failed(why: &io::Error) -> ExitCode {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "cottar: cannot write the output: {why}");
    ExitCode::FAILURE
}

/// Where the agent is, and the key that it asks for.
pub(super) fn place(flags: &Flags) -> (String, String) {
    let from_environment = |name| std::env::var_os(name).unwrap_or_default();
    let address = match flags.value("rpc-addr") {
        Some(address) => address.to_owned(),
        None => match from_environment("SERF_RPC_ADDR") {
            unset if unset.is_empty() => default(flags, "rpc-addr").to_owned(),
            address => address.to_string_lossy().into_owned(),
        },
    };
    let key = match flags.value("rpc-auth") {
        Some(key) => key.to_owned(),
        None => from_environment("SERF_RPC_AUTH")
            .to_string_lossy()
            .into_owned(),
    };
    (address, key)
}

/// What stands before the reason why there is no connection.
pub(super) const NO_CONNECTION: &str = "Error connecting to Serf agent";

pub(super) fn connect(flags: &Flags) -> Result<Client, Failure> {
    let (address, key) = place(flags);
    Client::connect(&address, &key).map_err(failed(NO_CONNECTION))
}

fn default(flags: &Flags, name: &str) -> &'static str {
    flags.command().flag(name).map_or("", |flag| flag.default)
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
    name_and_payload_of(flags.arguments(), missing)
}

pub(super) fn name_and_payload_of(
    arguments: &[OsString],
    missing: &str,
) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    match arguments {
        [] => Err(Failure::Usage(missing.to_owned())),
        [name] => Ok((bytes(name), None)),
        [name, payload] => Ok((bytes(name), Some(bytes(payload)))),
        _ => Err(Failure::Usage(
            "Too many command line arguments. Only a name and payload must be specified."
                .to_owned(),
        )),
    }
}

fn event(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (name, payload) = name_and_payload(flags, "An event name must be specified.")?;
    let coalesce = flags.flag("coalesce");
    let fired = fire(flags, &name, payload, coalesce)?;
    let text = [
        &b"Event '"[..],
        &*name,
        b"' dispatched! Coalescing enabled: ",
        if coalesce { b"true" } else { b"false" },
    ];
    let mut text = text.concat();
    let mut json = vec![
        ("name", Json::text(&name)),
        ("coalesce", Json::Bool(coalesce)),
    ];
    // An agent of Serf does not tell.
    if let Some(Fired { ltime, id }) = fired {
        text.extend_from_slice(format!("\nTime: {ltime}, id: {}", Escaped(&id)).as_bytes());
        json.push((
            "ltime",
            Json::Number(i64::try_from(ltime).unwrap_or(i64::MAX)),
        ));
        json.push(("id", Json::text(id)));
    }
    tell(flags, &text, json, out)
}

/// An agent that does not know our own command hangs up on it, so that the other one takes a second
/// connection.
fn fire(
    flags: &Flags,
    name: &[u8],
    payload: Option<Vec<u8>>,
    coalesce: bool,
) -> Result<Option<Fired>, Failure> {
    let error = failed("Error sending event");
    let request = Request::OwnEvent {
        name: name.to_vec(),
        payload: payload.clone(),
        coalesce,
    };
    if let Some(fired) = connect(flags)?.fire(&request).map_err(&error)? {
        return Ok(Some(fired));
    }
    let request = Request::Event {
        name: name.to_vec(),
        payload,
        coalesce,
    };
    connect(flags)?.order(&request).map_err(error)?;
    Ok(None)
}

fn force_leave(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let node = match flags.arguments() {
        [node] => node,
        [] => {
            let words = "A node name must be specified to force leave.";
            return Err(Failure::Usage(words.to_owned()));
        }
        _ => {
            let words = "Too many command line arguments. Only one node name must be specified, after \
                         all flags.";
            return Err(Failure::Usage(words.to_owned()));
        }
    };
    let (node, prune) = (bytes(node), flags.flag("prune"));
    let json = vec![("name", Json::text(&node)), ("prune", Json::Bool(prune))];
    let request = Request::ForceLeave { node, prune };
    connect(flags)?
        .order(&request)
        .map_err(failed("Error force leaving"))?;
    match is_json(flags) {
        true => tell(flags, b"", json, out),
        // As the reference has it.
        false => Ok(()),
    }
}

fn join(flags: &Flags, out: &mut dyn Write) -> Outcome {
    if flags.arguments().is_empty() {
        let words = "At least one address to join must be specified.";
        return Err(Failure::Usage(words.to_owned()));
    }
    let addresses = flags.arguments().iter().map(|a| bytes(a)).collect();
    let contacted = connect(flags)?
        .join(addresses, flags.flag("replay"))
        .map_err(failed("Error joining the cluster"))?;
    let text = format!("Successfully joined cluster by contacting {contacted} nodes.");
    let json = vec![("contacted", Json::Number(contacted.into()))];
    tell(flags, text.as_bytes(), json, out)
}

fn leave(flags: &Flags, out: &mut dyn Write) -> Outcome {
    connect(flags)?.leave().map_err(failed("Error leaving"))?;
    let json = vec![("left", Json::Bool(true))];
    tell(flags, b"Graceful leave complete", json, out)
}

fn tags(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (set, delete) = (flags.byte_values("set"), flags.byte_values("delete"));
    if set.is_empty() && delete.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let mut client = connect(flags)?;
    let set = pairs(set)?;
    let delete = delete.to_vec();
    let json = vec![
        ("set", Json::map(&set, |value| Json::text(value))),
        ("deleted", Json::texts(&delete)),
    ];
    let request = Request::Tags { set, delete };
    client
        .order(&request)
        .map_err(failed("Error setting tags"))?;
    tell(flags, b"Successfully updated agent tags", json, out)
}

/// The version, the protocols understood, and a line of our own: what the build has (agent spec 3.12).
fn version(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let features = FEATURES.iter().filter(|feature| feature.present);
    let text = format!(
        "{version}\nAgent Protocol: {PROTOCOL_MAX} (Understands back to: {PROTOCOL_MIN})\nFeatures:{}",
        features::present()
    );
    let protocol = vec![
        ("max", Json::Number(PROTOCOL_MAX.into())),
        ("min", Json::Number(PROTOCOL_MIN.into())),
    ];
    let json = vec![
        ("version", Json::text(version)),
        ("protocol", Json::object(protocol)),
        (
            "features",
            Json::List(features.map(|feature| Json::text(feature.name)).collect()),
        ),
    ];
    tell(flags, text.as_bytes(), json, out)
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

fn info(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let stats = connect(flags)?
        .stats()
        .map_err(failed("Error querying agent"))?;
    let text = match format(flags) {
        "json" => Json::map(&stats, |figures| {
            Json::map(figures, |figure| Json::text(figure))
        })
        .indented(),
        "text" => {
            let mut text = String::new();
            for (group, figures) in &stats {
                text += &format!("{}:\n", Escaped(group));
                for (key, figure) in figures {
                    text += &format!("\t{} = {}\n", Escaped(key), Escaped(figure));
                }
            }
            text.trim().to_owned()
        }
        other => return Err(unknown_format(other)),
    };
    writeln!(out, "{text}")?;
    Ok(())
}
