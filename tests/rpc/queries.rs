//! Queries and their records, answers to queries, and streams of events.

use cottar::rpc::Request;
use cottar::rpc::request::Query;
use cottar::time::Duration;

use crate::commands::{ask, error_of, event, headers, stream};
use crate::harness::Agent;
use crate::value::Value;

fn query(name: &str, millis: u64) -> Request {
    Request::Query(Query {
        name: name.into(),
        timeout_nanos: millis as i64 * 1_000_000,
        request_ack: true,
        ..Query::default()
    })
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
