//! What each command does once its line is read (agent spec 3.2 to 3.11).

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::client::{self, Client};
use super::columns::columns;
use super::flags::Flags;
use super::help::help;
use super::json::Json;
use crate::go;
use crate::rpc::reply::Member;
use crate::rpc::{Request, TextMap};
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
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

pub(super) type Outcome = Result<(), Failure>;

/// Runs a command that calls an agent; what it has to say goes to `out`.
///
/// # Errors
/// See [`Failure`].
pub fn run(flags: &Flags, out: &mut dyn Write) -> Outcome {
    match flags.command().name {
        "event" => event(flags, out),
        "force-leave" => force_leave(flags),
        "handler list" => super::handler::list(flags, out),
        "info" => info(flags, out),
        "join" => join(flags, out),
        "keys" => super::keys::keys(flags, out),
        "leave" => leave(flags, out),
        "members" => members(flags, out),
        "monitor" => super::monitor::monitor(flags, out),
        "query" => super::query::query(flags, out),
        "reachability" => super::reachability::reachability(flags, out),
        "rtt" => super::rtt::rtt(flags, out),
        "tags" => tags(flags, out),
        name => Err(Failure::Message(format!("{name} calls no agent"))),
    }
}

/// Prints what went wrong. Whether anybody still reads that changes nothing: the command has failed.
pub fn report(failure: Failure, flags: &Flags, out: &mut dyn Write) -> ExitCode {
    let printed = match failure {
        Failure::Message(text) => writeln!(out, "{text}"),
        Failure::Usage(text) if text.is_empty() => write!(out, "{}", help(flags.command())),
        Failure::Usage(text) => write!(out, "{text}\n\n{}", help(flags.command())),
        Failure::Silent => Ok(()),
        Failure::Output(why) => return output_failed(&why),
    };
    if let Err(why) = printed.and_then(|()| out.flush()) {
        output_failed(&why);
    }
    ExitCode::FAILURE
}

/// The exit status when the output cannot be written. A reader that has gone away is no error.
pub fn output_failed(why: &io::Error) -> ExitCode {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "cottar: cannot write the output: {why}");
    ExitCode::FAILURE
}

pub(super) fn connect(flags: &Flags) -> Result<Client, Failure> {
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
    Client::connect(&address, &key).map_err(failed("Error connecting to Serf agent"))
}

fn default(flags: &Flags, name: &str) -> &'static str {
    flags.command().flag(name).map_or("", |flag| flag.default)
}

/// Puts words in front of a failed call.
pub(super) fn failed(what: &str) -> impl Fn(client::Error) -> Failure {
    move |why| Failure::Message(format!("{what}: {why}"))
}

/// `KEY=VALUE` flags as a map.
pub(super) fn pairs(values: &[String]) -> Result<TextMap, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err(Failure::Message(format!("Error: Invalid tag: '{text}'"))),
    };
    values.iter().map(pair).collect()
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
    let request = Request::Event {
        name: name.clone(),
        payload,
        coalesce,
    };
    connect(flags)?
        .order(&request)
        .map_err(failed("Error sending event"))?;
    out.write_all(b"Event '")?;
    out.write_all(&name)?;
    writeln!(out, "' dispatched! Coalescing enabled: {coalesce}")?;
    Ok(())
}

fn force_leave(flags: &Flags) -> Outcome {
    let [node] = flags.arguments() else {
        let words = "A node name must be specified to force leave.";
        return Err(Failure::Usage(words.to_owned()));
    };
    let request = Request::ForceLeave {
        node: bytes(node),
        prune: flags.flag("prune"),
    };
    connect(flags)?
        .order(&request)
        .map_err(failed("Error force leaving"))
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
    writeln!(
        out,
        "Successfully joined cluster by contacting {contacted} nodes."
    )?;
    Ok(())
}

fn leave(flags: &Flags, out: &mut dyn Write) -> Outcome {
    connect(flags)?.leave().map_err(failed("Error leaving"))?;
    writeln!(out, "Graceful leave complete")?;
    Ok(())
}

fn tags(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (set, delete) = (flags.values("set"), flags.values("delete"));
    if set.is_empty() && delete.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let mut client = connect(flags)?;
    let request = Request::Tags {
        set: pairs(set)?,
        delete: delete.iter().map(|key| key.clone().into_bytes()).collect(),
    };
    client
        .order(&request)
        .map_err(failed("Error setting tags"))?;
    writeln!(out, "Successfully updated agent tags")?;
    Ok(())
}

fn members(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let mut tags = pairs(flags.values("tag"))?;
    if let Some(role) = flags.value("role").filter(|role| !role.is_empty()) {
        let _ = writeln!(
            io::stderr(),
            "Deprecation warning: 'Role' has been replaced with 'Tags'"
        );
        tags.insert(b"role".to_vec(), role.into());
    }
    let filter = |name| flags.value(name).unwrap_or_default().into();
    let request = Request::MembersFiltered {
        tags,
        status: filter("status"),
        name: filter("name"),
    };
    let mut members = connect(flags)?
        .members(&request)
        .map_err(failed("Error retrieving members"))?;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let text = match format(flags) {
        "json" => members_json(&members).print(),
        "text" => {
            let detailed = flags.flag("detailed");
            let rows: Vec<_> = members.iter().map(|m| member_row(m, detailed)).collect();
            columns(&rows)
        }
        other => return Err(unknown_format(other)),
    };
    writeln!(out, "{text}")?;
    Ok(())
}

pub(super) fn format(flags: &Flags) -> &str {
    flags.value("format").unwrap_or(default(flags, "format"))
}

pub(super) fn unknown_format(format: &str) -> Failure {
    let quoted = go::quote(format.as_bytes());
    Failure::Message(format!("Encoding error: Invalid output format {quoted}"))
}

fn address(member: &Member) -> String {
    match member.socket_addr() {
        Some(address) => address.to_string(),
        None => "?".to_owned(),
    }
}

/// What is in a member's cells cannot break the table: nothing in them splits a cell or a line.
fn member_row(member: &Member, detailed: bool) -> Vec<String> {
    let cell = |text: &[u8]| Escaped(text).to_string().trim().to_owned();
    let tags: Vec<_> = member
        .tags
        .iter()
        .map(|(key, value)| format!("{}={}", Escaped(key), Escaped(value)))
        .collect();
    let mut row = vec![
        cell(&member.name),
        address(member),
        cell(&member.status),
        tags.join(",").trim().to_owned(),
    ];
    if detailed {
        row.push(format!("Protocol Version: {}", member.delegate_current));
        row.push(format!(
            "Available Protocol Range: [{}, {}]",
            member.delegate_min, member.delegate_max
        ));
    }
    row
}

fn members_json(members: &[Member]) -> Json {
    let one = |member: &Member| {
        Json::object([
            ("name", Json::text(&member.name)),
            ("addr", Json::text(address(member))),
            ("port", Json::Number(member.port.into())),
            ("tags", Json::map(&member.tags, |value| Json::text(value))),
            ("status", Json::text(&member.status)),
            (
                "protocol",
                Json::object([
                    ("max", Json::Number(member.delegate_max.into())),
                    ("min", Json::Number(member.delegate_min.into())),
                    ("version", Json::Number(member.delegate_current.into())),
                ]),
            ),
        ])
    };
    let list = match members {
        [] => Json::Null,
        members => Json::List(members.iter().map(one).collect()),
    };
    Json::object([("members", list)])
}

fn info(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let stats = connect(flags)?
        .stats()
        .map_err(failed("Error querying agent"))?;
    let text = match format(flags) {
        "json" => Json::map(&stats, |figures| {
            Json::map(figures, |figure| Json::text(figure))
        })
        .print(),
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
