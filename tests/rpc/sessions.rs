//! Sessions: handshake, authentication, the order of requests and replies, and the end by `leave`.

use cottar::rpc::Request;
use cottar::serf::MemberStatus;
use cottar::time::Duration;

use crate::commands::{ask, error_of, event, filtered, headers, stream};
use crate::harness::Agent;
use crate::value::Value;

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
