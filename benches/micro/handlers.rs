//! An event in the handler queue: accepted, handed over, and its runs started and ended.

use crate::{Growth, Step, nanos_per_step, peers};
use cottar::agent::config::directory::HandlerDirs;
use cottar::handler::journal::{Journal, Recovered, Settings};
use cottar::handler::{End, HandlerQueue, HandlerSettings, Local, Moment, Outcome};
use cottar::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, MemberStatus, Tags, UserEvent,
};
use cottar::time::{Duration, Instant};
use cottar::wire::VersionVector;
use std::fs;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

/// Maximum time, in nanoseconds, for an event that a hundred handlers do not want.
const UNWANTED: Growth = Growth::Below(2_000.0);

const SETTLE: &str = r#", "settle": "2s""#;
const HOLD: &str = r#", "hold": "30s""#;
const WEB: &str = r#", "where": {"role": "web"}"#;
const DB: &str = r#", "where": {"role": "db"}"#;

pub const STEPS: &[Step] = &[
    step("handlers: user event, none wants it", UNWANTED, |n| {
        user_event(handlers(n, "user:other", ""), false)
    }),
    step("handlers: ... and there is a journal", UNWANTED, |n| {
        user_event(handlers(n, "user:other", ""), true)
    }),
    step("handlers: ... and they settle", UNWANTED, |n| {
        user_event(handlers(n, "user:other", SETTLE), false)
    }),
    step("handlers: ... and they have where", UNWANTED, |n| {
        user_event(handlers(n, "user:other", WEB), false)
    }),
    step("handlers: member event, none wants it", UNWANTED, |n| {
        member_event(handlers(n, "member-failed", ""))
    }),
    step("handlers: ... and they settle", UNWANTED, |n| {
        member_event(handlers(n, "member-failed", SETTLE))
    }),
    step("handlers: ... and they have where", UNWANTED, |n| {
        member_event(handlers(n, "member-failed", WEB))
    }),
    step(
        "handlers: ... and they hold departures",
        Growth::Linear,
        |n| member_event(handlers(n, "member-failed", HOLD)),
    ),
    step("handlers: ... but for its tags", Growth::Linear, |n| {
        member_event(handlers(n, "member-join", DB))
    }),
    step("handlers: user event, one runs", Growth::Constant, |n| {
        let others = handlers(n - 1, "user:other", "");
        user_event(with_one(others, "user:deploy", ""), false)
    }),
    step("handlers: user event, one settles", Growth::Constant, |n| {
        let others = handlers(n - 1, "user:other", SETTLE);
        user_event(with_one(others, "user:deploy", SETTLE), false)
    }),
    step("handlers: member event, one runs", Growth::Constant, |n| {
        let others = handlers(n - 1, "member-failed", DB);
        member_event(with_one(others, "member-join", WEB))
    }),
    step(
        "handlers: directory that was just looked at",
        Growth::Constant,
        look,
    ),
];

const fn step(name: &'static str, growth: Growth, measure: fn(usize) -> f64) -> Step {
    Step {
        name,
        growth,
        measure,
    }
}

/// Returns this many handlers for these events, with further settings.
fn handlers(count: usize, on: &str, further: &str) -> Vec<HandlerSettings> {
    let handler = |index| {
        let text = format!(r#"{{"run": "script-{index}", "on": "{on}"{further}}}"#);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        HandlerSettings::from_object(object.as_object().unwrap()).unwrap()
    };
    (0..count).map(handler).collect()
}

fn with_one(mut others: Vec<HandlerSettings>, on: &str, further: &str) -> Vec<HandlerSettings> {
    others.extend(handlers(1, on, further));
    others
}

fn user_event(handlers: Vec<HandlerSettings>, has_journal: bool) -> f64 {
    let mut queue = HandlerQueue::new(handlers);
    if has_journal {
        queue.attach_journal(Journal::new(Settings::default(), 1), Recovered::default());
    }
    let (name, tags) = (peers::name(0), Tags::new());
    let mut ltime = 0;
    nanos_per_step(1, || {
        ltime += 1;
        let event = UserEvent {
            ltime: LamportTime(ltime),
            name: b"deploy".to_vec(),
            payload: b"v1.2.3".to_vec(),
            coalesce: false,
        };
        queue.take_in(&event, Instant::ORIGIN);
        offer(&mut queue, Event::User(event), Local::alone(&name, &tags));
    })
}

fn member_event(handlers: Vec<HandlerSettings>) -> f64 {
    let (name, tags) = (peers::name(0), Tags::new());
    let mut queue = HandlerQueue::new(handlers);
    let member = Member::new(
        peers::name(1),
        "10.0.0.1:7946".parse().unwrap(),
        &peers::tags(1),
        MemberStatus::Alive,
        VersionVector::serf(5),
    );
    nanos_per_step(1, || {
        queue.note_member(&member.name, MemberEventKind::Join, Instant::ORIGIN);
        let event = MemberEvent {
            kind: MemberEventKind::Join,
            members: vec![member.clone()],
        };
        offer(&mut queue, Event::Member(event), Local::alone(&name, &tags));
    })
}

/// Does what the agent does for an event, until there is nothing left to run.
fn offer(queue: &mut HandlerQueue, event: Event, local: Local<'_>) {
    queue.push(event, Instant::ORIGIN);
    while let Some(run) = queue.poll_invocation(local, Instant::ORIGIN) {
        black_box(run);
        queue.handle_outcome(Outcome {
            end: End::Exited(0),
            output: Vec::new(),
            output_bytes: 0,
            duration: Duration::ZERO,
        });
    }
    black_box((
        queue.poll_timeout(),
        queue.poll_handled_query(),
        queue.poll_ended(),
    ));
}

/// Time between two checks of its files.
fn look(files: usize) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..files {
        let path = directory.path().join(format!("handler-{index}"));
        fs::write(&path, "#!/bin/sh\n# cottar: on=user:other\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut directories = HandlerDirs::new(&[directory.path().as_os_str().as_bytes().to_vec()]);
    let at = Moment::from(Instant::ORIGIN);
    directories.look_at_once(at);
    nanos_per_step(1, || assert!(!directories.look(black_box(at))))
}
