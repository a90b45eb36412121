//! Commands that need only a few lines each (agent spec 3.2 to 3.12).

use std::io::{self, Write};
use std::process::ExitCode;

use super::command::flags::Flags;
use super::common::{
    bytes, connect, failed, format, is_in_handler, is_json, name_and_payload, pairs, tell,
    unknown_format,
};
use super::failure::{Failure, Outcome};
use crate::agent::config::features::{self, FEATURES};
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::queue::Fired;
use crate::serf::config::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::wire::name::Escaped;

/// Runs the agent itself.
pub(super) fn agent(flags: &Flags) -> ExitCode {
    crate::agent::run(flags)
}

pub(super) fn event(flags: &Flags, out: &mut dyn Write) -> Outcome {
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
    // Serf's agents do not return them.
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

/// Fires an event. An agent without our own command closes the connection, so the fallback uses a second one.
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
    connect(flags)?.execute(&request).map_err(error)?;
    Ok(None)
}

pub(super) fn force_leave(flags: &Flags, out: &mut dyn Write) -> Outcome {
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
        .execute(&request)
        .map_err(failed("Error force leaving"))?;
    match is_json(flags) {
        true => tell(flags, b"", json, out),
        // Prints nothing, like the reference.
        false => Ok(()),
    }
}

pub(super) fn join(flags: &Flags, out: &mut dyn Write) -> Outcome {
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

pub(super) fn leave(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let mut client = connect(flags)?;
    client.leave().map_err(failed("Error leaving"))?;
    // Not in a handler: the agent waits for the handler's end.
    if !is_in_handler() && !client.await_end() {
        let _ = writeln!(
            io::stderr(),
            "Warning: the agent has left, but is still running"
        );
    }
    let json = vec![("left", Json::Bool(true))];
    tell(flags, b"Graceful leave complete", json, out)
}

pub(super) fn tags(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (set, delete) = (flags.byte_values("set"), flags.byte_values("delete"));
    if set.is_empty() && delete.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let set = pairs(set)?;
    let mut client = connect(flags)?;
    let delete = delete.to_vec();
    let json = vec![
        ("set", Json::map(&set, |value| Json::text(value))),
        ("deleted", Json::texts(&delete)),
    ];
    let request = Request::Tags { set, delete };
    client
        .execute(&request)
        .map_err(failed("Error setting tags"))?;
    tell(flags, b"Successfully updated agent tags", json, out)
}

/// Prints the version, the supported protocols, and lines of our own: the build's features, target and commit
/// (agent spec 3.12).
pub(super) fn version(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (version, target) = (env!("CARGO_PKG_VERSION"), env!("COTTAR_TARGET"));
    let (commit, known) = match env!("COTTAR_COMMIT") {
        "" => ("unknown", Json::Null),
        commit => (commit, Json::text(commit)),
    };
    let text = format!(
        "{version}\nAgent Protocol: {PROTOCOL_MAX} (Understands back to: {PROTOCOL_MIN})\nFeatures:{}\n\
         Build: {target}, commit {commit}",
        features::present()
    );
    let features = FEATURES.iter().filter(|feature| feature.present);
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
        ("target", Json::text(target)),
        ("commit", known),
    ];
    tell(flags, text.as_bytes(), json, out)
}

pub(super) fn info(flags: &Flags, out: &mut dyn Write) -> Outcome {
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
