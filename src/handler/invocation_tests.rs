#![allow(clippy::unwrap_used)]

use super::*;
use crate::serf::{LamportTime, MemberEventKind, MemberStatus, Query, UserEvent};
use crate::time::Instant;
use crate::wire::VersionVector;

const RUN: Run<'_> = Run {
    id: "user:7:00",
    taken_micros: 1_700_000_000_123_456,
    attempt: 1,
    is_replay: false,
    environment: &OrderedMap::new(),
};

fn tags(pairs: &[(&[u8], &[u8])]) -> Tags {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        tags.set(key, value);
    }
    tags
}

fn member(name: &[u8], ip: &str, tags: Tags) -> Member {
    Member::new(
        NodeName::new(name).unwrap(),
        std::net::SocketAddr::new(ip.parse().unwrap(), 7946),
        &tags,
        MemberStatus::Alive,
        VersionVector::serf(5),
    )
}

fn joined(members: Vec<Member>) -> Event {
    Event::Member(MemberEvent {
        kind: MemberEventKind::Join,
        members,
    })
}

fn user(name: &[u8], payload: &[u8]) -> Event {
    Event::User(UserEvent {
        ltime: LamportTime(7),
        name: name.to_vec(),
        payload: payload.to_vec(),
        coalesce: false,
    })
}

fn query(name: &[u8], payload: &[u8]) -> Event {
    Event::Query(Query {
        ltime: LamportTime(u64::MAX),
        id: 1,
        name: name.to_vec(),
        payload: payload.to_vec(),
        source_node: None,
        deadline: Instant::ORIGIN,
    })
}

fn variables(event: &Event, tags: &Tags) -> Vec<(String, String)> {
    let name = NodeName::new(b"n1").unwrap();
    let local = Local::alone(&name, tags);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let environment = environment(event, local, &RUN).unwrap();
    let pairs = environment.variables.into_iter();
    pairs
        .filter(|(name, _)| !name.starts_with(b"COTTAR_"))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = list.iter().map(|(a, b)| (a.to_string(), b.to_string()));
    owned.collect()
}

#[test]
fn each_type_has_its_variables() {
    let none = Tags::new();
    assert_eq!(
        variables(&joined(vec![]), &none),
        pairs(&[
            ("SERF_EVENT", "member-join"),
            ("SERF_SELF_NAME", "n1"),
            ("SERF_SELF_ROLE", ""),
        ])
    );
    assert_eq!(
        variables(&user(b"deploy it\n", b""), &none),
        pairs(&[
            ("SERF_EVENT", "user"),
            ("SERF_SELF_NAME", "n1"),
            ("SERF_SELF_ROLE", ""),
            ("SERF_USER_EVENT", "deploy it\n"),
            ("SERF_USER_LTIME", "7"),
        ])
    );
    assert_eq!(
        variables(&query(b"load", b""), &tags(&[(b"role", b"web")])),
        pairs(&[
            ("SERF_EVENT", "query"),
            ("SERF_QUERY_LTIME", "18446744073709551615"),
            ("SERF_QUERY_NAME", "load"),
            ("SERF_SELF_NAME", "n1"),
            ("SERF_SELF_ROLE", "web"),
            ("SERF_TAG_ROLE", "web"),
        ])
    );
}

#[test]
fn names_of_tags_become_names_of_variables() {
    for (tag, variable) in [
        (&b"Data-Center.x"[..], "SERF_TAG_DATA_CENTER_X"),
        (b"9z", "SERF_TAG_9Z"),
        (b"n.1", "SERF_TAG_N_1"),
        (b"", "SERF_TAG_"),
        (b"a=b\0c d", "SERF_TAG_A_B_C_D"),
        ("\u{f6}ne\u{df}".as_bytes(), "SERF_TAG__NE_"),
        ("\u{131}\u{17f}".as_bytes(), "SERF_TAG_IS"),
        (b"a\xff\xfeb\xe2\x82", "SERF_TAG_A__B__"),
    ] {
        assert_eq!(tag_variable(tag), variable.as_bytes());
    }
}

#[test]
fn of_colliding_tags_the_last_in_byte_order_wins() {
    let both = tags(&[(b"a-b", b"dash"), (b"a b", b"blank")]);
    let found = variables(&user(b"x", b""), &both);
    assert!(found.contains(&("SERF_TAG_A_B".into(), "dash".into())));
    let names: Vec<_> = found.iter().map(|(name, _)| name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
}

#[test]
fn what_holds_a_nul_is_left_out_or_refused() {
    let name = NodeName::new(b"n1").unwrap();
    let bad = tags(&[(b"role", b"we\0b"), (b"zone", b"z"), (b"a", b"\0")]);
    let local = Local::alone(&name, &bad);
    let found = environment(&user(b"x", b"\0 is fine here"), local, &RUN).unwrap();
    assert_eq!(found.refused_tags, [b"a".to_vec(), b"role".to_vec()]);
    let has = |name: &[u8], value: &[u8]| found.variables.contains(&(name.into(), value.into()));
    assert!(has(b"SERF_SELF_ROLE", b"") && has(b"SERF_TAG_ZONE", b"z"));
    assert!(
        !found
            .variables
            .iter()
            .any(|(name, _)| name == b"SERF_TAG_ROLE")
    );
    assert_eq!(environment(&user(b"x\0", b""), local, &RUN), Err(NulInName));
    assert_eq!(environment(&query(b"\0", b""), local, &RUN), Err(NulInName));
}

#[test]
fn stale_variables_are_known() {
    for name in [
        "SERF_EVENT",
        "SERF_USER_EVENT",
        "SERF_QUERY_LTIME",
        "SERF_TAG_",
        "SERF_TAG_X",
    ] {
        assert!(is_stale(name.as_bytes()), "{name}");
    }
    for name in [
        "SERF_RPC_ADDR",
        "SERF_RPC_AUTH",
        "SERF_TAGS",
        "PATH",
        "SERF_EVENTS",
    ] {
        assert!(!is_stale(name.as_bytes()), "{name}");
    }
}

#[test]
fn payloads_end_in_a_newline_unless_empty() {
    for (payload, expected) in [
        (&b""[..], &b""[..]),
        (b"x", b"x\n"),
        (b"x\n", b"x\n"),
        (b"\n", b"\n"),
        (b"a\0\xff", b"a\0\xff\n"),
        (b"a\nb", b"a\nb\n"),
    ] {
        assert_eq!(*stdin(&user(b"u", payload)), *expected);
        assert_eq!(*stdin(&query(b"q", payload)), *expected);
    }
}

#[test]
fn member_lines_have_four_fields() {
    let odd = tags(&[(b"k", b"a\tb\nc,d=e"), (b"role", b"r\to"), (b"\t", b"\\t")]);
    let event = joined(vec![
        member(b"n\tx", "127.0.0.1", odd),
        member(b"n3", "127.0.0.1", Tags::new()),
        member(b"n6", "::1", tags(&[(b"role", b"web"), (b"dc", b"1")])),
        member(b"n7", "::ffff:10.0.0.7", Tags::new()),
    ]);
    assert_eq!(
        String::from_utf8_lossy(&stdin(&event)),
        "n\\tx\t127.0.0.1\tr\\to\t\\t=\\t,k=a\\tb\\nc,d=e,role=r\\to\n\
         n3\t127.0.0.1\t\t\n\
         n6\t::1\tweb\tdc=1,role=web\n\
         n7\t10.0.0.7\t\t\n"
    );
}

#[test]
fn the_environment_has_the_attempt_and_the_event_id() {
    let name = NodeName::new(b"n1").unwrap();
    let none = tags(&[]);
    let local = Local::alone(&name, &none);
    let of = |attempt| {
        let run = Run {
            attempt,
            is_replay: attempt > 1,
            ..RUN
        };
        let environment = environment(&user(b"x", b""), local, &run).unwrap();
        let own = environment.variables.into_iter();
        let own = own.filter(|(name, _)| name.starts_with(b"COTTAR_"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        own.map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect::<Vec<_>>()
    };
    let mut first = vec![
        "COTTAR_ATTEMPT=1",
        "COTTAR_EVENT_ID=user:7:00",
        "COTTAR_EVENT_TIME=2023-11-14T22:13:20.123Z",
        "COTTAR_IN_HANDLER=1",
    ];
    assert_eq!(of(1), first);
    first[0] = "COTTAR_ATTEMPT=2";
    first.push("COTTAR_REPLAY=1");
    assert_eq!(of(2), first);
    assert!(
        first
            .iter()
            .all(|pair| is_stale(pair.split('=').next().unwrap().as_bytes()))
    );
}
