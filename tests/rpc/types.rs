//! The server accepts the encodings of all versions of clients (agent spec 2.2), and its own output is byte
//! for byte what they expect (2.5).

use cottar::serf::Event;
use cottar::time::Duration;

use crate::commands::{headers, stream};
use crate::harness::Agent;
use crate::rpc_vectors::hex::unhex;
use crate::value::{Value, decode};

/// The request that fires the user event `e` with payload `pl`, in all encodings.
#[test]
fn every_way_to_write_a_request() {
    let header = b"\x82\xa7Command\xa5event\xa3Seq\x02".to_vec();
    let body = b"\x83\xa4Name\xa1e\xa7Payload\xc4\x02pl\xa8Coalesce\xc3".to_vec();
    let both = |header: &[u8], body: &[u8]| [header, body].concat();
    let as_is = &header[..];
    for (what, bytes) in [
        ("plain", both(as_is, &body)),
        ("positional", both(b"\x92\xa5event\x02", b"\x93\xa1e\xc4\x02pl\xc3")),
        ("too long", both(b"\x93\xa5event\x02\xc0", b"\x95\xa1e\xc4\x02pl\xc3\x90\x80")),
        ("too short", both(b"\x92\xa5event\x02", b"\x92\xa1e\xc4\x02pl")),
        ("raw payload", both(as_is, b"\x82\xa4Name\xa1e\xa7Payload\xa2pl")),
        ("str8 payload", both(as_is, b"\x82\xa4Name\xa1e\xa7Payload\xd9\x02pl")),
        ("list payload", both(as_is, b"\x82\xa4Name\xa1e\xa7Payload\x92pl")),
        ("bin name", both(as_is, b"\x82\xa4Name\xc4\x01e\xa7Payload\xc4\x02pl")),
        ("bin keys", both(b"\x82\xc4\x07Command\xc4\x05event\xc4\x03Seq\x02", &body)),
        ("unknown keys", both(as_is, b"\x84\xa1x\x92\x01\x80\xa4Name\xa1e\xa1y\xc0\xa7Payload\xc5\x00\x02pl")),
        ("key that is no text", both(as_is, b"\x83\x07\xcb01234567\xa4Name\xa1e\xa7Payload\xc6\x00\x00\x00\x02pl")),
        ("wide", both(
            b"\xdf\x00\x00\x00\x02\xdb\x00\x00\x00\x07Command\xda\x00\x05event\xd9\x03Seq\xcf\x00\x00\x00\x00\x00\x00\x00\x02",
            &body,
        )),
        ("signed number", both(b"\x82\xa7Command\xa5event\xa3Seq\xd3\x00\x00\x00\x00\x00\x00\x00\x02", &body)),
        ("nil coalesce", both(as_is, b"\x83\xa8Coalesce\xc0\xa4Name\xa1e\xa7Payload\xa2pl")),
        ("1 for true", both(as_is, b"\x83\xa8Coalesce\x01\xa4Name\xa1e\xa7Payload\xa2pl")),
    ] {
        let mut agent = Agent::new(None);
        let (session, listener) = (agent.client(), agent.client());
        agent.send(listener, &stream("user").encode(5));
        agent.take(listener);
        agent.send(session, &bytes);
        assert_eq!(headers(&agent.take(session)), [(2, String::new())], "{what}");
        let got = agent.take(listener);
        assert_eq!(got[1].field("Name"), "e", "{what}");
        assert_eq!(got[1].get("Payload"), Some(&Value::Bytes(b"pl".to_vec())), "{what}");
    }
}

#[test]
fn nil_means_a_missing_value() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    for (seq, body) in [
        (2, &b"\xa5event\xa3Seq\x02\xc0"[..]),
        (3, b"\xa5event\xa3Seq\x03\x80"),
        (4, b"\xa4tags\xa3Seq\x04\x82\xa4Tags\xc0\xaaDeleteTags\xc0"),
        (5, b"\xb0members-filtered\xa3Seq\x05\xc0"),
        (6, b"\xa4join\xa3Seq\x06\xc0"),
        (7, b"\xa6stream\xa3Seq\x07\xc0"),
    ] {
        agent.send(session, &[b"\x82\xa7Command", body].concat());
        let got = agent.take(session);
        assert_eq!(headers(&got)[0], (seq, String::new()));
    }
}

#[test]
fn malformed_requests_end_the_connection_without_a_reply() {
    let event = |body: &[u8]| [b"\x82\xa7Command\xa5event\xa3Seq\x02", body].concat();
    let query = |body: &[u8]| [b"\x82\xa7Command\xa5query\xa3Seq\x02", body].concat();
    for (what, bytes) in [
        ("text as header", b"\xa3abc".to_vec()),
        ("number as header", b"\x05".to_vec()),
        ("web client", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("reserved byte", b"\xc1".to_vec()),
        (
            "text as number",
            b"\x82\xa7Command\xa7members\xa3Seq\xa12".to_vec(),
        ),
        (
            "negative number",
            b"\x82\xa7Command\xa7members\xa3Seq\xff".to_vec(),
        ),
        (
            "number as command",
            b"\x82\xa7Command\x07\xa3Seq\x02".to_vec(),
        ),
        ("text as body", event(b"\xa3abc")),
        ("number as name", event(b"\x81\xa4Name\x07")),
        ("2 as truth", event(b"\x81\xa8Coalesce\x02")),
        ("256 relays", query(b"\x81\xabRelayFactor\xcd\x01\x00")),
        (
            "float as time",
            query(b"\x81\xa7Timeout\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        ),
        ("list as map", query(b"\x81\xaaFilterTags\x91\x01")),
    ] {
        let mut agent = Agent::new(None);
        let (session, other) = (agent.client(), agent.client());
        agent.send(session, &bytes);
        assert!(agent.take(session).is_empty(), "{what}");
        assert!(agent.peers[&session].closed, "{what}");
        assert!(!agent.peers[&other].closed, "{what}");
    }
}

#[test]
fn nil_as_header_is_an_unknown_command() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, b"\xc0");
    let refused = [(0, "Unsupported command".to_owned())];
    assert_eq!(headers(&agent.take(session)), refused);
    assert!(agent.peers[&session].closed);
}

#[test]
fn header_fields_are_not_kept_for_the_next_request() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, b"\x82\xa7Command\xa7members\xa3Seq\x02");
    agent.take(session);
    agent.send(session, b"\x81\xa3Seq\x03");
    let refused = [(3, "Unsupported command".to_owned())];
    assert_eq!(headers(&agent.take(session)), refused);
}

#[test]
fn members_have_the_references_layout() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, b"\x82\xa7Command\xa7members\xa3Seq\x02");
    let got = agent.take_bytes(session);
    let member = unhex(
        "8ba441646472c4047f000001ab44656c656761746543757205ab44656c65676174654d617805ab44656c65676174654d696e02
         a44e616d65a26e31a4506f7274cd6d61ab50726f746f636f6c43757202ab50726f746f636f6c4d617805ab50726f746f636f6c4d696e01
         a6537461747573a5616c697665a45461677381a4726f6c65a3776562",
    );
    assert!(got.ends_with(&[b"\x81\xa7Members\x91", &member[..]].concat()));
}

#[test]
fn records_have_the_references_layout() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, &stream("*").encode(5));
    agent.take(session);
    let user = cottar::serf::UserEvent {
        ltime: cottar::serf::LamportTime(2),
        name: b"deploy".to_vec(),
        payload: b"hi".to_vec(),
        coalesce: false,
    };
    agent.rpc.event(&Event::User(user), None);
    let query = cottar::serf::Query {
        ltime: cottar::serf::LamportTime(1),
        id: 77,
        name: b"load".to_vec(),
        payload: b"pp".to_vec(),
        source_node: None,
        deadline: agent.now + Duration::from_secs(1),
    };
    agent.rpc.event(&Event::Query(query), None);
    agent.run();
    let expected = unhex(
        "82a54572726f72a0a353657105
         85a8436f616c65736365c2a54576656e74a475736572a54c54696d6502a44e616d65a66465706c6f79a75061796c6f6164c4026869
         82a54572726f72a0a353657105
         85a54576656e74a57175657279a2494401a54c54696d6501a44e616d65a46c6f6164a75061796c6f6164c4027070",
    );
    assert_eq!(agent.take_bytes(session), expected);
}

#[test]
fn member_events_carry_whole_members() {
    let mut agent = Agent::new(None);
    let session = agent.client();
    agent.send(session, &stream("member-update").encode(5));
    agent.take(session);
    let members = agent.serf.members().cloned().collect();
    let update = Event::Member(cottar::serf::MemberEvent {
        kind: cottar::serf::MemberEventKind::Update,
        members,
    });
    agent.rpc.event(&update, None);
    agent.run();
    let got = agent.take_bytes(session);
    let record = decode(&got[13..]);
    assert_eq!(record.field("Event"), "member-update");
    match record.get("Members") {
        Some(Value::List(members)) => assert_eq!(members[0].field("Name"), "n1"),
        other => panic!("{other:?}"),
    }
}
