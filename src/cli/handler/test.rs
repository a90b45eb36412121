//! `handler test`: runs a handler for a synthetic event, with the agent's own code.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::event::handler_and_event;
use super::report::{Limits, Report, Style, Verdict};
use crate::agent::config::directory::{self, examine_declared};
use crate::agent::config::sources::{Sources, Waiting};
use crate::agent::config::{node_name, parse_handlers};
use crate::agent::process::{Alone, GRACE};
use crate::cli::command::flags::Flags;
use crate::cli::common::pairs;
use crate::cli::failure::Failure;
use crate::handler::outcome::{Answer, NOT_RUN, output_bytes_kept};
use crate::handler::settings::name_all;
use crate::handler::synthetic::{QUERY_TIME, synthetic_event};
use crate::handler::{Described, End, HandlerQueue, HandlerSettings, Local};
use crate::os::error::os_error;
use crate::os::sys;
use crate::serf::config::PROTOCOL_MAX;
use crate::serf::{Command, Event, INTERNAL_PREFIX, Tags, encode_response};
use crate::time::Duration;
use crate::wire::NodeName;
use crate::wire::limits::META_BYTES_MAX;
use crate::wire::name::Escaped;
use crate::wire::serf::{QueryResponseMessage, TAGS_TOO_LONG};

/// Limit for answers: the reference's default.
const ANSWER_BYTES_MAX: usize = 1024;

/// Runs the handler, prints its input and outcome, and returns the exit status.
pub(in crate::cli) fn test(flags: &Flags, out: &mut dyn Write) -> Result<u8, Failure> {
    let (handler, event) = handler_and_event(flags)?;
    let style = Style::of(flags)?;
    let handler = at_once(settings(flags, handler)?);
    let event = synthetic_event(&event.words, event.ltime);
    let mut event = event.map_err(Failure::Message)?;
    let (name, tags) = node(flags)?;
    let limits = limits(flags, &handler)?;
    let described = Described(&event).to_string();
    if let Some(why) = obstacle(&handler, &event) {
        let _ = writeln!(io::stderr(), "Not run for '{described}': {why}");
        return Ok(NOT_RUN);
    }
    let mut report = Report::new(style, described, matches!(event, Event::Query(_)), limits);
    let failed =
        |why: io::Error| Failure::Message(format!("Cannot run handlers: {}", os_error(&why)));
    let Limits { time, grace, .. } = report.limits;
    let kept = output_bytes_kept(report.limits.answer_bytes);
    let mut alone = Alone::new(time, grace, kept).map_err(failed)?;
    let mut queue = HandlerQueue::new(vec![handler]);
    let members = match &event {
        Event::Member(event) => event.members.clone(),
        _ => Vec::new(),
    };
    let local = Local {
        members: &|| members.clone(),
        ..Local::alone(&name, &tags)
    };
    if let Event::Query(query) = &mut event {
        query.deadline = alone.now() + QUERY_TIME;
    }
    queue.push(event, alone.moment());
    let mut status = None;
    while let Some(invocation) = queue.poll_invocation(local, alone.moment()) {
        report.given(&invocation, out)?;
        let (mut outcome, signal) = alone.run(invocation.clone()).map_err(failed)?;
        if let Some(signal) = signal {
            outcome.end = stopped(signal.as_str());
        }
        let code = match signal {
            Some(signal) => End::Signalled(signal.number()).shell_status(),
            None => outcome.end.shell_status(),
        };
        status = Some(code);
        let answer = queue.handle_outcome(outcome.clone());
        let verdict = answer.map(|answer| judge(&name, answer, report.limits.answer_bytes));
        report.came(&invocation, &outcome, code, verdict, out)?;
        if signal.is_some() {
            break;
        }
    }
    let Some(status) = status else {
        let why = "its settings 'where', 'node', 'status' or 'self' do not let this event through";
        let _ = writeln!(io::stderr(), "Not run: {why}");
        return Ok(NOT_RUN);
    };
    report.end(out)?;
    Ok(status)
}

/// Finds the handler: by name in configuration files, by path in a handler directory, or as text like that of
/// `-event-handler`.
fn settings(flags: &Flags, handler: &OsStr) -> Result<HandlerSettings, Failure> {
    use directory::Verdict::{Refused, Skipped, Undeclared};
    let paths = flags.byte_values("config-file").iter();
    let paths: Vec<PathBuf> = paths.map(|path| OsStr::from_bytes(path).into()).collect();
    if !paths.is_empty() {
        return entry(paths, handler);
    }
    match examine_declared(Path::new(handler)) {
        Some(directory::Verdict::Handler(settings)) => Ok(*settings),
        Some(Skipped(why) | Undeclared(why) | Refused(why)) => {
            let path = Escaped(handler.as_bytes());
            Err(Failure::Message(format!("{path}: {why}")))
        }
        None => HandlerSettings::from_text(handler.as_bytes())
            .map_err(|why| Failure::Message(why.to_string())),
    }
}

/// Returns the handler with that name in configuration files.
fn entry(paths: Vec<PathBuf>, name: &OsStr) -> Result<HandlerSettings, Failure> {
    let sources = Sources {
        paths,
        ..Sources::default()
    };
    let mut notices = Vec::new();
    let settings = sources.read(Waiting::Allowed, &mut notices);
    for notice in notices {
        let _ = writeln!(io::stderr(), "{notice}");
    }
    let handlers = parse_handlers(&settings.map_err(Failure::Message)?.event_handlers);
    let handlers = handlers.map_err(Failure::Message)?;
    let names = name_all(&handlers).unwrap_or_default();
    let wanted = Escaped(name.as_bytes()).to_string();
    let mut named = names.iter().zip(handlers);
    match named.find(|(name, _)| **name == wanted) {
        Some((_, found)) => Ok(found),
        None => Err(Failure::Message(format!(
            "No handler of these files has the name '{wanted}'; they have: {}",
            names.join(", ")
        ))),
    }
}

/// Turns off holding, debouncing, merging and retries.
fn at_once(handler: HandlerSettings) -> HandlerSettings {
    HandlerSettings {
        hold: Duration::ZERO,
        settle: Duration::ZERO,
        latest: false,
        retry: None,
        ..handler
    }
}

/// Returns why no agent would run the handler for the event; `None` if one would.
fn obstacle(handler: &HandlerSettings, event: &Event) -> Option<&'static str> {
    let is_internal = matches!(event, Event::Query(q) if q.name.starts_with(INTERNAL_PREFIX));
    if is_internal {
        return Some("queries whose names begin with _serf_ are for the agents alone");
    }
    let wanted = handler.on.iter().any(|filter| filter.matches(event));
    (!wanted).then_some("the filter of the handler does not let this event through")
}

/// Returns name and tags of the node that the handler is run as.
fn node(flags: &Flags) -> Result<(NodeName, Tags), Failure> {
    let name = flags.byte_value("node").unwrap_or_default();
    let name = node_name(name, &sys::host_name()).map_err(Failure::Message)?;
    let mut tags = Tags::new();
    for (key, value) in pairs(flags.byte_values("tag"))? {
        tags.set(&key, &value);
    }
    if let Some(role) = flags.byte_value("role").filter(|role| !role.is_empty()) {
        tags.set(b"role", role);
    }
    if tags.encode_meta(PROTOCOL_MAX).len() > META_BYTES_MAX {
        return Err(Failure::Message(TAGS_TOO_LONG.to_owned()));
    }
    Ok((name, tags))
}

/// Returns the limits: the handler's own, or else those of the flags.
fn limits(flags: &Flags, handler: &HandlerSettings) -> Result<Limits, Failure> {
    let duration = |name| flags.duration(name).map_err(Failure::Message);
    let answer_bytes = flags.integer("query-response-size-limit");
    if answer_bytes.is_some_and(i64::is_negative) {
        let words = "-query-response-size-limit must not be negative";
        return Err(Failure::Message(words.to_owned()));
    }
    let answer_bytes = answer_bytes.filter(|&bytes| bytes > 0);
    Ok(Limits {
        time: handler
            .timeout
            .or(duration("handler-timeout")?)
            .filter(|limit| !limit.is_zero()),
        grace: handler
            .grace
            .or(duration("handler-grace")?)
            .unwrap_or(GRACE),
        answer_bytes: answer_bytes.map_or(ANSWER_BYTES_MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        }),
    })
}

/// Returns the size of the encoded answer, or why an agent would not send it. Assumes that the answer is in
/// time.
fn judge(name: &NodeName, answer: Answer, limit: usize) -> Verdict {
    let (ltime, id, payload) = match answer.command {
        Command::Respond { ltime, id, payload } => (ltime, id, payload),
        other => return Err(format!("{other:?} is no answer")),
    };
    let reply = QueryResponseMessage {
        ltime,
        id,
        from: name.clone(),
        flags: 0,
        payload: Some(payload),
    };
    encode_response(&reply, limit).map(|encoded| encoded.len())
}

/// Returns the end of a run that a signal to this command has cut short.
fn stopped(signal: &str) -> End {
    End::Failed(format!("stopped by signal: {signal}"))
}
