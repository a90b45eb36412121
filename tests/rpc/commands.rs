//! The replies of each command, and their order (agent spec 2.3, 2.4).

use cottar::agent::rpc::SessionId;
use cottar::handler::{End, HandlerQueue, HandlerSettings, Local, Outcome};
use cottar::rpc::{Request, TextMap};
use cottar::serf::{Event, LamportTime, Tags, UserEvent};
use cottar::time::Duration;
use cottar::wire::NodeName;

use crate::harness::Agent;
use crate::value::Value;

/// Numbers and errors of the headers that a client got, in order.
pub fn headers(values: &[Value]) -> Vec<(i128, String)> {
    values.iter().filter_map(Value::header).collect()
}

pub fn ask(agent: &mut Agent, session: SessionId, seq: u64, request: &Request) -> Vec<Value> {
    agent.send(session, &request.encode(seq));
    agent.take(session)
}

/// The error of the one reply; empty for success.
pub fn error_of(values: &[Value]) -> String {
    assert_eq!(headers(values).len(), 1, "{values:?}");
    values[0].header().unwrap().1
}

pub fn event(name: &str) -> Request {
    Request::Event {
        name: name.into(),
        payload: Some(b"p".to_vec()),
        coalesce: false,
    }
}

pub fn stream(filter: &str) -> Request {
    Request::Stream {
        filter: filter.into(),
    }
}

pub fn filtered(tags: &[(&str, &str)], status: &str, name: &str) -> Request {
    Request::MembersFiltered {
        tags: tags
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        status: status.into(),
        name: name.into(),
    }
}

#[test]
fn filters_match_as_a_whole_and_alternations_too() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let mut count = |request: Request| {
        let got = ask(&mut agent, session, 9, &request);
        match got[1].get("Members") {
            Some(Value::List(members)) => members.len(),
            other => panic!("{other:?}"),
        }
    };
    for (tags, status, name, members) in [
        (&[][..], "", "", 1),
        (&[], "", "n1", 1),
        (&[], "", "n", 0),
        (&[], "", "n.", 1),
        // Half anchored, as in the reference.
        (&[], "", "zz|n1x|n", 0),
        (&[], "", "n|zz", 0),
        (&[], "", "zz|n1", 1),
        (&[], "alive", "", 1),
        (&[], "aliv", "", 0),
        (&[], "left|failed", "", 0),
        (&[("role", "web")], "", "", 1),
        (&[("role", "")], "", "", 0),
        (&[("none", "")], "", "", 1),
        (&[("none", ".+")], "", "", 0),
        (&[("role", "w.*"), ("none", "x?")], "alive", "n1", 1),
    ] {
        assert_eq!(
            count(filtered(tags, status, name)),
            members,
            "{tags:?} {status} {name}"
        );
    }
}

#[test]
fn members_are_listed_as_they_are_now() {
    let mut agent = Agent::new(None);
    let sessions = [agent.client(), agent.client()];
    let members = |agent: &mut Agent, session| {
        let got = ask(agent, session, 2, &Request::Members);
        got[1].get("Members").cloned()
    };
    for value in [
        "1",
        "2",
        "a value that makes the reply longer than before",
        "1",
    ] {
        let set = TextMap::from([(b"build".to_vec(), value.into())]);
        let delete = vec![];
        ask(&mut agent, sessions[0], 1, &Request::Tags { set, delete });
        let listed = members(&mut agent, sessions[0]);
        let Some(Value::List(list)) = &listed else {
            panic!("{listed:?}")
        };
        assert_eq!(list.len(), 1);
        let tags = list[0].get("Tags").unwrap();
        assert_eq!(tags.get("build"), Some(&Value::text(value)));
        for session in sessions {
            assert_eq!(members(&mut agent, session), listed);
        }
    }
}

#[test]
fn bad_expressions_are_reported() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let nested = "(".repeat(300) + &")".repeat(300);
    for bad in ["(", "a{9999999}", "(?:x{1000}){1000}", &nested] {
        for request in [filtered(&[], "", bad), filtered(&[("t", bad)], "", "")] {
            let got = ask(&mut agent, session, 1, &request);
            let error = error_of(&got);
            assert!(error.starts_with("Failed to compile regex: "), "{error}");
            assert_eq!(got[1].get("Members"), Some(&Value::List(vec![])));
        }
    }
    assert_eq!(
        headers(&ask(&mut agent, session, 2, &Request::Members)).len(),
        1
    );
}

#[test]
fn failed_joins_carry_every_reason_and_a_body() {
    let mut agent = Agent::new(None);
    agent.hold_joins = true;
    let session = agent.client();
    let join = Request::Join {
        existing: vec![b"a".to_vec(), b"b".to_vec()],
        replay: true,
    };
    agent.send(session, &join.encode(2));
    let (request, _) = agent.held.pop().unwrap();
    agent
        .rpc
        .join_ended(request, 0, &["one".to_owned(), "two".to_owned()]);
    agent.run();
    let got = agent.take(session);
    assert_eq!(error_of(&got), "2 errors occurred:\n\t* one\n\t* two\n\n");
    assert_eq!(got[1].get("Num"), Some(&Value::Int(0)));
    // A late result of a command that has ended is ignored.
    agent.rpc.join_ended(request, 3, &[]);
    agent.run();
    assert!(agent.take(session).is_empty());
}

#[test]
fn joining_nothing_succeeds() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let join = Request::Join {
        existing: vec![],
        replay: false,
    };
    let got = ask(&mut agent, session, 2, &join);
    assert_eq!(error_of(&got), "");
    assert_eq!(got[1].get("Num"), Some(&Value::Int(0)));
}

#[test]
fn tags_are_merged_and_a_tag_set_and_deleted_is_set() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let set = TextMap::from([
        (b"a".to_vec(), b"1".to_vec()),
        (b"b".to_vec(), b"2".to_vec()),
    ]);
    let delete = vec![b"a".to_vec(), b"role".to_vec(), b"unknown".to_vec()];
    let request = Request::Tags { set, delete };
    assert_eq!(error_of(&ask(&mut agent, session, 2, &request)), "");
    let tags: Vec<_> = agent.serf.tags().iter().collect();
    assert_eq!(tags, [(&b"a"[..], &b"1"[..]), (b"b", b"2")]);
    let set = TextMap::from([(b"x".to_vec(), vec![b'y'; 600])]);
    let request = Request::Tags {
        set,
        delete: vec![],
    };
    assert_eq!(
        error_of(&ask(&mut agent, session, 3, &request)),
        "Encoded length of tags exceeds limit of 512 bytes"
    );
    assert_eq!(agent.serf.tags().len(), 2);
}

#[test]
fn stats_have_every_key_and_all_handlers() {
    let mut agent = Agent::new(None);
    agent.handlers = handlers(&["user:deploy=a", "b", "user:deploy=c"]);
    let session = agent.client();
    let got = ask(&mut agent, session, 2, &Request::Stats);
    let keys = |group: &str| match got[1].get(group) {
        Some(Value::Map(figures)) => figures
            .iter()
            .map(|(key, value)| match (key, value) {
                (Value::Text(key), Value::Text(_)) => String::from_utf8(key.clone()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>(),
        other => panic!("{group}: {other:?}"),
    };
    assert_eq!(keys("agent"), ["name"]);
    assert_eq!(
        keys("runtime"),
        [
            "arch",
            "cpu_count",
            "goroutines",
            "max_procs",
            "os",
            "version"
        ]
    );
    assert_eq!(keys("serf").len(), 12);
    assert_eq!(keys("handlers").len(), 11);
    assert_eq!(keys("tags"), ["role"]);
    assert_eq!(
        keys("event_handlers"),
        ["*:", "user:deploy", "user:deploy (2)"]
    );
}

fn handlers(list: &[&str]) -> HandlerQueue {
    let parsed = list
        .iter()
        .map(|h| HandlerSettings::from_text(h.as_bytes()));
    HandlerQueue::new(parsed.collect::<Result<_, _>>().unwrap())
}

#[test]
fn handlers_are_listed_with_their_outcomes() {
    let mut agent = Agent::new(Some("secret"));
    agent.handlers = handlers(&["user:deploy,query=a", "b"]);
    let name = NodeName::new(b"n1").unwrap();
    let tags = Tags::new();
    let local = Local::alone(&name, &tags);
    let event = Event::User(UserEvent {
        ltime: LamportTime(1),
        name: b"deploy".to_vec(),
        payload: Vec::new(),
        coalesce: false,
    });
    agent.handlers.push(event, agent.now);
    for (status, millis) in [(3, 20), (0, 5)] {
        let run = agent.handlers.poll_invocation(local, agent.now);
        assert!(run.is_some());
        agent.handlers.handle_outcome(Outcome {
            end: End::Exited(status),
            output: Vec::new(),
            output_bytes: 0,
            duration: Duration::from_millis(millis),
        });
    }
    let session = agent.client();
    let refused = ask(&mut agent, session, 2, &Request::Handlers);
    assert_eq!(error_of(&refused), "Authentication required");
    assert_eq!(refused.len(), 1);
    let key = b"secret".to_vec();
    ask(&mut agent, session, 3, &Request::Auth { key });
    let got = ask(&mut agent, session, 4, &Request::Handlers);
    assert_eq!(error_of(&got), "");
    let Some(Value::List(list)) = got[1].get("Handlers") else {
        panic!("{got:?}");
    };
    assert_eq!(list.len(), 2);
    for (index, filter, script, figures) in [
        (
            0,
            "user:deploy,query",
            "a",
            [1, 1, 0, 0, 20_000_000, 20_000_000],
        ),
        (1, "*", "b", [1, 0, 0, 0, 5_000_000, 5_000_000]),
    ] {
        assert_eq!(list[index].field("Filter"), filter);
        assert_eq!(list[index].field("Script"), script);
        let names = ["Runs", "Failures", "Timeouts", "Drops", "Last", "Longest"];
        for (name, figure) in names.iter().zip(figures) {
            let found = list[index].get(name);
            assert_eq!(found, Some(&Value::Int(figure)), "{name} of {filter}");
        }
    }
}
