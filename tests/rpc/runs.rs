//! Runs of handlers on demand.

use cottar::agent::rpc::SessionId;
use cottar::handler::{End, HandlerQueue, HandlerSettings, Local, Outcome};
use cottar::rpc::Request;
use cottar::rpc::request::{Runs, SyntheticEvent};
use cottar::rpc::runs::{RunEnd, decode_runs};
use cottar::serf::{MemberEventKind, Tags};
use cottar::time::Duration;
use cottar::wire::NodeName;
use cottar::wire::msgpack::Boundary;

use crate::commands::headers;
use crate::harness::Agent;
use crate::value::Value;

fn agent() -> Agent {
    let mut agent = Agent::new(None);
    let handlers = [&b"user:x=echo"[..], b"query=cat"];
    let handlers = handlers.map(|text| HandlerSettings::from_text(text).unwrap());
    agent.handlers = HandlerQueue::new(handlers.into());
    agent
}

fn synthetic(words: &[&[u8]]) -> SyntheticEvent {
    SyntheticEvent {
        words: words.iter().map(|word| word.to_vec()).collect(),
        ltime: 7,
    }
}

fn deploy() -> SyntheticEvent {
    synthetic(&[b"user", b"deploy", b"\xff"])
}

fn ask(agent: &mut Agent, session: SessionId, name: &str, event: SyntheticEvent, is_awaited: bool) {
    let request = Request::RunHandlers(Runs {
        name: name.into(),
        event: Some(event),
        is_awaited,
    });
    agent.send(session, &request.encode(2));
}

/// Executes the next run, which ends with `status`; returns its script and standard input.
fn run(agent: &mut Agent, status: i32) -> Option<(String, Vec<u8>)> {
    let (name, tags) = (NodeName::new(b"n1").unwrap(), Tags::new());
    let local = Local::alone(&name, &tags);
    let run = agent.handlers.poll_invocation(local, agent.now)?;
    let outcome = Outcome {
        end: End::Exited(status),
        output: b"out".to_vec(),
        output_bytes: 5,
        duration: Duration::from_nanos(9),
    };
    assert_eq!(agent.handlers.handle_outcome(outcome), None, "no answer");
    while let Some((ticket, outcome)) = agent.handlers.poll_ended() {
        agent.rpc.run_ended(ticket, outcome);
    }
    agent.run();
    let script = String::from_utf8(run.script.to_vec()).unwrap();
    Some((script, run.stdin.to_vec()))
}

/// The error and the runs of the reply.
fn reply(agent: &mut Agent, session: SessionId) -> (String, Vec<RunEnd>) {
    let bytes = agent.take_bytes(session);
    let length = Boundary::default().find(&bytes, usize::MAX).unwrap();
    let (header, body) = bytes.split_at(length.expect("a reply"));
    let header = cottar::rpc::ReplyHeader::decode(header).unwrap();
    assert_eq!(header.seq, 2);
    let error = String::from_utf8(header.error).unwrap();
    (error, decode_runs(body).unwrap())
}

#[test]
fn the_reply_comes_when_the_run_has_ended() {
    let mut agent = agent();
    let (first, second) = (agent.client(), agent.client());
    // Neither handler's filter matches the event.
    ask(&mut agent, second, "echo", deploy(), true);
    ask(&mut agent, first, "cat", deploy(), true);
    assert_eq!(agent.take_bytes(first), b"");
    assert_eq!(run(&mut agent, 3), Some(("echo".into(), b"\xff\n".into())));
    let end = |name: &str, status: u8| RunEnd {
        handler: name.into(),
        end: format!("exit status {status}").into(),
        status,
        output: b"out".to_vec(),
        output_bytes: 5,
        duration_nanos: 9,
    };
    assert_eq!(
        reply(&mut agent, second),
        (String::new(), vec![end("echo", 3)])
    );
    assert_eq!(run(&mut agent, 0), Some(("cat".into(), b"\xff\n".into())));
    assert_eq!(
        reply(&mut agent, first),
        (String::new(), vec![end("cat", 0)])
    );
    // A client that does not wait gets its reply at once; the session accepts further requests in both cases.
    ask(&mut agent, first, "cat", deploy(), false);
    let (error, queued) = reply(&mut agent, first);
    assert_eq!(error, "");
    assert_eq!((&*queued[0].end, queued[0].status), (&b"queued"[..], 0));
    // If the client disconnects, the run is not cancelled.
    ask(&mut agent, first, "cat", deploy(), true);
    agent.disconnect(first);
    for _ in 0..2 {
        assert!(run(&mut agent, 0).is_some());
    }
    assert_eq!(run(&mut agent, 0), None);
    agent.send(second, &Request::Members.encode(3));
    assert_eq!(
        headers(&agent.take(second)),
        [(3, String::new())],
        "and no other reply"
    );
}

#[test]
fn a_synthetic_query_is_answered_by_nobody() {
    let mut agent = agent();
    let session = agent.client();
    ask(
        &mut agent,
        session,
        "cat",
        synthetic(&[b"query", b"load"]),
        true,
    );
    assert_eq!(run(&mut agent, 0), Some(("cat".into(), Vec::new())));
    assert_eq!(reply(&mut agent, session).1[0].output, b"out");
    assert_eq!(agent.commands, []);
}

#[test]
fn synthetic_members_are_handed_over_sorted() {
    let mut agent = agent();
    let session = agent.client();
    // Far more tags than any node has.
    let many: String = (0..100_000).map(|n| format!(",{n}=")).collect();
    let many = format!("b,::1{many}");
    for kind in MemberEventKind::ALL
        .into_iter()
        .chain([MemberEventKind::Sync])
    {
        let words = [kind.as_str(), &many, "a,10.0.0.1,role=x,k=v"].map(str::as_bytes);
        ask(&mut agent, session, "echo", synthetic(&words), true);
        let (_, stdin) = run(&mut agent, 0).unwrap();
        let text = String::from_utf8(stdin).unwrap();
        let start = "a\t10.0.0.1\tx\tk=v,role=x\nb\t::1\t\t0=,1=,10=,";
        assert!(text.starts_with(start), "{}", &text[..60]);
        assert_eq!(reply(&mut agent, session).1[0].end, b"exit status 0");
    }
}

#[test]
fn what_is_no_event_is_refused_and_the_session_goes_on() {
    let mut agent = agent();
    let session = agent.client();
    let long = "x".repeat(256);
    for (words, why) in [
        (&[][..], "An event type must be specified."),
        (
            &["dance", "a"],
            "'dance' is not an event type. Use one of: ",
        ),
        (&["*"], "'*' is not an event type. Use one of: "),
        (&["user"], "An event name must be specified for this type."),
        (&["query"], "An event name must be specified for this type."),
        (
            &["user", "a", "b", "c"],
            "Too many arguments after the name and the payload.",
        ),
        (
            &["sync"],
            "At least one member must be specified for this event.",
        ),
        (&["member-join", "a", ""], "Invalid member ''"),
        (&["member-join", "a\n"], "Invalid member 'a\\n'"),
        (&["member-join", &long], "Invalid member 'xxx"),
        (&["member-join", "a,1.2.3"], "Invalid member 'a,1.2.3'"),
        (&["member-join", "a,=v"], "Invalid member 'a,=v'"),
    ] {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        ask(&mut agent, session, "echo", synthetic(&words), true);
        let (error, runs) = reply(&mut agent, session);
        assert!(error.starts_with(why), "{words:?}: {error}");
        assert_eq!(runs, []);
    }
    // A request without an event; handlers that do not exist or are paused.
    let bare = b"\x82\xa7Command\xb2cottar-handler-run\xa3Seq\x02\x81\xa4Name\xa4echo";
    agent.send(session, bare);
    assert_eq!(
        reply(&mut agent, session).0,
        "An event type must be specified."
    );
    agent.handlers.set_paused("cat", true);
    for (name, error) in [
        ("", "no handler has the name ''"),
        ("nobody\n", "no handler has the name 'nobody\\n'"),
        ("cat", "handler 'cat' is paused"),
    ] {
        ask(&mut agent, session, name, deploy(), true);
        assert_eq!(reply(&mut agent, session), (error.into(), Vec::new()));
    }
    assert!(agent.handlers.is_empty());
    ask(&mut agent, session, "echo", deploy(), true);
    assert!(run(&mut agent, 0).is_some());
    assert_eq!(reply(&mut agent, session).1.len(), 1);
}

/// Repeated runs with half a mebibyte of payload each fill the queue.
#[test]
fn runs_without_a_waiting_client_are_limited() {
    let mut agent = agent();
    let session = agent.client();
    let event = synthetic(&[b"user", b"u", &vec![b'x'; 1 << 19]]);
    let mut taken = 0;
    let refused = loop {
        ask(&mut agent, session, "echo", event.clone(), false);
        match reply(&mut agent, session) {
            (error, runs) if error.is_empty() => taken += runs.len(),
            (error, _) => break error,
        }
    };
    assert_eq!(refused, "the handler queue is full");
    assert_eq!(taken, 31, "of 16 MiB");
    agent.send(session, &Request::HandlerQueue.encode(3));
    let queue = agent.take(session).pop().unwrap();
    let Some(Value::List(entries)) = queue.get("Entries") else {
        panic!("{queue:?}");
    };
    assert_eq!(entries.len(), taken);
    assert_eq!(entries[0].field("State"), "waiting");
    let target = entries[0].field("ID").into_bytes();
    agent.send(session, &Request::DropQueue { target }.encode(4));
    agent.take(session);
    ask(&mut agent, session, "echo", event.clone(), false);
    assert_eq!(reply(&mut agent, session).0, "");
}
