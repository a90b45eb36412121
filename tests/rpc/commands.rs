//! The replies of each command, and their order (agent spec 2.3, 2.4).

use cottar::handler::{End, HandlerQueue, HandlerSettings, Local, Outcome};
use cottar::rpc::request::Query;
use cottar::rpc::{Request, TextMap};
use cottar::serf::{Event, LamportTime, MemberStatus, Tags, UserEvent};
use cottar::time::Duration;
use cottar::wire::NodeName;

use crate::harness::Agent;
use crate::value::Value;
use cottar::agent::rpc::SessionId;

/// Numbers and errors of the headers that a client got, in order.
pub fn headers(values: &[Value]) -> Vec<(i128, String)> {
    values.iter().filter_map(Value::header).collect()
}

fn ask(agent: &mut Agent, session: SessionId, seq: u64, request: &Request) -> Vec<Value> {
    agent.send(session, &request.encode(seq));
    agent.take(session)
}

/// The error of the one reply; empty for success.
fn error_of(values: &[Value]) -> String {
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

fn query(name: &str, millis: u64) -> Request {
    Request::Query(Query {
        name: name.into(),
        timeout_nanos: millis as i64 * 1_000_000,
        request_ack: true,
        ..Query::default()
    })
}

fn filtered(tags: &[(&str, &str)], status: &str, name: &str) -> Request {
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
fn commands_before_the_handshake_end_the_connection() {
    for request in [
        Request::Members,
        event("x"),
        Request::Auth { key: vec![] },
        Request::Leave,
    ] {
        let mut agent = Agent::new(None);
        let session = agent.connect();
        let got = ask(&mut agent, session, 3, &request);
        assert_eq!(headers(&got), [(3, "Handshake required".into())]);
        assert!(agent.peers[&session].closed && !agent.shutdown);
    }
}

#[test]
fn a_refused_version_may_be_corrected() {
    let mut agent = Agent::new(None);
    let session = agent.connect();
    for (version, error) in [
        (0, "Unsupported IPC version"),
        (2, "Unsupported IPC version"),
        (1, ""),
        (1, "Handshake already performed"),
    ] {
        let got = ask(&mut agent, session, 1, &Request::Handshake { version });
        assert_eq!(error_of(&got), error, "{version}");
    }
    assert!(!agent.peers[&session].closed);
}

#[test]
fn authentication() {
    let mut agent = Agent::new(Some("s3"));
    let session = agent.client();
    let auth = |key: &str| Request::Auth { key: key.into() };
    for (request, error) in [
        (Request::Members, "Authentication required"),
        (auth(""), "Invalid authentication token"),
        (auth("s"), "Invalid authentication token"),
        (auth("s33"), "Invalid authentication token"),
        (event("x"), "Authentication required"),
        (stream("*"), "Authentication required"),
        (auth("s3"), ""),
        (auth("no"), "Invalid authentication token"),
        // Authentication lasts for the whole connection.
        (event("x"), ""),
    ] {
        let got = ask(&mut agent, session, 1, &request);
        assert_eq!(
            (error_of(&got).as_str(), got.len()),
            (error, 1),
            "{request:?}"
        );
    }
}

#[test]
fn a_key_without_need_is_refused() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let got = ask(&mut agent, session, 1, &Request::Auth { key: vec![] });
    assert_eq!(error_of(&got), "");
    let key = b"x".to_vec();
    let got = ask(&mut agent, session, 2, &Request::Auth { key });
    assert_eq!(error_of(&got), "Invalid authentication token");
    let got = ask(&mut agent, session, 3, &Request::Members);
    assert_eq!(error_of(&got), "");
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
fn replies_come_in_the_order_of_the_requests() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let mut bytes = Vec::new();
    for seq in 10..200 {
        let request = match seq % 4 {
            0 => Request::Members,
            1 => event("x"),
            2 => Request::Stats,
            _ => Request::Stop { seq: 1 },
        };
        bytes.extend(request.encode(seq));
    }
    agent.send(session, &bytes);
    let got: Vec<_> = headers(&agent.take(session));
    let expected: Vec<_> = (10..200).map(|seq| (seq, String::new())).collect();
    assert_eq!(got, expected);
}

#[test]
fn requests_may_arrive_byte_by_byte() {
    let mut agent = Agent::new(None);
    let session = agent.connect();
    let mut bytes = Request::Handshake { version: 1 }.encode(1);
    bytes.extend(filtered(&[("role", "web")], "", "").encode(u64::MAX));
    bytes.extend(event("x").encode(0));
    for byte in bytes {
        agent.send(session, &[byte]);
    }
    let got = headers(&agent.take(session));
    let numbers: Vec<_> = got.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, [1, u64::MAX.into(), 0]);
}

#[test]
fn a_slow_command_delays_its_own_connection_only() {
    let mut agent = Agent::new(None);
    agent.hold_joins = true;
    let (slow, other) = (agent.client(), agent.client());
    let join = Request::Join {
        existing: vec![b"10.0.0.1".to_vec(), b"host:1".to_vec()],
        replay: false,
    };
    let mut bytes = stream("user").encode(5);
    bytes.extend(join.encode(6));
    bytes.extend(Request::Members.encode(7));
    agent.send(slow, &bytes);
    assert_eq!(headers(&agent.take(slow)), [(5, String::new())]);
    let got = ask(&mut agent, other, 1, &event("between"));
    assert_eq!(error_of(&got), "");
    // The stream continues during the join.
    let got = agent.take(slow);
    assert_eq!(headers(&got), [(5, String::new())]);
    assert_eq!(got[1].field("Name"), "between");

    let (request, addresses) = agent.held.pop().unwrap();
    assert_eq!(addresses, ["10.0.0.1", "host:1"]);
    agent.rpc.join_ended(
        request,
        1,
        &["Failed to resolve host:1: no such host".to_owned()],
    );
    agent.run();
    let got = agent.take(slow);
    // The join succeeds with one of two addresses; the error of the other is not reported.
    assert_eq!(headers(&got), [(6, String::new()), (7, String::new())]);
    assert_eq!(got[1].get("Num"), Some(&Value::Int(1)));
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
fn each_stream_gets_a_copy_until_it_is_stopped() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    for (seq, filter) in [(5, "user:a,user,*"), (6, "user:b"), (7, ""), (8, "query")] {
        assert_eq!(
            error_of(&ask(&mut agent, session, seq, &stream(filter))),
            ""
        );
    }
    let refused = ask(&mut agent, session, 5, &stream("user"));
    assert_eq!(error_of(&refused), "Stream with given sequence exists");
    let refused = ask(&mut agent, session, 9, &stream("user,nope"));
    assert_eq!(error_of(&refused), "Invalid event filter");

    let got = ask(&mut agent, session, 10, &event("a"));
    let mut numbers: Vec<_> = headers(&got).iter().map(|(seq, _)| *seq).collect();
    numbers.sort();
    // One record per stream, even if several tokens match.
    assert_eq!(numbers, [5, 7, 10]);

    assert_eq!(
        error_of(&ask(&mut agent, session, 11, &Request::Stop { seq: 5 })),
        ""
    );
    assert_eq!(
        error_of(&ask(&mut agent, session, 12, &Request::Stop { seq: 99 })),
        ""
    );
    let got = ask(&mut agent, session, 13, &event("b"));
    let mut numbers: Vec<_> = headers(&got).iter().map(|(seq, _)| *seq).collect();
    numbers.sort();
    assert_eq!(numbers, [6, 7, 13]);
    assert_eq!(error_of(&ask(&mut agent, session, 5, &stream("user"))), "");
}

#[test]
fn queries_end_with_one_done_and_answers_are_checked() {
    let mut agent = Agent::new(None);
    let (asker, answerer) = (agent.client(), agent.client());
    ask(&mut agent, answerer, 5, &stream("query"));
    let mut records = ask(&mut agent, asker, 6, &query("load", 500));
    assert_eq!(headers(&records)[0], (6, String::new()));
    let got = agent.take(answerer);
    let id = match got[1].get("ID") {
        Some(Value::Int(id)) => *id as u64,
        other => panic!("{other:?}"),
    };
    assert_eq!(id, 1);
    let respond = |id, payload: &[u8]| Request::Respond {
        id,
        payload: Some(payload.to_vec()),
    };
    let unknown = "No pending queries matching ID";
    // The sequence number has no meaning on another connection.
    assert_eq!(
        error_of(&ask(&mut agent, asker, 7, &respond(1, b"x"))),
        unknown
    );
    assert_eq!(
        error_of(&ask(&mut agent, answerer, 7, &respond(2, b"x"))),
        unknown
    );
    let error = error_of(&ask(&mut agent, answerer, 8, &respond(1, &[0; 2000])));
    assert_eq!(
        error,
        "failed to respond to key query: response exceeds limit of 1024 bytes"
    );
    assert_eq!(
        error_of(&ask(&mut agent, answerer, 9, &respond(1, b""))),
        ""
    );
    let error = error_of(&ask(&mut agent, answerer, 10, &respond(1, b"again")));
    assert_eq!(
        error,
        "failed to respond to key query: response already sent"
    );
    agent.pass(Duration::from_secs(1));
    assert_eq!(
        error_of(&ask(&mut agent, answerer, 11, &respond(1, b"late"))),
        unknown
    );

    records.extend(agent.take(asker));
    let kinds: Vec<_> = records
        .iter()
        .filter(|value| value.get("Type").is_some())
        .map(|record| (record.field("Type"), record.field("From")))
        .collect();
    let expected = [("ack", "n1"), ("response", "n1"), ("done", "")];
    let mut sorted = kinds.clone();
    sorted[..kinds.len() - 1].sort();
    assert_eq!(
        sorted,
        expected.map(|(kind, from)| (kind.to_owned(), from.to_owned()))
    );
}

#[test]
fn a_query_is_dropped_with_its_session() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    ask(&mut agent, session, 2, &query("load", 1000));
    agent.disconnect(session);
    agent.pass(Duration::from_secs(2));
    // A stream that was opened later does not get the event.
    let session = agent.client();
    agent.pass(Duration::from_secs(1));
    assert!(agent.take(session).is_empty());
}

#[test]
fn refused_queries_have_no_records() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    for (request, error) in [
        (
            query("_serf_x", 100),
            "Queries cannot contain the '_serf_' prefix",
        ),
        (
            query(&"x".repeat(1100), 100),
            "query exceeds limit of 1024 bytes",
        ),
    ] {
        assert_eq!(error_of(&ask(&mut agent, session, 4, &request)), error);
    }
    agent.pass(Duration::from_secs(1));
    assert!(agent.take(session).is_empty());
}

#[test]
fn negative_and_default_timeouts() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let mut done_after = |timeout_nanos| {
        let query = Query {
            name: b"q".to_vec(),
            timeout_nanos,
            ..Query::default()
        };
        agent.send(session, &Request::Query(query).encode(3));
        let start = agent.now;
        loop {
            let got = agent.take(session);
            if got.iter().any(|value| value.get("Type").is_some()) {
                return agent.now.since(start);
            }
            assert!(agent.step(start + Duration::from_secs(60)));
        }
    };
    // 200 ms x 16 x 1 on a LAN.
    assert_eq!(done_after(0), Duration::from_millis(3200));
    assert!(done_after(-5_000_000_000) < Duration::from_millis(250));
    assert!(done_after(i64::MIN) < Duration::from_millis(250));
}

#[test]
fn leave_is_answered_then_everything_ends() {
    let mut agent = Agent::new(None);
    let (first, second) = (agent.client(), agent.client());
    agent.send(first, &Request::Leave.encode(2));
    agent.send(second, &Request::Leave.encode(3));
    agent.pass(Duration::from_secs(10));
    assert_eq!(headers(&agent.take(first)), [(2, String::new())]);
    // The second waits for the same leave.
    assert_eq!(headers(&agent.take(second)), [(3, String::new())]);
    assert!(agent.shutdown);
    assert!(agent.peers[&first].closed);
    assert_eq!(
        agent.serf.member(b"n1").map(|member| member.status),
        Some(MemberStatus::Left)
    );
}

#[test]
fn the_agent_ends_although_the_leaving_client_has_gone() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, &Request::Leave.encode(2));
    agent.disconnect(session);
    assert!(!agent.shutdown);
    agent.pass(Duration::from_secs(10));
    assert!(agent.shutdown);
}

#[test]
fn the_agent_ends_although_the_leaving_client_does_not_read() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.peers.get_mut(&session).unwrap().stalled = true;
    agent.send(session, &Request::Leave.encode(2));
    agent.pass(Duration::from_secs(30));
    assert!(agent.shutdown && agent.peers[&session].closed);
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
