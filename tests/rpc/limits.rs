//! Misbehaving clients: they cost no more than the limits allow, and do not affect other clients.

use cottar::agent::rpc::SessionId;
use cottar::rpc::{REQUEST_BYTES_MAX, Request};
use cottar::time::Duration;

use crate::commands::{event, headers, stream};
use crate::harness::{Agent, remote};
use crate::value::Value;

fn names(values: &[Value]) -> Vec<String> {
    values
        .iter()
        .filter(|value| value.get("Name").is_some())
        .map(|record| record.field("Name"))
        .collect()
}

fn fire(agent: &mut Agent, session: SessionId, count: usize) {
    for number in 0..count {
        agent.send(session, &event(&format!("e{number:05}")).encode(7));
    }
    agent.take(session);
}

#[test]
fn a_stream_that_is_not_read_drops_records_and_counts_them() {
    let mut agent = Agent::new(None);
    let (sleeper, sender) = (agent.client(), agent.client());
    agent.send(sleeper, &stream("user").encode(5));
    agent.take(sleeper);
    agent.peers.get_mut(&sleeper).unwrap().stalled = true;
    const SENT: usize = 3000;
    fire(&mut agent, sender, SENT);
    let dropped = agent.rpc.dropped_count() as usize;
    assert!(agent.rpc.output(sleeper).len() < 80 << 10);
    assert!(dropped > 0);
    agent.resume(sleeper);
    let got = names(&agent.take(sleeper));
    assert_eq!(got.len(), SENT - dropped, "every loss is counted");
    // 512 events wait, in addition to those that fit into the output buffer.
    assert!(got.len() > 512 && got.len() < 2000, "{}", got.len());
    assert!(
        got.is_sorted() && got[0] == "e00000",
        "in order, the oldest kept"
    );
    // From here on it gets all events.
    fire(&mut agent, sender, 10);
    assert_eq!(names(&agent.take(sleeper)).len(), 10);
    assert_eq!(agent.rpc.dropped_count() as usize, dropped);
}

#[test]
fn a_stalled_client_does_not_delay_others() {
    let mut agent = Agent::new(None);
    let (sleeper, awake, sender) = (agent.client(), agent.client(), agent.client());
    for session in [sleeper, awake] {
        agent.send(session, &stream("user").encode(5));
        agent.take(session);
    }
    agent.peers.get_mut(&sleeper).unwrap().stalled = true;
    fire(&mut agent, sender, 2000);
    assert_eq!(names(&agent.take(awake)).len(), 2000);
}

#[test]
fn a_stopped_stream_leaves_nothing_behind() {
    let mut agent = Agent::new(None);
    let (session, sender) = (agent.client(), agent.client());
    agent.send(session, &stream("user").encode(5));
    agent.take(session);
    agent.peers.get_mut(&session).unwrap().stalled = true;
    fire(&mut agent, sender, 2000);
    agent.send(session, &Request::Stop { seq: 5 }.encode(6));
    agent.send(session, &stream("user").encode(5));
    agent.resume(session);
    let got = agent.take(session);
    let stopped = got
        .iter()
        .position(|value| value.header().is_some_and(|h| h.0 == 6));
    assert!(names(&got[stopped.unwrap()..]).is_empty());
}

#[test]
fn requests_wait_for_a_client_that_does_not_read_the_replies() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.peers.get_mut(&session).unwrap().stalled = true;
    let request = Request::Members.encode(2);
    let mut sent = 0;
    // As long as the server accepts input.
    while agent.rpc.wants_input(session) {
        agent.send(session, &request);
        sent += 1;
        assert!(sent < 100_000, "input is never refused");
    }
    assert!(agent.rpc.output(session).len() < 300 << 10);
    assert!(sent * request.len() < 200 << 10);
    assert!(agent.read_again.is_empty());
    agent.resume(session);
    assert_eq!(headers(&agent.take(session)).len(), sent);
    assert!(
        agent.read_again.contains(&session),
        "the loop is told to read on"
    );
}

#[test]
fn a_busy_session_buffers_little() {
    let mut agent = Agent::new(None);
    agent.hold_joins = true;
    let session = agent.client();
    let join = Request::Join {
        existing: vec![b"x".to_vec()],
        replay: false,
    };
    agent.send(session, &join.encode(2));
    let mut sent = 0;
    while agent.rpc.wants_input(session) {
        agent.send(session, &[0xc0; 4096]);
        sent += 4096;
    }
    assert!(sent <= 68 << 10, "{sent}");
}

#[test]
fn endless_values_are_refused() {
    for start in [
        &b"\x82\xa7Command\xdb\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x82\xa7Command\xa5event\xa3Seq\x02\x81\xa7Payload\xc6\xff\xff\xff\xff",
    ] {
        let mut agent = Agent::new(None);
        let session = agent.client();
        agent.send(session, start);
        let mut sent = 0;
        while agent.rpc.wants_input(session) {
            agent.send(session, &[0; 16 << 10]);
            sent += 16 << 10;
            assert!(sent < 2 * REQUEST_BYTES_MAX);
        }
        assert!(agent.peers[&session].closed);
        assert!(agent.take(session).is_empty());
    }
}

#[test]
fn a_large_request_within_the_limit_is_served() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let request = Request::Event {
        name: b"x".to_vec(),
        payload: Some(vec![0; REQUEST_BYTES_MAX - 100]),
        coalesce: false,
    };
    for chunk in request.encode(2).chunks(10_000) {
        assert!(agent.rpc.wants_input(session));
        agent.send(session, chunk);
    }
    let (_, error) = &headers(&agent.take(session))[0];
    assert!(error.starts_with("user event exceeds configured limit"));
}

#[test]
fn half_a_request_waits() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, b"\x82\xa7Command\xa5event\xa3Seq\x02\x83");
    agent.pass(Duration::from_secs(3600));
    assert!(!agent.peers[&session].closed && agent.take(session).is_empty());
}

#[test]
fn deep_nesting_is_skipped_or_refused() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    let mut bytes = b"\x82\xa7Command\xa5event\xa3Seq\x02\x81\xa1x".to_vec();
    bytes.resize(bytes.len() + 500_000, 0x91);
    bytes.push(0xc0);
    agent.send(session, &bytes);
    assert!(agent.peers[&session].closed);
}

#[test]
fn sessions_and_streams_are_limited() {
    let mut agent = Agent::new(None);
    let first = agent.client();
    let mut count = 1;
    while agent
        .rpc
        .accept(SessionId(1000 + count), remote(), agent.now)
    {
        count += 1;
        assert!(count < 10_000);
    }
    assert_eq!(agent.rpc.session_count() as u64, count);
    agent.rpc.closed(SessionId(1001));
    assert!(agent.rpc.accept(SessionId(999), remote(), agent.now));
    let mut refused = None;
    for seq in 2..2000 {
        agent.send(first, &stream("user").encode(seq));
        let (_, error) = headers(&agent.take(first)).pop().unwrap();
        if !error.is_empty() {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused.as_deref(), Some("Too many streams"));
}

#[test]
fn input_of_closed_sessions_is_ignored() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.rpc.closed(session);
    agent.rpc.closed(session);
    agent.rpc.received(session, b"\xc0");
    agent.rpc.sent(session, 5);
    assert!(agent.rpc.output(session).is_empty() && !agent.rpc.wants_input(session));
    agent.run();
}

#[test]
fn a_client_that_never_reads_its_answers_is_cut_off() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.peers.get_mut(&session).unwrap().stalled = true;
    let query = Request::Query(cottar::rpc::request::Query {
        name: b"q".to_vec(),
        timeout_nanos: 1_000_000_000_000,
        ..Default::default()
    });
    agent.send(session, &query.encode(2));
    let request = *agent.commands.last().unwrap();
    let record = cottar::serf::QueryRecord::Response {
        from: cottar::wire::NodeName::new(b"n2").unwrap(),
        payload: Some(vec![0; 1000]),
    };
    for _ in 0..20_000 {
        agent.rpc.query_record(request, record.clone());
        agent.run();
        assert!(agent.rpc.output(session).len() < 9 << 20);
    }
    assert!(agent.peers[&session].closed);
    assert_eq!(agent.rpc.session_count(), 0);
}
