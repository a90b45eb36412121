//! `handler queue`, `handler drop`, `handler pause` and `handler resume`.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::number;
use crate::cli::columns::columns;
use crate::cli::command::flags::Flags;
use crate::cli::common::{connect, failed, format, tell, unknown_format};
use crate::cli::failure::{Failure, Outcome};
use crate::count::Count;
use crate::handler::moment::Rfc3339;
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::queue::QueueEntry;
use crate::wire::name::Escaped;

pub(super) fn unsupported(command: &str) -> Failure {
    Failure::Message(format!(
        "This agent does not support '{command}': it is a Serf agent or an older cottar"
    ))
}

pub(in crate::cli) fn queue(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let show = match format(flags) {
        "json" => json,
        "text" => table,
        other => return Err(unknown_format(other)),
    };
    let (entries, more) = connect(flags)?
        .handler_queue()
        .map_err(failed("Error listing the queue"))?
        .ok_or_else(|| unsupported("handler queue"))?;
    writeln!(out, "{}", show(&entries, more))?;
    Ok(())
}

fn table(entries: &[QueueEntry], more: u64) -> String {
    let titles = ["ID", "AGE", "EVENT", "HANDLER", "ATTEMPTS", "STATE"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for entry in entries {
        rows.push(vec![
            Escaped(&entry.id).to_string(),
            age(entry.age_micros),
            event(entry),
            Escaped(&entry.handler).to_string(),
            entry.attempts.to_string(),
            Escaped(&entry.state).to_string(),
        ]);
    }
    let mut text = columns(&rows);
    if more > 0 {
        text += &format!("\nand {}", Count(more, "more event"));
    }
    text
}

/// Returns the event's type and name, and its members.
fn event(entry: &QueueEntry) -> String {
    let mut text = Escaped(&entry.event).to_string();
    for (index, name) in entry.members.iter().enumerate() {
        text += if index == 0 { ": " } else { ", " };
        text += &Escaped(name).to_string();
    }
    let more = entry
        .member_count
        .saturating_sub(entry.members.len() as u64);
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// Formats an age in at most two units.
fn age(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0..60 => format!("{seconds}.{}s", micros / 100_000 % 10),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn json(entries: &[QueueEntry], more: u64) -> String {
    let one = |entry: &QueueEntry| {
        Json::object(vec![
            ("id", Json::text(&entry.id)),
            ("taken", Json::text(Rfc3339(entry.taken_micros).to_string())),
            ("age_micros", number(entry.age_micros)),
            ("event", Json::text(&entry.event)),
            ("members", Json::texts(&entry.members)),
            ("member_count", number(entry.member_count)),
            ("handler", Json::text(&entry.handler)),
            ("attempts", number(entry.attempts)),
            ("state", Json::text(&entry.state)),
        ])
    };
    let entries = Json::List(entries.iter().map(one).collect());
    Json::object(vec![("entries", entries), ("more", number(more))]).indented()
}

/// Returns the only argument, if it is given.
fn argument(flags: &Flags) -> Result<Option<&OsString>, Failure> {
    match flags.arguments() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Failure::Usage("Too many arguments.".to_owned())),
    }
}

/// Returns the only argument; an empty name, which stands for all, if it is left out. Refuses an empty
/// argument with the message `if_empty`: it may come from an unset variable, and the agent would take it for
/// all.
pub(super) fn one_or_all(flags: &Flags, if_empty: &str) -> Result<Vec<u8>, Failure> {
    match argument(flags)? {
        None => Ok(Vec::new()),
        Some(argument) if argument.is_empty() => Err(Failure::Message(if_empty.to_owned())),
        Some(argument) => Ok(argument.as_bytes().to_vec()),
    }
}

pub(in crate::cli) fn drop(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let if_empty = "The name or id is empty. To drop all waiting events, omit it.";
    let target = one_or_all(flags, if_empty)?;
    let count = connect(flags)?
        .handler_drop(target)
        .map_err(failed("Error dropping events"))?
        .ok_or_else(|| unsupported("handler drop"))?;
    let text = format!("Dropped {}", Count(count, "event"));
    tell(
        flags,
        text.as_bytes(),
        vec![("dropped", number(count))],
        out,
    )
}

pub(in crate::cli) fn pause(flags: &Flags, out: &mut dyn Write) -> Outcome {
    set_paused(flags, true, out)
}

pub(in crate::cli) fn resume(flags: &Flags, out: &mut dyn Write) -> Outcome {
    set_paused(flags, false, out)
}

fn set_paused(flags: &Flags, is_paused: bool, out: &mut dyn Write) -> Outcome {
    let Some(name) = argument(flags)? else {
        let words = "The name of a handler must be specified.";
        return Err(Failure::Usage(words.to_owned()));
    };
    let (command, done) = match is_paused {
        true => ("handler pause", "Paused"),
        false => ("handler resume", "Resumed"),
    };
    let name = name.as_bytes().to_vec();
    let request = Request::PauseHandler {
        name: name.clone(),
        is_paused,
    };
    let supported = connect(flags)?
        .execute_if_known(&request)
        .map_err(failed("Error changing the handler"))?;
    if !supported {
        return Err(unsupported(command));
    }
    let text = format!("{done} handler '{}'", Escaped(&name));
    let json = vec![
        ("name", Json::text(&name)),
        ("paused", Json::Bool(is_paused)),
    ];
    tell(flags, text.as_bytes(), json, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_listed() {
        let entry = QueueEntry {
            id: b"user:7:0123".to_vec(),
            taken_micros: 1_700_000_000_000_000,
            age_micros: 61_250_000,
            event: b"user-event: a\tb".to_vec(),
            members: Vec::new(),
            member_count: 0,
            handler: b"echo".to_vec(),
            attempts: 1,
            state: b"running".to_vec(),
        };
        let entries = [entry];
        assert_eq!(
            table(&entries, 2),
            "ID           AGE   EVENT             HANDLER  ATTEMPTS  STATE\n\
             user:7:0123  1m1s  user-event: a\\tb  echo     1         running\n\
             and 2 more events"
        );
        let text = json(&entries, 0);
        assert!(
            text.contains("\"taken\": \"2023-11-14T22:13:20.000Z\","),
            "{text}"
        );
        assert!(text.contains("\"more\": 0\n"), "{text}");
        assert_eq!(json(&[], 0), "{\n  \"entries\": [],\n  \"more\": 0\n}");
    }

    #[test]
    fn member_events_say_whom_they_are_about() {
        for (members, member_count, shown) in [
            (&[][..], 0, "member-failed"),
            (&["a"], 1, "member-failed: a"),
            (
                &["a", "b\n", "c"],
                5,
                "member-failed: a, b\\n, c and 2 more",
            ),
        ] {
            let entry = QueueEntry {
                event: b"member-failed".to_vec(),
                members: members
                    .iter()
                    .map(|name| name.as_bytes().to_vec())
                    .collect(),
                member_count,
                ..QueueEntry::default()
            };
            assert_eq!(event(&entry), shown);
        }
    }

    #[test]
    fn ages_have_two_units() {
        for (micros, shown) in [
            (0, "0.0s"),
            (59_999_999, "59.9s"),
            (60_000_000, "1m0s"),
            (3_600_000_000, "1h0m"),
            (90_061_000_000, "25h1m"),
        ] {
            assert_eq!(age(micros), shown);
        }
    }
}
