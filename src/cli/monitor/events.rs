//! `monitor -event`: prints events only, one per line, for shell scripts.

use std::io::{self, Write};

use super::{AGENT_GONE, leave_by_interrupt, no_record, write_whole};
use crate::cli::client::{Client, Error};
use crate::cli::command::flags::Flags;
use crate::cli::common::{NO_CONNECTION, failed, is_json, place};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::members::{field, object};
use crate::cli::wait::timeout;
use crate::handler::EventFilter;
use crate::handler::filter::FILTERS_ALLOWED;
use crate::handler::json::EventObject;
use crate::json::Json;
use crate::os::clock::Deadline;
use crate::rpc::Request;
use crate::rpc::record::EventRecord;
use crate::wire::name::Escaped;

pub(super) fn events(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let filter = filter(flags)?;
    let wanted = match flags.integer("count").map_or(Ok(0), u64::try_from) {
        Ok(count) => count,
        Err(_) => {
            let words = "-count must not be negative";
            return Err(Failure::Message(words.to_owned()));
        }
    };
    if wanted == 0 {
        leave_by_interrupt()?;
    }
    let timeout = timeout(flags)?;
    let deadline = timeout.map(Deadline::after);
    let mut came = 0;
    let timed_out = |came| match wanted {
        0 => Failure::Incomplete(format!("Timed out: {came} events received")),
        wanted => Failure::Incomplete(format!("Timed out: {came} of {wanted} events received")),
    };
    let mut client = match subscribe(flags, deadline, filter) {
        Ok(client) => client,
        Err((_, Error::Interrupted)) => return Err(timed_out(came)),
        Err((what, why)) => return Err(failed(what)(why)),
    };
    client.watch_stdout();
    loop {
        let body = match client.pushed(None) {
            Ok(Some((_, body))) => body,
            Ok(None) => continue,
            Err(Error::Interrupted) => return Err(timed_out(came)),
            Err(Error::Closed) => return Err(Failure::Message(AGENT_GONE.to_owned())),
            Err(Error::Unread) => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            Err(why) => return Err(failed("Error receiving events")(why)),
        };
        let event = EventRecord::decode(&body).map_err(no_record)?;
        let text = match is_json(flags) {
            true => format!("{}\n", json(&event).line()),
            false => lines(&event),
        };
        write_whole(text.as_bytes(), out)?;
        came += 1;
        if came == wanted {
            return Ok(());
        }
    }
}

/// Joins all `-event` flags to one filter list.
fn filter(flags: &Flags) -> Result<Vec<u8>, Failure> {
    let list = flags.byte_values("event").join(&b',');
    for token in list.split(|byte| *byte == b',') {
        if EventFilter::parse(token).is_none() {
            let token = Escaped(token);
            let words = format!("'{token}' is not an event type; use {FILTERS_ALLOWED}");
            return Err(Failure::Message(words));
        }
    }
    Ok(list)
}

/// Subscribes to the events and reports that on stderr. An agent without our own command closes the
/// connection, so the fallback uses a second one.
fn subscribe(
    flags: &Flags,
    deadline: Option<Deadline>,
    filter: Vec<u8>,
) -> Result<Client, (&'static str, Error)> {
    let (address, key) = place(flags);
    let connect =
        || Client::connect_before(deadline, &address, &key).map_err(|why| (NO_CONNECTION, why));
    let refused = |why| ("Error starting stream", why);
    let shown = Escaped(&filter).to_string();
    let mut client = connect()?;
    let request = Request::OwnStream {
        filter: filter.clone(),
    };
    let is_detailed = client.subscribe_own(&request).map_err(refused)?.is_some();
    if !is_detailed {
        client = connect()?;
        let request = Request::Stream { filter };
        client.subscribe(&request).map_err(refused)?;
    }
    let mut ready = format!("Ready, waiting for {shown}\n");
    if !is_detailed && is_json(flags) {
        ready += "This is a Serf agent or an older cottar: the fields id, time, self, from and \
                  deadline are missing\n";
    }
    let _ = io::stderr().write_all(ready.as_bytes());
    Ok(client)
}

/// Returns one line per member, or one line. Fields that may be empty come last, so that shells that merge
/// adjacent tabs read the others correctly.
fn lines(event: &EventRecord) -> String {
    let line = |cells: Vec<Vec<u8>>| {
        let cells = cells.iter().map(|cell| format!("\t{}", Escaped(cell)));
        format!("{}{}\n", Escaped(&event.event), cells.collect::<String>())
    };
    let cell = |bytes: &Option<Vec<u8>>| bytes.clone().unwrap_or_default();
    let Some(members) = &event.members else {
        let ltime = event.ltime.unwrap_or_default().to_string().into_bytes();
        return line(vec![cell(&event.name), ltime, cell(&event.payload)]);
    };
    let of = |member| {
        ["name", "addr", "status", "tags"]
            .map(|name| field(member, name))
            .to_vec()
    };
    members.iter().map(|member| line(of(member))).collect()
}

/// Returns the event as handlers with `input=json` get it.
fn json(event: &EventRecord) -> Json {
    let more = event.more.as_ref();
    EventObject {
        event: &event.event,
        id: more.map(|more| &*more.id),
        replay: false,
        attempt: 1,
        taken_micros: more.map(|more| more.taken_micros),
        local: more.map(|more| {
            (
                &*more.node,
                Json::map(&more.tags, |value| Json::text(value)),
            )
        }),
        members: event
            .members
            .as_ref()
            .map(|members| members.iter().map(object).collect()),
        name: event.name.as_deref(),
        ltime: event.ltime,
        payload: event.payload.as_deref().unwrap_or_default(),
        from: more.map(|more| &*more.from).filter(|from| !from.is_empty()),
        deadline_micros: more.map(|more| more.deadline_micros).filter(|at| *at > 0),
    }
    .json()
}
