//! `monitor`: prints the log and the events of an agent as they arrive (agent spec 3.11); [`events`] prints
//! events only.

mod events;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::client::Error;
use super::command::flags::Flags;
use super::common::{connect, failed, is_json};
use super::failure::{Failure, Outcome};
use super::members::object;
use super::terminal::Foreign;
use crate::go;
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::record::{EventRecord, decode_line};
use crate::rpc::reply::Member;

const NO_LOG: &str = "-log-level cannot be used with -event";
const AGENT_GONE: &str = "
Remote side ended the monitor! This usually means that the
agent has ended or that the network connection to it is lost.";

pub(super) fn monitor(flags: &Flags, out: &mut dyn Write) -> Outcome {
    if flags.is_given("event") {
        return match flags.is_given("log-level") {
            true => Err(Failure::Message(NO_LOG.to_owned())),
            false => events::events(flags, out),
        };
    }
    for name in ["count", "timeout"] {
        if flags.is_given(name) {
            let words = format!("-{name} requires -event");
            return Err(Failure::Message(words));
        }
    }
    leave_by_interrupt()?;
    let mut client = connect(flags)?;
    let filter = b"*".to_vec();
    let events = client
        .subscribe(&Request::Stream { filter })
        .map_err(failed("Error starting stream"))?;
    let level = flags.value("log-level").unwrap_or("info").into();
    client
        .subscribe(&Request::Monitor { level })
        .map_err(failed("Error starting monitor"))?;
    client.watch_stdout();
    let foreign = Foreign::for_stdout();
    loop {
        let (seq, body) = match client.pushed(None) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(Error::Closed) => return Err(Failure::Message(AGENT_GONE.to_owned())),
            Err(Error::Unread) => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            Err(why) => return Err(failed("Error receiving records")(why)),
        };
        let text = if seq == events {
            EventRecord::decode(&body).map(|event| match is_json(flags) {
                true => format!("{}\n", json(&event).line()).into_bytes(),
                false => shown(&event),
            })
        } else {
            decode_line(&body).map(|line| {
                let mut shown = Vec::with_capacity(line.len() + 1);
                if is_json(flags) {
                    let object = Json::object(vec![("Log", Json::text(line))]);
                    shown.extend(object.line().into_bytes());
                } else {
                    // Writing to memory cannot fail.
                    let _ = foreign.write(&line, &mut shown);
                }
                shown.push(b'\n');
                shown
            })
        };
        write_whole(&text.map_err(no_record)?, out)?;
    }
}

/// Lets SIGINT end the command with status 0; each record is written as a whole before the next is read.
fn leave_by_interrupt() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 0, always)?;
    Ok(())
}

fn no_record(why: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("Error receiving records: not a record: {why}"))
}

fn write_whole(text: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// Returns one line per field, in order of their names.
fn shown(event: &EventRecord) -> Vec<u8> {
    let members = |members: &Vec<Member>| {
        let list: Vec<_> = members.iter().map(member).collect();
        format!("[{}]", list.join(", "))
    };
    let fields = [
        (
            "Coalesce",
            event.coalesce.map(|coalesce| coalesce.to_string()),
        ),
        ("Event", Some(go::quote(&event.event))),
        ("ID", event.id.map(|id| id.to_string())),
        ("LTime", event.ltime.map(|ltime| ltime.to_string())),
        ("Members", event.members.as_ref().map(members)),
        ("Name", event.name.as_deref().map(go::quote)),
        ("Payload", event.payload.as_deref().map(go::quote)),
    ];
    let mut text = "Event Info:\n".to_owned();
    for (key, value) in fields {
        if let Some(value) = value {
            text += &format!("\t{key}: {value}\n");
        }
    }
    text.into_bytes()
}

/// Returns the event's fields under their RPC names; members as `members` prints them.
fn json(event: &EventRecord) -> Json {
    let number = |number: u64| Json::Decimal(number.to_string());
    let members = |members: &Vec<Member>| Json::List(members.iter().map(object).collect());
    let fields = [
        ("Event", Some(Json::text(&event.event))),
        ("Name", event.name.as_ref().map(Json::text)),
        ("Payload", event.payload.as_ref().map(Json::text)),
        ("LTime", event.ltime.map(number)),
        ("Coalesce", event.coalesce.map(Json::Bool)),
        ("ID", event.id.map(number)),
        ("Members", event.members.as_ref().map(members)),
    ];
    let fields = fields.into_iter();
    Json::object(
        fields
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
    )
}

fn member(member: &Member) -> String {
    let address = match member.ip() {
        Some(ip) => ip.to_string(),
        None => go::quote(&member.addr),
    };
    let tags: Vec<_> = member
        .tags
        .iter()
        .map(|(key, value)| format!("{}: {}", go::quote(key), go::quote(value)))
        .collect();
    format!(
        "{{Name: {}, Addr: {address}, Port: {}, Status: {}, Tags: {{{}}}, Protocol: {} [{}, {}]}}",
        go::quote(&member.name),
        member.port,
        go::quote(&member.status),
        tags.join(", "),
        member.delegate_current,
        member.delegate_min,
        member.delegate_max
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(event: &EventRecord) -> String {
        String::from_utf8(shown(event)).unwrap()
    }

    #[test]
    fn events_are_shown_field_by_field() {
        let user = EventRecord {
            event: b"user".to_vec(),
            ltime: Some(1),
            name: Some(b"deploy".to_vec()),
            payload: Some(b"p\x01\"".to_vec()),
            coalesce: Some(false),
            ..EventRecord::default()
        };
        assert_eq!(
            text(&user),
            "Event Info:\n\tCoalesce: false\n\tEvent: \"user\"\n\tLTime: 1\n\tName: \"deploy\"\n\tPayload: \"p\\x01\\\"\"\n"
        );
        let join = EventRecord {
            event: b"member-join".to_vec(),
            members: Some(vec![Member {
                name: b"n1\n".to_vec(),
                addr: vec![127, 0, 0, 1],
                port: 28001,
                tags: [(b"role".to_vec(), b"web".to_vec())].into(),
                status: b"alive".to_vec(),
                delegate_min: 2,
                delegate_max: 5,
                delegate_current: 5,
                ..Member::default()
            }]),
            ..EventRecord::default()
        };
        assert_eq!(
            text(&join),
            "Event Info:\n\tEvent: \"member-join\"\n\tMembers: [{Name: \"n1\\n\", Addr: 127.0.0.1, Port: 28001, Status: \"alive\", Tags: {\"role\": \"web\"}, Protocol: 5 [2, 5]}]\n"
        );
    }
}
