//! `monitor`, and clients that do not authenticate.

use cottar::agent::observe::ring::Line;
use cottar::agent::rpc::SessionId;
use cottar::rpc::Request;
use cottar::time::Duration;
use log::Level;

use crate::commands::{event, headers, stream};
use crate::harness::Agent;
use crate::value::Value;

fn monitor(level: &str) -> Request {
    Request::Monitor {
        level: level.into(),
    }
}

fn line(level: Level, text: &str) -> Line {
    Line::now(level, "agent", format_args!("{text}"))
}

fn note(agent: &mut Agent, level: Level, text: &str) {
    agent.logger.note(line(level, text));
    agent.run();
}

/// The last word of each received line.
fn lines(agent: &mut Agent, session: SessionId) -> Vec<String> {
    let is_line = |value: &Value| value.get("Log").map(|_| value.field("Log"));
    let all = agent.take(session);
    let lines = all.iter().filter_map(is_line);
    lines
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn monitors_get_history_and_new_lines_of_their_level() {
    let mut agent = Agent::new(None);
    let written = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
    ];
    for (number, level) in written.into_iter().enumerate() {
        note(&mut agent, level, &format!("old{number}"));
    }
    let levels = [
        ("trace", 0),
        ("Debug", 1),
        ("INFO", 2),
        ("warn", 3),
        ("err", 4),
    ];
    let mut sessions = Vec::new();
    for (level, first) in levels {
        let session = agent.client();
        agent.send(session, &monitor(level).encode(9));
        let expected: Vec<_> = (first..5).map(|number| format!("old{number}")).collect();
        assert_eq!(lines(&mut agent, session), expected, "{level}");
        sessions.push(session);
    }
    note(&mut agent, Level::Debug, "new");
    note(&mut agent, Level::Error, "newer");
    for (session, (level, first)) in sessions.into_iter().zip(levels) {
        let expected: &[&str] = if first <= 1 {
            &["new", "newer"]
        } else {
            &["newer"]
        };
        assert_eq!(lines(&mut agent, session), expected, "{level}");
    }
}

#[test]
fn the_answer_comes_before_the_lines_and_a_second_monitor_is_refused() {
    let mut agent = Agent::new(None);
    note(&mut agent, Level::Info, "x");
    let session = agent.client();
    agent.send(session, &monitor("info").encode(3));
    let got = agent.take(session);
    assert_eq!(got[0].header(), Some((3, String::new())));
    assert_eq!(got[1].header(), Some((3, String::new())));
    assert!(got[2].get("Log").is_some() && got.len() == 3);
    for (level, why) in [
        ("info", "Monitor already exists"),
        ("", "Unknown log level: "),
        ("Loud", "Unknown log level: LOUD"),
    ] {
        agent.send(session, &monitor(level).encode(4));
        assert_eq!(headers(&agent.take(session)), [(4, why.to_owned())]);
    }
    // After `stop` the sequence number can be used again; an unknown number has no effect.
    for stopped in [77, 3] {
        agent.send(session, &Request::Stop { seq: stopped }.encode(5));
        agent.take(session);
        note(&mut agent, Level::Info, "y");
        let count = usize::from(stopped == 77);
        assert_eq!(lines(&mut agent, session).len(), count);
    }
    agent.send(session, &monitor("info").encode(3));
    assert_eq!(lines(&mut agent, session), ["x", "y", "y"]);
}

#[test]
fn the_history_has_512_lines_and_a_line_may_have_several() {
    let mut agent = Agent::new(None);
    for number in 0..600 {
        agent.logger.note(line(Level::Info, &format!("n{number}")));
    }
    let session = agent.client();
    agent.send(session, &monitor("info").encode(3));
    let got = lines(&mut agent, session);
    assert_eq!((got.len(), &*got[0], &*got[511]), (512, "n88", "n599"));
    note(&mut agent, Level::Info, "two\nlines");
    assert_eq!(lines(&mut agent, session), ["two\nlines"]);
}

#[test]
fn a_monitor_that_is_not_read_loses_lines_and_counts_them() {
    let mut agent = Agent::new(None);
    let (sleeper, other) = (agent.client(), agent.client());
    for session in [sleeper, other] {
        agent.send(session, &monitor("info").encode(3));
        agent.take(session);
    }
    agent.peers.get_mut(&sleeper).unwrap().stalled = true;
    const NOTED: usize = 5000;
    for number in 0..NOTED {
        note(&mut agent, Level::Info, &format!("{number:0200}"));
    }
    assert_eq!(lines(&mut agent, other).len(), NOTED, "the other one reads");
    assert!(agent.rpc.output(sleeper).len() < 200 << 10);
    agent.resume(sleeper);
    let got = lines(&mut agent, sleeper);
    let dropped = agent.rpc.dropped_count() as usize;
    assert!(dropped > 0 && got.len() > 512);
    assert_eq!(got.len() + dropped, NOTED, "every loss is counted");
    note(&mut agent, Level::Info, "again");
    assert_eq!(lines(&mut agent, sleeper), ["again"]);
}

#[test]
fn a_monitor_does_not_hold_up_streams_and_commands() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, &monitor("info").encode(3));
    agent.send(session, &stream("user").encode(4));
    agent.send(session, &event("deploy").encode(5));
    note(&mut agent, Level::Info, "x");
    let got = headers(&agent.take(session));
    let numbers: Vec<_> = got.iter().map(|(seq, _)| *seq).collect();
    for seq in [3, 4, 5] {
        assert!(numbers.contains(&seq), "{numbers:?}");
    }
}

#[test]
fn clients_that_do_not_authenticate_in_time_are_disconnected() {
    let mut agent = Agent::new(Some("s3"));
    let (silent, greeting, known) = (agent.connect(), agent.client(), agent.client());
    let auth = Request::Auth {
        key: b"s3".to_vec(),
    };
    agent.send(known, &auth.encode(2));
    agent.pass(Duration::from_secs(59));
    for session in [silent, greeting, known] {
        assert!(!agent.peers[&session].closed);
    }
    agent.pass(Duration::from_secs(2));
    assert!(agent.peers[&silent].closed && agent.peers[&greeting].closed);
    agent.pass(Duration::from_secs(3600));
    assert!(!agent.peers[&known].closed);
    // If the agent has no key, the handshake is enough.
    let mut agent = Agent::new(None);
    let (silent, greeting) = (agent.connect(), agent.client());
    agent.pass(Duration::from_secs(100));
    assert!(agent.peers[&silent].closed && !agent.peers[&greeting].closed);
}

#[test]
fn requests_before_authentication_have_a_smaller_limit() {
    let mut agent = Agent::new(Some("s3"));
    let header = b"\x82\xa7Command\xa4auth\xa3Seq\x02";
    // The connection is closed as soon as a header announces too much.
    let session = agent.client();
    agent.send(session, header);
    agent.send(session, &[0xdb, 0, 1, 0]);
    assert!(!agent.peers[&session].closed);
    agent.send(session, &[0]);
    assert!(agent.peers[&session].closed);
    // Or as soon as the received bytes and the minimum of what must follow exceed the limit: 60,000 values of
    // one byte each, then of two bytes.
    let session = agent.client();
    agent.send(session, header);
    agent.send(session, &[0xdc, 0xea, 0x60]);
    agent.send(session, &[0xa1; 10_000]);
    assert!(!agent.peers[&session].closed);
    agent.send(session, &[0xa1; 10_000]);
    assert!(agent.peers[&session].closed);
}

#[test]
fn keys_are_changed_and_counted() {
    const OLD: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
    const NEW: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
    let mut agent = Agent::with_keyring(None, Some(b"0123456789abcdef"));
    let session = agent.client();
    let mut ask = |request: Request| {
        agent.send(session, &request.encode(7));
        let got = agent.take(session);
        assert_eq!(got.len(), 2, "{request:?}");
        let (_, error) = got[0].header().unwrap();
        let keys = match got[1].get("Keys") {
            Some(Value::Map(keys)) => Some(keys.len()),
            Some(Value::Nil) => None,
            other => panic!("{other:?}"),
        };
        let message = got[1].get("Messages").unwrap();
        let said = message.get("n1").map(|_| message.field("n1"));
        (error, keys, said.unwrap_or_default())
    };
    let key = |text: &str| text.as_bytes().to_vec();
    let failed = "1/1 nodes reported failure".to_owned();
    let fine = (String::new(), None, String::new());
    let listed = |count| (String::new(), Some(count), String::new());
    assert_eq!(ask(Request::ListKeys), listed(1));
    let (error, _, said) = ask(Request::UseKey { key: key(NEW) });
    assert_eq!(
        (error, said),
        (failed.clone(), "Requested key is not in the keyring".into())
    );
    assert_eq!(ask(Request::InstallKey { key: key(NEW) }), fine);
    assert_eq!(ask(Request::ListKeys), listed(2));
    let (error, _, said) = ask(Request::RemoveKey { key: key(OLD) });
    assert_eq!(
        (error, said),
        (
            failed.clone(),
            "Removing the primary key is not allowed".into()
        )
    );
    assert_eq!(ask(Request::UseKey { key: key(NEW) }), fine);
    assert_eq!(ask(Request::RemoveKey { key: key(OLD) }), fine);
    assert_eq!(ask(Request::ListKeys), listed(1));
    let (error, _, said) = ask(Request::InstallKey { key: key("YWJj") });
    assert_eq!(
        (error, said),
        (failed, "key size must be 16, 24 or 32 bytes".into())
    );
    let (error, keys, _) = ask(Request::RemoveKey { key: key("YWJ") });
    let why = "illegal base64 data at input byte 0".to_owned();
    assert_eq!((error, keys), (why, None));
}
