//! `keys` and `keygen` (agent spec 3.10).

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::columns::columns;
use super::command::flags::Flags;
use super::common::{connect, is_json, tell};
use super::failure::{Failure, Outcome};
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::cluster::KeyReply;
use crate::wire::name::Escaped;

/// Size of a new key in bytes: the largest supported one.
const KEY_BYTES: usize = 32;

/// Prints a new key.
pub(super) fn keygen(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let key = generate().map_err(|why| {
        let _ = writeln!(
            io::stderr(),
            "cottar: cannot get random bytes for a key: {why}"
        );
        Failure::Silent
    })?;
    tell(flags, key.as_bytes(), vec![("key", Json::text(&key))], out)
}

/// Generates a key and encodes it in base64.
fn generate() -> io::Result<String> {
    let mut key = [0; KEY_BYTES];
    getrandom::getrandom(&mut key).map_err(|why| io::Error::other(why.to_string()))?;
    Ok(STANDARD.encode(key))
}

/// Request and messages of the operation that a flag asks for.
struct Task {
    request: Request,
    begin: &'static str,
    success: &'static str,
    failure: &'static str,
}

/// Returns the operation that the flags ask for.
fn task(flags: &Flags) -> Result<Task, Failure> {
    let key = |name| {
        flags
            .value(name)
            .filter(|key| !key.is_empty())
            .map(Vec::from)
    };
    let tasks = [
        key("install").map(|key| Task {
            request: Request::InstallKey { key },
            begin: "Installing key on all members...",
            success: "Successfully installed key!",
            failure: "Error installing key",
        }),
        key("use").map(|key| Task {
            request: Request::UseKey { key },
            begin: "Changing primary key on all members...",
            success: "Successfully changed primary key!",
            failure: "Error changing primary key",
        }),
        key("remove").map(|key| Task {
            request: Request::RemoveKey { key },
            begin: "Removing key on all members...",
            success: "Successfully removed key!",
            failure: "Error removing key",
        }),
        flags.flag("list").then_some(Task {
            request: Request::ListKeys,
            begin: "Asking all members for installed keys...",
            success: "Keys gathered, listing cluster keys...",
            failure: "Failed to gather member keys",
        }),
    ];
    let mut tasks = tasks.into_iter().flatten();
    match (tasks.next(), tasks.next()) {
        (Some(task), None) => Ok(task),
        (None, _) => Err(Failure::Usage(String::new())),
        (Some(_), Some(_)) => Err(Failure::Message(
            "Only one of -install, -use, -remove, or -list allowed".to_owned(),
        )),
    }
}

pub(super) fn keys(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let task = task(flags)?;
    let mut client = connect(flags)?;
    if !is_json(flags) {
        writeln!(out, "==> {}", task.begin)?;
        out.flush()?;
    }
    let failed = |why: &dyn std::fmt::Display| format!("\n{}: {why}", task.failure);
    let (reply, error) = client
        .keys(&task.request)
        .map_err(|why| Failure::Message(failed(&why)))?;
    if is_json(flags) {
        writeln!(out, "{}", json(&reply).indented())?;
        // Without a table, the error needs no leading empty line.
        let failed = |why: String| Failure::Message(failed(&why).trim_start().to_owned());
        return error.map_or(Ok(()), |why| Err(failed(why)));
    }
    if let Some(why) = error {
        if !reply.messages.is_empty() {
            writeln!(out, "{}", messages("failed:", &reply))?;
        }
        return Err(Failure::Message(failed(&why)));
    }
    writeln!(out, "==> {}", task.success)?;
    if task.request == Request::ListKeys {
        writeln!(out, "\n{}", listed(&reply))?;
        // Messages may come with success, for example if a list was cut at the size limit.
        if !reply.messages.is_empty() {
            let _ = writeln!(io::stderr(), "{}", messages("note:", &reply));
        }
    }
    Ok(())
}

/// Returns the agent's reply as JSON, with the field names of RPC.
fn json(reply: &KeyReply) -> Json {
    Json::object(vec![
        ("Keys", Json::map(&reply.keys, |n| Json::Number(*n))),
        (
            "Messages",
            Json::map(&reply.messages, |text| Json::text(text)),
        ),
        ("NumErr", Json::Number(reply.num_err)),
        ("NumNodes", Json::Number(reply.num_nodes)),
        ("NumResp", Json::Number(reply.num_resp)),
    ])
}

fn messages(word: &str, reply: &KeyReply) -> String {
    let cell = |text: &[u8]| Escaped(text).to_string();
    let rows: Vec<_> = reply
        .messages
        .iter()
        .map(|(node, message)| vec![word.to_owned(), cell(node), cell(message)])
        .collect();
    columns(&rows)
}

fn listed(reply: &KeyReply) -> String {
    let rows: Vec<_> = reply
        .keys
        .iter()
        .map(|(key, count)| {
            let share = format!("[{count}/{}]", reply.num_nodes);
            vec![Escaped(key).to_string(), share]
        })
        .collect();
    columns(&rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_of_32_bytes_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(STANDARD.decode(&one).unwrap().len(), KEY_BYTES);
        assert_ne!(one, other);
    }
}
